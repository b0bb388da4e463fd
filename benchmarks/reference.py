"""What is right: the mission's own spectrogram, by librosa in float64. Shares no code with what is measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np

NUM_SAMPLES = 16_000
N_FFT, HOP_LENGTH = 2048, 321
LIMIT_DB = 0.05
"""More than this away from the reference is a wrong answer. Float32 transforms stay under 0.01 dB."""


def read_wave(path: str | Path) -> np.ndarray:
    """One second of a WAV file of 16 kHz, padded with silence at its end or cut: float64 [shape=(16000,)]."""
    import soundfile

    samples, _ = soundfile.read(path)
    wave = np.zeros(NUM_SAMPLES)
    wave[: samples.size] = samples[:NUM_SAMPLES]
    return wave


def spectrogram(wave: np.ndarray) -> np.ndarray:
    """float64 [shape=(1025, 50)], dB re 1.0, 80 dB deep."""
    import librosa

    decibels: np.ndarray = librosa.amplitude_to_db(np.abs(librosa.stft(wave, n_fft=N_FFT, hop_length=HOP_LENGTH)))
    return decibels


def error_db(found: np.ndarray, path: str | Path) -> float:
    """Largest distance in dB of a clip's spectrogram from the reference; infinite if its shape is another."""
    expected = spectrogram(read_wave(path))
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found - expected).max())


def too_far(error: float) -> str:
    """The problem of an output that is `error` dB away; empty if it is right."""
    return f"{error:.3g} dB from the reference; expected at most {LIMIT_DB} dB" if not error <= LIMIT_DB else ""
