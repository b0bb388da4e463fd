"""Room impulse responses: how they are read, and how clips sound with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from hybridspeech.audio.mixing import mean_power
from hybridspeech.audio.room_responses import MAX_VALUES, find_responses, read_responses, reverberated
from hybridspeech.errors import AudioError, ConfigError

RATE_HZ = 16_000
GENERATOR = np.random.default_rng(0)
CLIP = GENERATOR.standard_normal(RATE_HZ).astype(np.float32)


def room(rate_hz: int = RATE_HZ, decay_s: float = 0.1, delay: int = 0) -> np.ndarray:
    """A direct sound after `delay` samples, with a noise that decays; 0.5 s after the delay."""
    times = np.arange(rate_hz // 2) / rate_hz
    response = 0.1 * GENERATOR.standard_normal(times.size) * np.exp(-times / decay_s)
    response[0] = -0.5
    return np.concatenate([np.zeros(delay), response]).astype(np.float32)


def write(path: Path, response: np.ndarray, rate_hz: int = RATE_HZ) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, response, rate_hz, subtype="FLOAT")


def read(folder: Path) -> np.ndarray:
    return read_responses(find_responses(str(folder)), RATE_HZ)


@pytest.mark.parametrize("length", [100, 8_000, 16_000, 30_000])
def test_reverberation_is_a_convolution_with_the_power_of_the_clip(length: int) -> None:
    response = np.resize(room(), length) * np.exp(-np.arange(length) / 3_000)
    expected = np.convolve(CLIP.astype(np.float64), response)[: CLIP.size]
    expected *= np.sqrt(mean_power(CLIP) / np.mean(expected**2))
    wet = reverberated(CLIP, response.astype(np.float32))
    assert wet.dtype == np.float32
    np.testing.assert_allclose(wet, expected, atol=2e-5)
    assert mean_power(wet) == pytest.approx(mean_power(CLIP), rel=1e-5)


def test_a_room_does_not_delay_a_clip(tmp_path: Path) -> None:
    write(tmp_path / "far.wav", room(delay=700))
    click = np.zeros(RATE_HZ, np.float32)
    click[8_000] = 1.0
    (response,) = read(tmp_path)
    wet = reverberated(click, response)
    assert np.abs(wet[:8_000]).max() < 1e-6
    assert int(wet.argmax()) == 8_000


def test_a_direct_sound_alone_and_a_silent_clip_change_nothing() -> None:
    np.testing.assert_allclose(reverberated(CLIP, np.eye(1, RATE_HZ, dtype=np.float32)[0]), CLIP, atol=2e-6)
    assert not reverberated(0 * CLIP, room()).any()


def test_a_response_starts_with_a_direct_sound_of_one_and_takes_a_second(tmp_path: Path) -> None:
    long = np.pad(room(), (300, 2 * RATE_HZ))
    write(tmp_path / "a.wav", long)
    write(tmp_path / "deep/b.flac.wav", np.stack([room(), -room(delay=40)[: RATE_HZ // 2]], axis=1))
    write(tmp_path / ".hidden/c.wav", room())
    (tmp_path / "README.txt").write_text("rooms")
    responses = read(tmp_path)
    assert responses.shape == (2, RATE_HZ)
    assert responses[:, 0].tolist() == [1.0, 1.0]
    np.testing.assert_allclose(responses[0], long[300 : 300 + RATE_HZ] / long[300], atol=1e-6)


def test_of_several_channels_the_first_is_used(tmp_path: Path) -> None:
    first, second = room(delay=10), room(delay=90)[: RATE_HZ // 2 + 10]
    write(tmp_path / "array/a.wav", np.stack([first, second], axis=1))
    write(tmp_path / "one/a.wav", first)
    np.testing.assert_array_equal(read(tmp_path / "array"), read(tmp_path / "one"))


def test_a_response_is_resampled(tmp_path: Path) -> None:
    times = np.arange(-9_600, 48_000) / 48_000
    smooth = np.exp(-np.abs(times) / 0.1) * np.cos(2 * np.pi * 500 * times)
    write(tmp_path / "a.wav", smooth.astype(np.float32), 48_000)
    (response,) = read(tmp_path)
    np.testing.assert_allclose(response, smooth[9_600::3], atol=5e-3)


def test_a_folder_or_file_that_can_not_be_used_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigError, match=r"no audio files; expected a folder of room impulse responses"):
            find_responses(str(folder))
    for name, content, message in (
        ("zeros", np.zeros(100, np.float32), r"zeros.wav: all samples are 0; expected a room impulse response"),
        ("speech", CLIP.repeat(31), r"speech.wav: 31.0 s; expected an impulse response of at most 30 s"),
    ):
        write(tmp_path / name / f"{name}.wav", content)
        with pytest.raises(AudioError, match=message):
            read(tmp_path / name)
    (tmp_path / "text").mkdir()
    (tmp_path / "text/a.wav").write_text("no audio")
    with pytest.raises(AudioError, match=r"a.wav: no header of a known kind"):
        read(tmp_path / "text")
    with pytest.raises(ConfigError, match=r"4195 room impulse responses; expected at most 4194 at 16000 Hz"):
        read_responses(("a.wav",) * (MAX_VALUES // RATE_HZ + 1), RATE_HZ)
