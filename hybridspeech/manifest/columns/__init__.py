"""Clips, their names and texts as columns of Arrow and NumPy."""
