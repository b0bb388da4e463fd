"""The expected spectrograms, by librosa in float64. Shares no code with the measured implementations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

NUM_SAMPLES = SAMPLE_RATE_HZ = 16_000
N_FFT, HOP_LENGTH = 2048, 321
LOGMEL: Mapping[str, Any] = {"n_fft": 512, "hop_length": 160, "n_mels": 64, "fmin": 20.0, "fmax": 7_600.0}
LIMIT_DB = 0.05
"""Largest error of a correct output. Float32 transforms stay below 0.01 dB."""


def read_wave(path: str | Path) -> np.ndarray:
    """Read one second of a 16 kHz WAV file, zero-padded at the end or cut: float64 [shape=(16000,)]."""
    import soundfile

    samples, _ = soundfile.read(path)
    wave = np.zeros(NUM_SAMPLES)
    wave[: samples.size] = samples[:NUM_SAMPLES]
    return wave


def spectrogram(wave: np.ndarray) -> np.ndarray:
    """Compute the spectrogram: float64 [shape=(1025, 50)], dB re 1.0, dynamic range 80 dB."""
    import librosa

    decibels: np.ndarray = librosa.amplitude_to_db(np.abs(librosa.stft(wave, n_fft=N_FFT, hop_length=HOP_LENGTH)))
    return decibels


def log_mel(wave: np.ndarray) -> np.ndarray:
    """Compute the log-mel spectrogram: float64 [shape=(64, 101)], dB re 1.0, dynamic range 80 dB."""
    import librosa

    decibels: np.ndarray = librosa.power_to_db(librosa.feature.melspectrogram(y=wave, sr=SAMPLE_RATE_HZ, **LOGMEL))
    return decibels


def error_db(found: np.ndarray, path: str | Path, features: str = "stft") -> float:
    """Return the largest error in dB of the features of a clip, "stft" or "logmel"; infinity if their shape is wrong."""
    expected = (spectrogram if features == "stft" else log_mel)(read_wave(path))
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found - expected).max())


def too_far(error: float) -> str:
    """Describe an output with this error in dB; empty if it is correct."""
    return f"{error:.3g} dB from the reference; expected at most {LIMIT_DB} dB" if not error <= LIMIT_DB else ""
