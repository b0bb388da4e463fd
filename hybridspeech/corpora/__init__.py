"""Sets of recorded words to start from: downloaded or synthesized."""
