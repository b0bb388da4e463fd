"""The forms in which people have recordings: how each is recognised, and what its columns and folders mean."""
