"""Decoding of audio files, background noise, and augmentation of waveforms."""
