"""Data sets to start from: downloaded or synthesized."""
