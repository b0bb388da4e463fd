"""Words in continuous sound: posteriors of overlapping windows, the decoder that finds events, and their measurement."""
