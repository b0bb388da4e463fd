"""Shards: their plan, format, index, and the preprocessing job that writes them."""
