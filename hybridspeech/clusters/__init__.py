"""Sessions of Spark and Ray: start, join, check."""
