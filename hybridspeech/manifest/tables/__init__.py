"""A table or a folder as a source: its rows, checked one by one or in columns."""
