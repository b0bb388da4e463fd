"""Sound files to waveforms, background noise, and variation of the sound."""
