"""The log-mel spectrogram in integers is close to that of preprocessing, and the same to the bit everywhere."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from hybridspeech.audio.decode import read_clip
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.features.fixed_point import FixedPointLogMel, quantized, to_pcm

CAUSAL, CENTRED = FeatureConfig(kind="logmel", top_db=None, causal=True), FeatureConfig(kind="logmel")
both = pytest.mark.parametrize("features", [CAUSAL, CENTRED], ids=["causal", "centred"])
TIMES = np.arange(16_000) / 16_000


def differences(waves: list[np.ndarray], features: FeatureConfig, floor_db: float) -> np.ndarray:
    """Differences from preprocessing in dB, where it is above `floor_db`."""
    extractor, fixed = FeatureExtractor(features), FixedPointLogMel(features)
    pcm = [to_pcm(wave) for wave in waves]
    expected = np.stack([extractor(clip.astype(np.float32) / 32_768).copy() for clip in pcm])
    found = np.stack([fixed(clip) for clip in pcm]) / 256
    return np.abs(found - expected)[expected > floor_db]


@both
def test_real_clips_differ_by_less_than_a_third_of_a_step_of_int8(
    speech_commands: Path, features: FeatureConfig
) -> None:
    waves = [read_clip(path, features) for path in sorted(speech_commands.glob("[a-z]*/*.wav"))[::100]]
    assert differences(waves, features, -70).max() <= 0.15  # a step is about 0.5 dB
    assert differences(waves, features, -101).max() <= 1.0


@both
def test_the_loudest_sounds_do_not_overflow(features: FeatureConfig) -> None:
    square = np.sign(np.sin(2 * np.pi * 1_000 * TIMES) + 1e-9)
    loud = [square, np.sin(2 * np.pi * 3_000 * TIMES), np.resize([1.0, -1.0], 16_000), np.ones(16_000)]
    noise = np.sign(np.random.default_rng(0).standard_normal(16_000))
    assert differences([*loud, noise], features, -50).max() <= 0.15


def test_silence_is_at_the_floor() -> None:
    np.testing.assert_array_equal(FixedPointLogMel(CAUSAL)(np.zeros(16_000, np.int16)), -100 * 256)


def test_a_c_program_can_be_checked_against_these_bits() -> None:
    generator = np.random.Generator(np.random.PCG64(0))
    pcm = generator.integers(-2000, 2000, 16_000).astype(np.int16)
    digest = hashlib.sha256(FixedPointLogMel(CAUSAL)(pcm).astype("<i4").tobytes()).hexdigest()
    assert digest[:16] == "b66d3725a5f01d2d"


def test_decibels_are_quantised_as_in_float() -> None:
    decibels = np.arange(-110 * 256, 30 * 256, 7, dtype=np.int32)
    expected = np.clip(np.round(decibels / 256 / 0.489) + 76, -128, 127)
    found = quantized(decibels, 0.489, 76)
    assert np.abs(found - expected).max() <= 1
    assert (found != expected).mean() < 0.01


@pytest.mark.parametrize("features", [FeatureConfig(), FeatureConfig(kind="logmel", n_fft=400)])
def test_other_features_are_refused(features: FeatureConfig) -> None:
    with pytest.raises(ConfigError, match="fixed point needs logmel and a power of two up to 512"):
        FixedPointLogMel(features)
