"""The training loop and what belongs to it: input, checkpoints, recipes, run directory."""
