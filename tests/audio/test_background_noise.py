from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from hybridspeech.audio.background_noise import excerpt, find_noises, load_noises
from hybridspeech.errors import AudioError


def make(folder: Path, count: int) -> Path:
    (folder / "_background_noise_").mkdir(parents=True)
    for number in range(count):
        (folder / "_background_noise_" / f"n{number}.wav").touch()
    (folder / "_background_noise_" / "README.md").touch()
    return folder


@pytest.mark.parametrize(("count", "expected"), [(3, (1, 1, 1)), (6, (4, 1, 1)), (12, (8, 2, 2))])
def test_no_recording_is_in_two_splits(tmp_path: Path, count: int, expected: tuple[int, ...]) -> None:
    noises = find_noises(make(tmp_path, count))
    assert all(len(noise.splits) == 1 for noise in noises)
    counts = [sum(split in noise.splits for noise in noises) for split in ("training", "validation", "testing")]
    assert tuple(counts) == expected


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_recordings_are_never_in_both_training_and_evaluation(tmp_path: Path, count: int) -> None:
    noises = find_noises(make(tmp_path, count))
    assert [noise for noise in noises if "training" in noise.splits and len(noise.splits) > 1] == []
    assert sum("training" in noise.splits for noise in noises) == min(count, 1)


def test_the_seed_decides_the_splits_and_a_table_uses_the_folder_beside_it(tmp_path: Path) -> None:
    make(tmp_path, 6)
    assert find_noises(tmp_path / "table.csv", 3) == find_noises(tmp_path, 3)
    assert len({tuple(noise.splits for noise in find_noises(tmp_path, seed)) for seed in range(8)}) > 1


def test_whole_recordings_are_read_at_the_sample_rate_of_the_clips(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.full(24_000, 0.25, np.float32), 8_000, subtype="PCM_16")
    (recording,) = load_noises((str(path),), 16_000, 16_000)
    assert (recording.size, recording.dtype) == (48_000, np.float32)
    np.testing.assert_allclose(recording[1_000:-1_000], 0.25, atol=1e-3)
    with pytest.raises(AudioError, match=r"long.wav: 48000 samples of noise; expected 50000 or more"):
        load_noises((str(path),), 16_000, 50_000)


def test_a_recording_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "hum.wav"
    for level in (0.25, 0.5):
        soundfile.write(path, np.full(16_000, level, np.float32), 16_000, subtype="PCM_16")
        (recording,) = load_noises((str(path),), 16_000, 16_000)
        np.testing.assert_allclose(recording, level)


def test_an_excerpt_can_be_any_part_of_any_recording() -> None:
    recordings = (np.arange(10), np.arange(100, 104))
    assert list(excerpt(recordings, 0.0, 0.0, 4)) == [0, 1, 2, 3]
    assert list(excerpt(recordings, 0.49, 0.999, 4)) == [6, 7, 8, 9]
    assert list(excerpt(recordings, 0.999, 0.5, 4)) == [100, 101, 102, 103]
