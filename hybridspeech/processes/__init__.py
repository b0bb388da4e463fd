"""Processes and threads of this machine: supervised children, periodic calls, cores, limits, scratch folders."""
