from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio_files import noise

from hybridspeech.audio import streams
from hybridspeech.audio.pcm import to_pcm16
from hybridspeech.audio.recording_windows import consecutive_starts, count_samples, cut_windows, evenly_chosen

STARTS = [-700, -1, 0, 250, 999, 4_000, 4_100, 9_500, 9_999, 10_000, 12_000]


def test_windows_are_parts_of_the_recording_with_zeros_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BLOCK_VALUES", 777)
    path = tmp_path / "sound.wav"
    soundfile.write(path, noise(10_000), 16_000, subtype="PCM_16")
    samples = to_pcm16(soundfile.read(path, dtype="float32")[0])
    padded = np.concatenate([np.zeros(1_000, np.int16), samples, np.zeros(1_000, np.int16)])
    windows, error = cut_windows(str(path), STARTS, 1_000, 16_000)
    assert error is None
    assert len(windows) == 9  # the last two begin behind the sound
    for start, window in zip(STARTS[:9], windows, strict=True):
        np.testing.assert_array_equal(window, padded[1_000 + start : 2_000 + start])


def test_a_recording_that_is_damaged_gives_the_windows_before_the_damage(tmp_path: Path) -> None:
    path = tmp_path / "sound.flac"
    soundfile.write(path, noise(200_000), 16_000)
    path.write_bytes(path.read_bytes()[:200_000])
    windows, error = cut_windows(str(path), [0, 190_000], 1_000, 16_000)
    assert error is not None
    assert len(windows) < 2
    assert len(cut_windows(str(tmp_path / "missing.wav"), [-500], 1_000, 16_000)[0]) == 0


def test_samples_are_counted_at_the_rate_of_the_windows(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, noise(8_000), 8_000)
    assert count_samples(str(path), 16_000) == 16_000


def test_consecutive_windows_cover_a_recording() -> None:
    assert consecutive_starts(2_500, 1_000) == [0, 1_000, 1_500]
    assert consecutive_starts(2_000, 1_000) == [0, 1_000]
    assert consecutive_starts(400, 1_000) == [0]


def test_one_number_of_each_equal_part_is_chosen() -> None:
    assert evenly_chosen(5, 10, 0) == [0, 1, 2, 3, 4]
    chosen = evenly_chosen(1_000, 10, 0)
    assert [number // 100 for number in chosen] == list(range(10))
    assert chosen == evenly_chosen(1_000, 10, 0) != evenly_chosen(1_000, 10, 1)
    assert max(after - before for before, after in itertools.pairwise(chosen)) < 200
