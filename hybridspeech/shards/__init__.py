"""Shards: which clip stands where, their format, their index, and the job that makes them."""
