"""Spectrograms of overlapping windows are those of `FeatureExtractor` for each window, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from hybridspeech.config import FeatureConfig
from hybridspeech.errors import AudioError, ConfigError
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.features.sliding import SlidingExtractor


@pytest.mark.parametrize(
    "features",
    [
        FeatureConfig(kind="logmel"),
        FeatureConfig(),
        FeatureConfig(n_fft=256, hop_length=256),
        FeatureConfig(kind="logmel", n_fft=400, top_db=None),
        FeatureConfig(kind="logmel", clip_duration_ms=20),
    ],
    ids=["logmel", "stft", "no-padding-at-the-end", "without-compiled-fft", "only-padded-frames"],
)
@pytest.mark.parametrize("num_windows", [1, 5])
def test_windows_have_the_spectrograms_of_clips(features: FeatureConfig, num_windows: int) -> None:
    hop = min(features.hop_length, features.num_samples)
    generator = np.random.default_rng(0)
    sound = generator.standard_normal(features.num_samples + (num_windows - 1) * hop).astype(np.float32)
    sound *= np.linspace(0, 0.5, sound.size, dtype=np.float32)
    extractor = FeatureExtractor(features)
    expected = [extractor(sound[k * hop : k * hop + features.num_samples]) for k in range(num_windows)]
    np.testing.assert_array_equal(SlidingExtractor(features, hop)(sound), expected)


def test_a_sample_that_is_not_finite_is_refused() -> None:
    features = FeatureConfig(kind="logmel")
    with pytest.raises(AudioError, match="not-finite"):
        SlidingExtractor(features, 160)(np.full(17_000, np.inf, np.float32))


def test_a_hop_must_fit_the_window() -> None:
    with pytest.raises(ConfigError, match="hop is 16001 samples; expected 1 to 16000"):
        SlidingExtractor(FeatureConfig(), 16_001)
    with pytest.raises(ConfigError, match="features are 'waveform'"):
        SlidingExtractor(FeatureConfig(kind="waveform"), 160)
