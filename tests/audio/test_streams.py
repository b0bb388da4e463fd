"""Sound in blocks: files of any length, and pipes."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from hybridspeech.audio import sound_files, streams
from hybridspeech.audio.decode import read_recording
from hybridspeech.audio.pcm import to_pcm16
from hybridspeech.audio.streams import pipe_blocks, sound_blocks
from hybridspeech.errors import AudioError, ConfigError


def make_sound(path: Path, seconds: float = 2.0, rate_hz: int = 16_000, channels: int = 1, **more: str) -> Path:
    times = np.arange(int(seconds * rate_hz)) / rate_hz
    sound = 0.3 * np.sin(2 * np.pi * (300 + 100 * times) * times)
    soundfile.write(path, np.stack([sound] * channels, axis=1), rate_hz, **more)
    return path


def all_samples(path: Path | str, first: int = 0) -> np.ndarray:
    return np.concatenate(list(sound_blocks(path, 16_000, first)))


FORMATS = [
    ("a.wav", 16_000, 1),
    ("b.wav", 44_100, 2),
    ("c.flac", 16_000, 2),
    ("d.mp3", 44_100, 1),
    ("e.ogg", 48_000, 2),
]


@pytest.mark.parametrize(("name", "rate_hz", "channels"), FORMATS)
def test_blocks_hold_the_samples_of_the_recording(
    name: str, rate_hz: int, channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BLOCK_VALUES", 10_000)
    path = make_sound(tmp_path / name, rate_hz=rate_hz, channels=channels)
    found, expected = all_samples(path), read_recording(path, 16_000)
    assert abs(found.size - expected.size) <= 1
    length = min(found.size, expected.size)
    np.testing.assert_allclose(found[:length], expected[:length], atol=2e-6)


@pytest.mark.parametrize(("name", "rate_hz", "channels"), FORMATS)
def test_a_later_start_gives_the_same_samples(name: str, rate_hz: int, channels: int, tmp_path: Path) -> None:
    path = make_sound(tmp_path / name, rate_hz=rate_hz, channels=channels)
    np.testing.assert_array_equal(all_samples(path, 12_345), all_samples(path)[12_345:])


def test_a_file_may_be_longer_than_a_clip_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_files, "MAX_DURATION_S", 1)
    path = make_sound(tmp_path / "long.flac")
    with pytest.raises(AudioError, match="too-long"):
        read_recording(path, 16_000)
    assert all_samples(path).size == 32_000


def test_wav_files_above_4_gib_have_their_own_formats(tmp_path: Path) -> None:
    path = make_sound(tmp_path / "large.wav", format="RF64")
    assert all_samples(path).size == 32_000


def test_what_is_wrong_is_said_as_for_clips(tmp_path: Path) -> None:
    cut = make_sound(tmp_path / "cut.wav")
    cut.write_bytes(cut.read_bytes()[:-1000])
    (tmp_path / "text.wav").write_text("no sound, " * 20)
    (tmp_path / "empty.wav").touch()
    for name, reason in {"cut": "truncated", "text": "not-audio", "empty": "empty", "none": "missing"}.items():
        with pytest.raises(AudioError, match=reason):
            list(sound_blocks(tmp_path / f"{name}.wav", 16_000))


SAMPLES = np.arange(-150, 150, dtype=np.int16) * 100


def piped(content: bytes, sizes: list[int], pipe_rate_hz: int = 16_000) -> np.ndarray:
    stream, left = io.BytesIO(content), [*sizes]
    blocks = pipe_blocks(lambda size: stream.read(min(size, left.pop(0) if left else size)), 16_000, pipe_rate_hz)
    return np.concatenate([np.zeros(0, np.float32), *blocks])


def wav_bytes(rate_hz: int = 16_000, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((channels, 2, rate_hz, 0, "NONE", ""))
        out.writeframes(SAMPLES.tobytes())
    return file.getvalue()


@given(st.lists(st.integers(1, 40)), st.booleans())
def test_a_pipe_gives_its_samples_however_they_arrive(sizes: list[int], is_wav: bool) -> None:
    found = piped(wav_bytes() if is_wav else SAMPLES.tobytes(), sizes)
    np.testing.assert_array_equal(to_pcm16(found), SAMPLES)


def test_a_pipe_may_be_empty_or_end_within_a_sample() -> None:
    assert piped(b"", []).size == 0
    assert piped(b"\1\2\3", [1, 1, 1]).size == 1


def test_a_pipe_at_another_rate_is_resampled() -> None:
    assert piped(SAMPLES.tobytes(), [], pipe_rate_hz=8_000).size == 600
    assert piped(wav_bytes(rate_hz=8_000), []).size == 600


def test_a_wav_stream_that_is_not_mono_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"2 channels of 16 bits at 16000 Hz.*expected mono PCM 16"):
        piped(wav_bytes(channels=2), [])
    with pytest.raises(ConfigError, match="a WAV stream without samples"):
        piped(wav_bytes()[:40], [])
