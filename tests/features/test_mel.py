"""Mel filters are those of librosa."""

from __future__ import annotations

from dataclasses import replace

import librosa
import numpy as np

from hybridspeech.config import FeatureConfig
from hybridspeech.features.mel import mel_filters

LOGMEL = FeatureConfig(kind="logmel", n_fft=512, hop_length=160)


def test_mel_filters_are_librosas() -> None:
    for config in (LOGMEL, replace(LOGMEL, n_fft=2048, n_mels=128, fmin_hz=0.0, fmax_hz=8_000.0)):
        expected = librosa.filters.mel(
            sr=16_000, n_fft=config.n_fft, n_mels=config.n_mels, fmin=config.fmin_hz, fmax=config.fmax_hz
        )
        np.testing.assert_allclose(mel_filters(config), expected, rtol=0, atol=1e-6)
