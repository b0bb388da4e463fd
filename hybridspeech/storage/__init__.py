"""Access to locations (local folders and URLs): no other package opens, renames or locks a file of a location."""
