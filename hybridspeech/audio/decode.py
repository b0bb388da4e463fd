"""Decodes an audio file to the waveform of one clip: mono float32 at the target rate and length.

libsndfile decodes WAV, FLAC, Ogg (Vorbis, Opus) and MP3, and PyAV, if it is installed, MPEG-4 audio, AAC, WebM and AMR
(`sound_files`, `ffmpeg`); channels are averaged; soxr (HQ) resamples; the waveform is zero-padded at its end, or cut. The whole
file is decoded and checked, the part that is cut off too. Knows nothing of spectrograms.

A file that can't be used raises AudioError with one of these reasons:

    missing       the file does not exist (any more)
    unreadable    it can't be opened or read: permission, a loop of links, an invalid name
    not-a-file    a folder, pipe, socket or device; never opened, so that nothing blocks
    empty         no bytes, or a header without samples
    not-audio     no header that libsndfile recognises
    unsupported   audio of another kind, or one that needs PyAV, such as .m4a, .aac and .webm
    damaged       the header is recognised, but contradictory or truncated
    bad-rate      a sample rate of 0 or of more than 768,000 Hz
    too-long      more than 600 s, or more than 230,400,000 values in all channels
    truncated     the file has fewer samples than it declares; the last page of an Ogg stream is missing
    not-finite    a sample is NaN or infinite

Truncated means: a WAV file is shorter than its data chunk says (the sizes that ffmpeg and sox write to a pipe mean "to
the end" and are accepted); an Ogg file does not end with a complete page that is marked as the last; FLAC and MP3 decode
to fewer samples than the header declares (an MP3 file without such a header can't be checked). Of a canonical WAV file
(`containers`), whose header proves that it is complete, only the part that is kept is read. A silent clip is valid.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridspeech.audio.containers import WAV_HEADER_BYTES, canonical_samples, is_canonical
from hybridspeech.audio.sound_files import MAX_DURATION_S, MAX_RATE_HZ, Mix, check_length, decode_mono, opened_file
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import AudioError
from hybridspeech.storage.locations import is_url
from hybridspeech.storage.objects import read_bytes

NEGLIGIBLE_S = 0.01
"""A clip that is longer than the clip duration by less than this does not count as cut: encoders pad their last frame."""
RESAMPLING_MARGIN_S = 0.1  # samples behind the cut that the resampling filter may still use


@dataclass(frozen=True, slots=True)
class DecodedClip:
    """A clip, and how much of its recording was cut off.

    Parameters
    ----------
    wave : float32 [shape=(config.num_samples,)], full scale = 1.0, mono, at config.sample_rate_hz
    cut_s : duration that was cut off at the end, in seconds; 0 if it is less than NEGLIGIBLE_S
    """

    wave: np.ndarray
    cut_s: float = 0.0


def read_clip(path: str | Path, config: FeatureConfig) -> np.ndarray:
    """Decode an audio file to the waveform of one clip.

    Returns
    -------
    float32 [shape=(config.num_samples,)], full scale = 1.0, mono, at config.sample_rate_hz

    Raises
    ------
    AudioError: the file can't be used; the docstring of the module lists the reasons.
    """
    return decode_file(path, config).wave


def decode_file(path: str | Path, config: FeatureConfig, start_ms: int = 0) -> DecodedClip:
    """Decode an audio file to one clip, which begins `start_ms` after the start of the recording.

    Raises
    ------
    AudioError: as `read_clip`.
    """
    with _opened(path) as descriptor:
        return _read(descriptor, config, str(path), start_ms)


def duration_s(path: str | Path) -> float:
    """Return the duration of an audio file, in seconds; all of the file is decoded, unless its header proves the duration.

    Raises
    ------
    AudioError: as `read_clip`.
    """
    with _opened(path) as descriptor:
        size = os.fstat(descriptor).st_size
        head = os.pread(descriptor, WAV_HEADER_BYTES, 0)
        rate_hz = int.from_bytes(head[24:28], "little")
        if head[:4] == b"RIFF" and 0 < rate_hz <= MAX_RATE_HZ and is_canonical(head, size, rate_hz):
            return (size - WAV_HEADER_BYTES) // 2 / rate_hz
        _, rate_hz, num_frames = decode_mono(descriptor, size, 0.0, str(path))
        return num_frames / rate_hz


@contextmanager
def _opened(path: str | Path) -> Iterator[int]:
    if is_url(path):
        try:
            data = read_bytes(str(path))
        except FileNotFoundError:
            raise AudioError("missing", f"{path}: no such file") from None
        with _in_memory(data) as descriptor:
            yield descriptor
        return
    with opened_file(path) as descriptor:
        yield descriptor


def read_recording(path: str | Path, sample_rate_hz: int, mix: Mix | None = None) -> np.ndarray:
    """Decode all of an audio file, such as one of background noise.

    Parameters
    ----------
    mix : makes it mono; None: `mean_channel`

    Returns
    -------
    float32 [shape=(num_samples,)], full scale = 1.0, mono, at sample_rate_hz

    Raises
    ------
    AudioError: as `read_clip`.
    """
    with _opened(path) as descriptor:
        size = os.fstat(descriptor).st_size
        wave, rate_hz, _ = decode_mono(descriptor, size, MAX_DURATION_S, str(path), mix)
        return resampled(wave, rate_hz, str(path), sample_rate_hz)


def load_decoder() -> None:
    """Import libsndfile; for a process that will fork workers."""
    import soundfile  # noqa: F401


def decode_bytes(data: bytes, config: FeatureConfig, name: str = "clip", start_ms: int = 0) -> DecodedClip:
    """Decode an audio file in memory, as `decode_file`; `name` stands in the messages."""
    if is_canonical(data[:WAV_HEADER_BYTES], len(data), config.sample_rate_hz):
        return _canonical(data, len(data), config, name, start_ms)
    with _in_memory(data) as descriptor:
        return _read(descriptor, config, name, start_ms)


@contextmanager
def _in_memory(data: bytes) -> Iterator[int]:
    """Give a descriptor of a temporary file with this content."""
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(data)
        yield file.fileno()


def _canonical(head: bytes, size: int, config: FeatureConfig, name: str, start_ms: int) -> DecodedClip:
    """Return the clip of a canonical WAV file of `size` bytes that begins with `head`."""
    num_samples = (size - WAV_HEADER_BYTES) // 2
    check_length(name, num_samples, 1, config.sample_rate_hz)
    start = _start(config, start_ms)
    wave = canonical_samples(head, start + config.num_samples)[start:]
    return DecodedClip(wave, _cut_s(num_samples / config.sample_rate_hz, config, start_ms))


def _start(config: FeatureConfig, start_ms: int) -> int:
    """Return the first sample of a clip."""
    return start_ms * config.sample_rate_hz // 1000


def _cut_s(duration_s: float, config: FeatureConfig, start_ms: int) -> float:
    cut_s = duration_s - (start_ms + config.clip_duration_ms) / 1000
    return cut_s if cut_s >= NEGLIGIBLE_S else 0.0


def _read(descriptor: int, config: FeatureConfig, name: str, start_ms: int) -> DecodedClip:
    start, size = _start(config, start_ms), os.fstat(descriptor).st_size
    if size == 0:
        raise AudioError("empty", f"{name}: 0 bytes; expected an audio file")
    wanted = min(size, WAV_HEADER_BYTES + 2 * (start + config.num_samples))
    head = os.pread(descriptor, wanted, 0)
    if len(head) == wanted and is_canonical(head, size, config.sample_rate_hz):
        return _canonical(head, size, config, name, start_ms)
    wanted_s = (start_ms + config.clip_duration_ms) / 1000 + RESAMPLING_MARGIN_S
    decoded, rate_hz, num_frames = decode_mono(descriptor, size, wanted_s, name)
    return clip_of(resampled(decoded, rate_hz, name, config.sample_rate_hz), num_frames / rate_hz, config, start_ms)


def clip_of(wave: np.ndarray, duration_s: float, config: FeatureConfig, start_ms: int) -> DecodedClip:
    """Return the clip that begins `start_ms` after the start of a recording, zero-padded or cut.

    Parameters
    ----------
    wave : float32 [shape=(num_samples,)], the first part of the recording, at config.sample_rate_hz
    duration_s : duration of the recording, in seconds
    """
    wave = wave[_start(config, start_ms) :]
    clip = np.zeros(config.num_samples, np.float32)
    clip[: wave.size] = wave[: clip.size]
    return DecodedClip(clip, _cut_s(duration_s, config, start_ms))


def resampled(wave: np.ndarray, rate_hz: int, name: str, wanted_hz: int) -> np.ndarray:
    """Return a waveform, float32 [shape=(num_samples,)], at another sample rate.

    Raises
    ------
    AudioError: it is too loud for that.
    """
    if rate_hz == wanted_hz:
        return wave
    import soxr

    resampled: np.ndarray = soxr.resample(wave, rate_hz, wanted_hz, quality="HQ")
    if not np.isfinite(resampled).all():
        raise AudioError("not-finite", f"{name}: samples too large to be resampled; expected full scale 1.0")
    return resampled
