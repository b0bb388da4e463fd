"""Implementations that are timed: this package, the 2020 report's pipeline, and common alternatives."""
