from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from hybridspeech.audio.augmentation import Augmenter
from hybridspeech.config import NO_AUGMENTATION, AugmentConfig
from hybridspeech.errors import ConfigError

RATE_HZ = 16_000
NOISE = (np.full(20_000, 0.5, np.float32),)
CLICK = np.zeros(RATE_HZ, np.float32)
CLICK[8_000] = 1.0


def augmenter(seed: int = 0, noises: tuple[np.ndarray, ...] = NOISE, **settings: float) -> Augmenter:
    return Augmenter(replace(NO_AUGMENTATION, **settings), sample_rate_hz=RATE_HZ, seed=seed, noises=noises)


ALL = {
    "background_volume": 0.1,
    "background_frequency": 0.8,
    "time_shift_ms": 100,
    "gain_db": 6,
    "speed_percent": 10,
}


def test_augmentation_depends_only_on_seed_copy_and_clip_id() -> None:
    wave = np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32)
    first = augmenter(**ALL).sound(wave, "yes/a.wav", 1)
    other_order = augmenter(**ALL)
    other_order.sound(wave, "no/b.wav", 7)
    np.testing.assert_array_equal(other_order.sound(wave, "yes/a.wav", 1), first)
    for changed in (
        augmenter(**ALL).sound(wave, "yes/a.wav", 2),
        augmenter(**ALL).sound(wave, "yes/b.wav", 1),
        augmenter(seed=1, **ALL).sound(wave, "yes/a.wav", 1),
    ):
        assert not np.array_equal(changed, first)


def test_the_input_waveform_is_not_changed() -> None:
    before = CLICK.copy()
    augmenter(**ALL).sound(CLICK, "a", 1)
    np.testing.assert_array_equal(CLICK, before)


def test_a_shift_is_at_most_time_shift_ms_and_leaves_silence() -> None:
    places = [int(augmenter(time_shift_ms=100).sound(CLICK, f"{i}", 1).argmax()) for i in range(200)]
    assert 6_400 <= min(places) < 6_700
    assert 9_300 < max(places) <= 9_600
    assert augmenter(time_shift_ms=1_000).sound(np.ones(RATE_HZ, np.float32), "a", 1).min() == 0


def test_gain_is_between_minus_and_plus_gain_db() -> None:
    peaks_db = [20 * np.log10(augmenter(gain_db=6).sound(CLICK, f"{i}", 1).max()) for i in range(200)]
    assert -6 <= min(peaks_db) < -5.5
    assert 5.5 < max(peaks_db) <= 6


def test_speed_changes_the_pitch() -> None:
    tone = np.sin(2 * np.pi * 1_000 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    pitches = [int(np.abs(np.fft.rfft(augmenter(speed_percent=10).sound(tone, f"{i}", 1))).argmax()) for i in range(50)]
    assert 895 <= min(pitches) < 930
    assert 1_070 < max(pitches) <= 1_105


def test_noise_is_mixed_into_the_given_share_of_the_clips() -> None:
    silence = np.zeros(RATE_HZ, np.float32)
    mixed = augmenter(background_volume=0.2, background_frequency=0.5)
    levels = [float(mixed.sound(silence, f"{i}", 1).max()) for i in range(400)]
    assert 0.4 < np.mean(np.array(levels) > 0) < 0.6
    assert 0.09 < max(levels) <= 0.1


def ratios_db(clips: int, voices: Sequence[np.ndarray] = (), **settings: float) -> np.ndarray:
    """Signal-to-noise ratios of augmented clips; infinite without noise."""
    wave = np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32)
    noisy = augmenter(**settings)
    added = [noisy.sound(wave, f"{i}", 1, voices) - wave for i in range(clips)]
    with np.errstate(divide="ignore"):
        return -10 * np.log10([np.mean(noise**2) / np.mean(wave**2) for noise in added])


def test_noise_at_a_ratio_is_mixed_into_the_given_share_of_the_clips() -> None:
    ratios = ratios_db(400, snr_frequency=0.5, snr_min_db=-5, snr_max_db=30)
    assert 0.4 < np.isfinite(ratios).mean() < 0.6
    finite = ratios[np.isfinite(ratios)]
    assert -5.1 < finite.min() < -4
    assert 29 < finite.max() < 30.1


def test_babble_is_the_given_share_of_the_noise() -> None:
    mixed = augmenter(snr_frequency=1.0, babble_frequency=0.3)
    added = [mixed.sound(np.ones(RATE_HZ, np.float32), f"{i}", 1, [CLICK] * 9) - 1 for i in range(200)]
    assert 0.2 < np.mean([np.count_nonzero(noise) < 10 for noise in added]) < 0.4


def test_babble_needs_no_recording_but_other_clips() -> None:
    mixed = augmenter(noises=(), snr_frequency=1.0, babble_frequency=1.0)
    np.testing.assert_array_equal(mixed.sound(CLICK, "a", 1), CLICK)
    assert (mixed.sound(CLICK, "a", 1, [np.ones(RATE_HZ, np.float32)]) != CLICK).any()
    with pytest.raises(ConfigError, match="put recordings of it"):
        augmenter(noises=(), snr_frequency=1.0, babble_frequency=0.9)


ROOMS = np.zeros((2, RATE_HZ), np.float32)
ROOMS[:, 0] = 1.0
ROOMS[[0, 1], [100, 200]] = 0.5


def in_rooms(clip_id: str, **settings: float) -> np.ndarray:
    config = replace(NO_AUGMENTATION, **settings)
    return Augmenter(config, sample_rate_hz=RATE_HZ, seed=0, noises=NOISE, responses=ROOMS).sound(CLICK, clip_id, 1)


def test_the_given_share_of_the_clips_is_in_one_of_the_rooms() -> None:
    echoes = [(np.flatnonzero(np.abs(in_rooms(f"{i}", rir_frequency=0.5)) > 0.1) - 8_000).tolist() for i in range(200)]
    assert 70 < echoes.count([0]) < 130
    assert 30 < echoes.count([0, 100]) < 70
    assert echoes.count([0, 100]) + echoes.count([0, 200]) == 200 - echoes.count([0])


def test_reverberation_that_is_off_changes_nothing_and_does_not_change_the_rest() -> None:
    np.testing.assert_array_equal(in_rooms("a", **ALL), augmenter(**ALL).sound(CLICK, "a", 1))
    dry = next(f"{i}" for i in range(9) if not (in_rooms(f"{i}", rir_frequency=0.5) != CLICK).any())
    np.testing.assert_array_equal(in_rooms(dry, **ALL, rir_frequency=0.5), augmenter(**ALL).sound(CLICK, dry, 1))


def test_reverberation_without_a_response_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"rir_frequency is 0.5, and there are no room impulse responses"):
        augmenter(rir_frequency=0.5)


def test_background_noise_without_a_recording_is_refused() -> None:
    with pytest.raises(ConfigError, match="put recordings of it"):
        augmenter(background_volume=0.1, background_frequency=0.5, noises=())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"background_volume": 2.0}, "background_volume is 2.0; expected 0 to 1"),
        ({"time_shift_ms": -1}, "time_shift_ms is -1; expected 0 or more"),
        ({"speed_percent": 80}, "speed_percent is 80; expected 0 to 50"),
        ({"gain_db": float("nan")}, "gain_db is nan"),
        ({"rir_frequency": 1.5}, "rir_frequency is 1.5; expected 0 to 1"),
        ({"snr_frequency": 1.5}, "snr_frequency is 1.5; expected 0 to 1"),
        ({"snr_min_db": float("nan")}, "snr_min_db is nan; expected -100 to 100 dB"),
        ({"snr_min_db": 20.0, "snr_max_db": 10.0}, "snr_min_db is 20.0; expected snr_max_db"),
    ],
)
def test_a_setting_that_can_not_be_is_refused(settings: dict[str, float], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        AugmentConfig(**settings)  # type: ignore[arg-type]
