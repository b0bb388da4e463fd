"""Sessions of Spark and Ray: start or join a cluster, check that it answers, and leave nothing behind."""
