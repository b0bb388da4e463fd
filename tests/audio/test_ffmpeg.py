"""Recordings of phones and browsers: decoded through PyAV, and refused by name without it."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from support.audio_files import BAD

from hybridspeech.audio import ffmpeg
from hybridspeech.audio.decode import decode_bytes, decode_file
from hybridspeech.audio.formats import is_supported
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import AudioError

CONFIG = FeatureConfig()
KINDS = {
    "m4a": ("ipod", "aac", 16_000),
    "aac": ("adts", "aac", 44_100),
    "webm": ("webm", "libopus", 48_000),
    "amr": ("amr", "libopencore_amrnb", 8_000),
}


def write(path: Path, seconds: float = 1.0, layout: str = "mono") -> Path:
    """Write a tone of 440 Hz, on the first channel only."""
    container, codec, rate_hz = KINDS[path.suffix[1:]]
    samples = np.zeros((2 if layout == "stereo" else 1, int(seconds * rate_hz)), np.float32)
    samples[0] = 0.4 * np.sin(2 * np.pi * 440 * np.arange(samples.shape[1]) / rate_hz)
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate_hz, layout=layout)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate_hz, 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            out.mux(packet)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_of_a_phone_is_decoded(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a.{kind}")
    decoded = decode_file(path, CONFIG)
    assert (decoded.wave.shape, decoded.wave.dtype) == ((16_000,), np.float32)
    spectrum = np.abs(np.fft.rfft(decoded.wave))
    assert abs(int(spectrum.argmax()) - 440) <= 2
    assert 0.2 < np.abs(decoded.wave[4_000:12_000]).max() < 0.45
    assert decoded.cut_s < 0.1  # the encoder's padding
    np.testing.assert_array_equal(decode_bytes(path.read_bytes(), CONFIG).wave, decoded.wave)
    assert is_supported(path.name)


def test_the_padding_that_an_m4a_file_declares_is_left_out(tmp_path: Path) -> None:
    decoded = decode_file(write(tmp_path / "a.m4a", seconds=0.5), CONFIG)
    assert np.abs(decoded.wave[:400]).max() > 0.3
    assert np.abs(decoded.wave[8_400:]).max() < 0.01


def test_channels_are_averaged(tmp_path: Path) -> None:
    decoded = decode_file(write(tmp_path / "a.aac", layout="stereo"), CONFIG)
    assert 0.15 < np.abs(decoded.wave[4_000:12_000]).max() < 0.25


def test_what_is_cut_off_is_counted(tmp_path: Path) -> None:
    assert decode_file(write(tmp_path / "a.webm", seconds=2.5), CONFIG).cut_s == pytest.approx(1.5, abs=0.1)


@pytest.mark.parametrize(
    ("kind", "reason"), [("m4a", "damaged"), ("aac", "damaged"), ("webm", "truncated"), ("amr", "damaged")]
)
def test_half_a_file_is_refused(kind: str, reason: str, tmp_path: Path) -> None:
    data = write(tmp_path / f"a.{kind}").read_bytes()
    with pytest.raises(AudioError) as caught:
        decode_bytes(data[: len(data) // 2], CONFIG)
    assert caught.value.reason == reason


@pytest.mark.slow
def test_a_file_of_more_than_ten_minutes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="expected at most 600 s"):
        decode_file(write(tmp_path / "a.amr", seconds=601), CONFIG)


@pytest.mark.parametrize("name", ["m4a", "webm", "aac", "amr"])
def test_without_pyav_the_remedy_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "is_installed", lambda: False)
    with pytest.raises(AudioError, match=r"install PyAV \(pip install .*\[pyav\].*\), or convert to WAV") as caught:
        decode_bytes(BAD[name][1](), CONFIG)
    assert caught.value.reason == "unsupported"
    assert not is_supported(f"a.{name}")


def test_pyav_is_looked_up_for_recordings_of_phones_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> bool:
        raise AssertionError("looked up")

    monkeypatch.setattr(ffmpeg, "is_installed", refuse)
    assert is_supported("a.WAV")
    assert not is_supported("a.txt")
