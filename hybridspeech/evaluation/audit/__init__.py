"""The audit of a corpus: faults of sound, duplicates, and labels that a network doubts."""
