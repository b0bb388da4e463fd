"""One module per verb; the functions are those of `hybridspeech`."""
