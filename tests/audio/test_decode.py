"""Decoding of audio files: waveforms, reasons of rejects, and equality of the fast path with libsndfile."""

from __future__ import annotations

import io
import resource
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from support.audio_files import BAD, ODD, noise, sound, wav, write_bad_files

from hybridspeech.audio import decode as audio
from hybridspeech.audio.decode import decode_bytes, decode_file, read_clip
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import AudioError

CONFIG = FeatureConfig()


def decode(data: bytes, config: FeatureConfig) -> np.ndarray:
    """Decode a file in memory."""
    return decode_bytes(data, config).wave


def by_libsndfile(data: bytes) -> np.ndarray:
    """Decode with soundfile and soxr directly, in one call each: mono float32 at the target rate and length."""
    wave, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    mono = wave.mean(axis=1) if wave.shape[1] > 1 else wave[:, 0]
    if rate_hz != CONFIG.sample_rate_hz:
        mono = soxr.resample(mono, rate_hz, CONFIG.sample_rate_hz, quality="HQ")
    return np.pad(mono, (0, max(0, CONFIG.num_samples - mono.size)))[: CONFIG.num_samples]


@pytest.mark.parametrize("name", BAD)
def test_bad_content_is_rejected_with_its_reason(name: str, tmp_path: Path) -> None:
    reason, content = BAD[name]
    path = tmp_path / "clip.wav"
    path.write_bytes(content())
    with pytest.raises(AudioError, match=r"clip\.wav") as caught:
        read_clip(path, CONFIG)
    assert caught.value.reason == reason


def test_every_bad_path_is_rejected_with_its_reason_without_blocking(tmp_path: Path) -> None:
    for path, reason in write_bad_files(tmp_path / "bad").items():
        with pytest.raises(AudioError) as caught:
            read_clip(path, CONFIG)
        assert (path.name, caught.value.reason) == (path.name, reason)


def test_a_recording_that_must_be_converted_has_the_remedy() -> None:
    with pytest.raises(AudioError, match="convert to WAV or FLAC, for example with ffmpeg"):
        decode_bytes(BAD["caf"][1](), CONFIG)


@pytest.mark.parametrize("path", ["a\0b.wav", "x" * 5000, "/proc/self/mem", "\ud800.wav"])
def test_invalid_names_raise_audio_errors(path: str) -> None:
    with pytest.raises(AudioError):
        read_clip(path, CONFIG)


@pytest.mark.parametrize("name", ODD)
def test_unusual_files_are_read_as_libsndfile_reads_them(name: str) -> None:
    data = ODD[name]()
    wave = decode(data, CONFIG)
    assert (wave.dtype, wave.shape) == (np.float32, (16_000,))
    np.testing.assert_allclose(wave, by_libsndfile(data), atol=1e-6)


def test_reasons_are_those_of_the_table() -> None:
    table = (audio.__doc__ or "").split("these reasons:")[1].split("Truncated means")[0]
    known = {line.split()[0] for line in table.splitlines() if line.startswith("    ") and line[4] != " "}
    assert {reason for reason, _ in BAD.values()} | {"missing", "unreadable", "not-a-file"} == known


def test_short_clips_are_padded_with_zeros_at_the_end_and_long_ones_cut() -> None:
    short, long = noise(6_827), noise(20_000)
    padded = decode(sound("WAV", "FLOAT", short), CONFIG)
    np.testing.assert_array_equal(padded[:6_827], short)
    assert not padded[6_827:].any()
    np.testing.assert_array_equal(decode(sound("WAV", "FLOAT", long), CONFIG), long[:16_000])


@pytest.mark.parametrize("format", ["WAV", "FLAC"])
@pytest.mark.parametrize(("num_samples", "cut_s"), [(16_000, 0), (16_100, 0), (20_000, 0.25)])
def test_the_duration_that_is_cut_off_is_returned(format: str, num_samples: int, cut_s: float, tmp_path: Path) -> None:
    path = tmp_path / "clip"
    path.write_bytes(sound(format, "PCM_16", noise(num_samples)))
    assert decode_file(path, CONFIG).cut_s == cut_s
    assert decode_bytes(sound(format, "PCM_16", noise(2 * num_samples), 32_000), CONFIG).cut_s == cut_s


def test_channels_are_averaged() -> None:
    stereo = np.stack([np.full(100, 0.5), np.full(100, -0.25)], axis=1).astype(np.float32)
    assert decode(sound("WAV", "FLOAT", stereo), CONFIG)[0] == 0.125


def test_resampling_keeps_pitch_and_level() -> None:
    times = np.arange(44_100) / 44_100
    wave = decode(sound("WAV", "FLOAT", np.sin(2 * np.pi * 440 * times).astype(np.float32), 44_100), CONFIG)
    expected = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(wave[500:-500], expected[500:-500], atol=2e-3)


def test_what_is_cut_off_is_checked_too() -> None:
    wave = noise(48_000)
    wave[40_000] = np.nan
    with pytest.raises(AudioError, match="not-finite"):
        decode(sound("WAV", "FLOAT", wave), CONFIG)


def test_canonical_files_never_reach_libsndfile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(wav())
    monkeypatch.setattr(soundfile, "SoundFile", None)
    assert read_clip(path, CONFIG).any()


def test_the_fast_path_is_exact_on_every_sample_value() -> None:
    every = np.arange(-32_768, 32_768, dtype=np.int16)
    config = FeatureConfig(clip_duration_ms=5_000)
    file = io.BytesIO()
    soundfile.write(file, every, 16_000, format="WAV", subtype="PCM_16")
    expected, _ = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")
    np.testing.assert_array_equal(decode(file.getvalue(), config)[: every.size], expected)


mutations = st.lists(st.tuples(st.integers(0, 47), st.integers(0, 255)), max_size=6)


@settings(max_examples=400, deadline=None)
@given(mutations, st.integers(0, 2_100), st.binary(max_size=20))
def test_a_mutated_header_is_read_as_libsndfile_does_or_refused(
    changes: list[tuple[int, int]], length: int, tail: bytes
) -> None:
    data = bytearray(sound("WAV", "PCM_16", noise(1_000))[:length] + tail)
    for offset, value in changes:
        if offset < len(data):
            data[offset] = value
    try:
        wave = decode(bytes(data), CONFIG)
    except AudioError:
        return
    np.testing.assert_allclose(wave, by_libsndfile(bytes(data)), atol=1e-6)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["flac", "ogg vorbis", "mp3", "extensible"]), st.data())
def test_damaged_compressed_files_raise_nothing_but_audio_errors(kind: str, draws: st.DataObject) -> None:
    data = bytearray(ODD[kind]())
    for _ in range(draws.draw(st.integers(1, 5))):
        data[draws.draw(st.integers(0, len(data) - 1))] = draws.draw(st.integers(0, 255))
    end = draws.draw(st.integers(1, len(data)))
    try:
        wave = decode(bytes(data[:end]), CONFIG)
    except AudioError:
        return
    assert wave.shape == (16_000,)
    assert np.isfinite(wave).all()


def test_a_decompression_bomb_takes_little_memory(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.flac"
    soundfile.write(bomb, np.zeros((590 * 48_000, 2), np.int16), 48_000)
    assert bomb.stat().st_size < 1_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert not read_clip(bomb, CONFIG).any()
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
    )  # KiB; decoded in one piece it takes 226 MB


def num_open() -> int:
    """File descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_descriptors_are_closed_after_errors_too(tmp_path: Path) -> None:
    paths = [*write_bad_files(tmp_path / "bad"), tmp_path / "good.wav"]
    paths[-1].write_bytes(wav())
    before = num_open()
    for path in paths:
        try:
            read_clip(path, CONFIG)
        except AudioError:
            continue
    assert num_open() == before


def test_all_real_clips_can_be_decoded(speech_commands: Path) -> None:
    paths = sorted(speech_commands.glob("[a-z]*/*.wav"))
    assert len(paths) >= 100
    for path in paths:
        wave = read_clip(path, CONFIG)
        samples, _ = soundfile.read(path, dtype="float32")
        np.testing.assert_array_equal(wave[: samples.size], samples[:16_000])
