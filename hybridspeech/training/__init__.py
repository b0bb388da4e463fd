"""The training loop, its input, checkpoints, recipes, and the run directory."""
