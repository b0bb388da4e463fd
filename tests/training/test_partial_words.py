from __future__ import annotations

from dataclasses import replace

import numpy as np

from hybridspeech.training.partial_words import PartialWords

WAVES = np.arange(1, 16_001, dtype=np.int16) * np.ones((4, 1), np.int16)
LABELS, IDS = np.array([0, 2, 1, 0], np.int32), np.array([b"a", b"b", b"c", b"d"])
PARTS = PartialWords(words=[1, 2], label=0, per_batch=6, sample_rate_hz=16_000, seed=0, copy=1)


def test_parts_are_words_that_are_shifted_by_500_to_900_ms() -> None:
    waves, labels, ids = PARTS.of_batch(WAVES, LABELS, IDS)
    assert (waves.shape, waves.dtype, labels.tolist()) == ((6, 16_000), np.int16, [0] * 6)
    assert {name.split()[-1] for name in ids.tolist()} == {b"b", b"c"}
    assert len(set(ids.tolist())) == 6
    begins = [wave[0] == 0 for wave in waves]
    assert True in begins and False in begins
    for wave in waves:
        kept = wave[wave != 0]
        assert 1_600 <= kept.size <= 8_000
        np.testing.assert_array_equal(kept, WAVES[0][: kept.size] if wave[0] == 0 else WAVES[0][-kept.size :])


def test_parts_depend_on_seed_epoch_and_batch_alone() -> None:
    made = PARTS.of_batch(WAVES, LABELS, IDS)[0]
    np.testing.assert_array_equal(PARTS.of_batch(WAVES, LABELS, IDS)[0], made)
    others = [replace(PARTS, seed=1), replace(PARTS, copy=2)]
    assert all((other.of_batch(WAVES, LABELS, IDS)[0] != made).any() for other in others)
    assert (PARTS.of_batch(WAVES, LABELS, np.roll(IDS, 1))[0] != made).any()


def test_a_batch_without_words_gives_parts_of_its_other_clips() -> None:
    assert PARTS.of_batch(WAVES, np.zeros(4, np.int32), IDS)[0].any(axis=1).all()
