"""Processes and threads of this machine: supervised children, periodic calls, cores and memory, quiet standard error."""
