"""What is timed, and how its output is checked: one module a case."""
