"""Who is timed: ours, the original, and what people use today."""
