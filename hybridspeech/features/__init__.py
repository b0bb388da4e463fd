"""Waveforms to spectrograms, and stored clips to network inputs."""
