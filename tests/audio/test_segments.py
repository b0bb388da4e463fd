"""A segment equals the clip of a file that holds it alone, whatever its container, rate and place."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hybridspeech.audio.decode import decode_file
from hybridspeech.audio.segments import decode_segment
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import AudioError
from hybridspeech.storage.objects import write_bytes

CONFIG = FeatureConfig(kind="logmel")


def recording(path: Path, rate_hz: int = 16_000, channels: int = 1, **kind: str) -> np.ndarray:
    generator = np.random.default_rng(7)
    wave = np.cumsum(generator.standard_normal((4 * rate_hz, channels)), axis=0)
    wave = 0.5 * (wave - wave.mean(0)) / np.abs(wave - wave.mean(0)).max()
    soundfile.write(path, wave, rate_hz, **kind)
    return wave


@pytest.mark.parametrize("segment", [(0.0, 0.5), (1.2345, 0.7), (2.00003, 1.9), (0.7715625, math.inf)])
@pytest.mark.parametrize(
    ("name", "rate_hz", "channels", "subtype"),
    [("a.wav", 16_000, 1, "PCM_16"), ("a.wav", 44_100, 2, "PCM_24"), ("a.flac", 48_000, 1, "PCM_16")],
)
def test_a_segment_equals_its_own_file(
    tmp_path: Path, segment: tuple[float, float], name: str, rate_hz: int, channels: int, subtype: str
) -> None:
    recording(tmp_path / name, rate_hz, channels, subtype=subtype)
    samples, _ = soundfile.read(tmp_path / name, dtype="int32", always_2d=True)
    first = int(segment[0] * rate_hz + 1e-3)  # 0.7 s are 30,870 samples at 44,100 Hz, not 30,869
    last = len(samples) if math.isinf(segment[1]) else first + int(segment[1] * rate_hz + 1e-3)
    soundfile.write(tmp_path / f"part-{name}", samples[first:last], rate_hz, subtype=subtype)
    found, expected = decode_segment(tmp_path / name, CONFIG, segment), decode_file(tmp_path / f"part-{name}", CONFIG)
    np.testing.assert_array_equal(found.wave, expected.wave)
    assert found.cut_s == pytest.approx(expected.cut_s)


@pytest.mark.parametrize(("name", "kind"), [("a.mp3", {}), ("a.ogg", {"subtype": "VORBIS"}), ("a.opus", {})])
def test_a_segment_of_a_lossy_file_equals_that_part_of_the_decoded_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, kind: dict[str, str]
) -> None:
    if name == "a.opus":
        kind = {"format": "OGG", "subtype": "OPUS"}
    recording(tmp_path / name, 48_000 if name == "a.opus" else 16_000, **kind)
    samples, rate_hz = soundfile.read(tmp_path / name, dtype="float32")
    soundfile.write(tmp_path / "part.wav", samples[int(1.5 * rate_hz) : int(2.25 * rate_hz)], rate_hz, subtype="FLOAT")
    found, expected = decode_segment(tmp_path / name, CONFIG, (1.5, 0.75)), decode_file(tmp_path / "part.wav", CONFIG)
    assert np.abs(found.wave - expected.wave).max() < (1e-6 if name == "a.mp3" else 1e-9)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        ((4.0, 1.0), "the segment starts at 4 s; the recording ends at 4 s"),
        ((9.0, math.inf), "the segment starts at 9 s"),
        ((3.5, 0.7), "the segment ends at 4.2 s; the recording at 4 s"),
    ],
)
def test_a_segment_outside_its_recording_is_rejected(
    tmp_path: Path, segment: tuple[float, float], message: str
) -> None:
    recording(tmp_path / "a.wav")
    with pytest.raises(AudioError, match=message) as caught:
        decode_segment(tmp_path / "a.wav", CONFIG, segment)
    assert caught.value.reason == "outside"
    assert decode_segment(tmp_path / "a.wav", CONFIG, (3.5, 0.55)).cut_s == 0


def test_a_recording_may_be_longer_than_a_clip_may(tmp_path: Path) -> None:
    samples = np.zeros(700 * 8_000, np.int16)
    samples[650 * 8_000 :] = 1000
    soundfile.write(tmp_path / "long.flac", samples, 8_000)
    assert decode_segment(tmp_path / "long.flac", CONFIG, (655.0, 1.0)).wave[8_000] == pytest.approx(
        1000 / 32_768, 1e-2
    )
    with pytest.raises(AudioError, match="too-long"):
        decode_file(tmp_path / "long.flac", CONFIG)


def test_segments_on_a_store_equal_those_of_a_local_file(tmp_path: Path) -> None:
    recording(tmp_path / "a.wav", 44_100, 2, subtype="PCM_16")
    url = f"memory://segments/{tmp_path.name}.wav"
    write_bytes(url, (tmp_path / "a.wav").read_bytes())
    for segment in ((0.0, 1.0), (2.5, 0.5)):
        found, expected = (decode_segment(place, CONFIG, segment) for place in (url, tmp_path / "a.wav"))
        np.testing.assert_array_equal(found.wave, expected.wave)
    with pytest.raises(AudioError, match="missing"):
        decode_segment(url + "x", CONFIG, (0.0, 1.0))
