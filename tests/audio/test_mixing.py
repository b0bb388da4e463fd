"""Noise at a signal-to-noise ratio, and babble of several voices."""

from __future__ import annotations

import numpy as np
import pytest

from hybridspeech.audio.mixing import add_noise, babble, mean_power

GENERATOR = np.random.default_rng(0)
WAVE, NOISE = (level * GENERATOR.standard_normal(16_000).astype(np.float32) for level in (0.1, 0.3))


@pytest.mark.parametrize("snr_db", [-5, 0, 30])
def test_noise_is_added_at_the_given_ratio(snr_db: int) -> None:
    noise = add_noise(WAVE, NOISE, snr_db) - WAVE
    assert 10 * np.log10(mean_power(WAVE) / mean_power(noise)) == pytest.approx(snr_db, abs=1e-2)


def test_silence_is_not_mixed() -> None:
    np.testing.assert_array_equal(add_noise(WAVE, 0 * NOISE, 0), WAVE)
    assert not add_noise(0 * WAVE, NOISE, 0).any()


def test_babble_has_three_to_eight_voices_of_equal_power() -> None:
    voices = list(np.eye(12, 1_000, dtype=np.float32))  # one click each
    counts, places = set[int](), set[int]()
    for seed in range(100):
        mixed = babble(voices, np.random.default_rng(seed))
        counts.add(round(float(mixed.sum() / np.sqrt(1_000))))
        places |= set(np.flatnonzero(mixed).tolist())
    assert counts == set(range(3, 9))
    assert len(places) > 300


def test_a_silent_voice_adds_nothing_to_babble() -> None:
    assert not babble([0 * WAVE, 0 * WAVE], np.random.default_rng(0)).any()
