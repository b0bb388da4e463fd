"""Spectrograms of waveforms, SpecAugment, and network inputs from stored clips."""
