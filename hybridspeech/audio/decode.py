"""Decodes an audio file to the waveform of one clip: mono float32 at the target rate and length.

libsndfile decodes WAV, FLAC, Ogg (Vorbis, Opus) and MP3, and PyAV, if it is installed, MPEG-4 audio, AAC, WebM and AMR
(`ffmpeg`); channels are averaged; soxr (HQ) resamples; the waveform is
zero-padded at its end, or cut. The whole file is decoded and checked, the part that is cut off too, in blocks of bounded
size: a header can't make the process allocate more. Knows nothing of spectrograms.

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
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.audio import ffmpeg
from hybridspeech.audio.containers import WAV_HEADER_BYTES, canonical_samples, is_canonical, missing_part
from hybridspeech.audio.formats import CONVERT, NUM_SIGNATURE_BYTES, remedy, unsupported_kind
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import AudioError
from hybridspeech.storage.locations import is_url
from hybridspeech.storage.objects import read_bytes

MAX_DURATION_S = 600
MAX_VALUES = MAX_DURATION_S * 8 * 48_000
MAX_RATE_HZ = 768_000
NEGLIGIBLE_S = 0.01
"""A clip that is longer than the clip duration by less than this does not count as cut: encoders pad their last frame."""
_FORMATS = ("WAV", "WAVEX", "FLAC", "OGG", "MP3")
_BLOCK_VALUES = 1 << 22
RESAMPLING_MARGIN_S = 0.1  # samples behind the cut that the resampling filter may still use
_SNDFILE_NOT_RECOGNISED = (1, 7)  # 7: it may be MP3, but no frame of it can be decoded
_SNDFILE_BAD_RATE = 24  # "SF_INFO struct incomplete": only a bad sample rate leads to it

Mix = Callable[[np.ndarray, str], np.ndarray]
"""Makes a block mono: `mean_channel` or `first_channel`."""


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
        _, rate_hz, num_frames = _decode(descriptor, size, 0.0, str(path))
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


@contextmanager
def opened_file(path: str | Path) -> Iterator[int]:
    """Give a descriptor of a local file.

    Raises
    ------
    AudioError: it is missing, unreadable, or no regular file.
    """
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise AudioError("not-a-file", f"{path}: a folder, pipe or device; expected a regular file")
        # O_NONBLOCK: the path may have become a pipe since the stat, and opening that would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise AudioError("missing", f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise AudioError("unreadable", f"{path!s}: can't be opened: {_reason(error)}") from error
    try:
        yield descriptor
    except OSError as error:
        raise AudioError("unreadable", f"{path}: can't be read: {_reason(error)}") from error
    finally:
        os.close(descriptor)


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
        wave, rate_hz, _ = _decode(descriptor, size, MAX_DURATION_S, str(path), mix)
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


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _read(descriptor: int, config: FeatureConfig, name: str, start_ms: int) -> DecodedClip:
    start, size = _start(config, start_ms), os.fstat(descriptor).st_size
    if size == 0:
        raise AudioError("empty", f"{name}: 0 bytes; expected an audio file")
    wanted = min(size, WAV_HEADER_BYTES + 2 * (start + config.num_samples))
    head = os.pread(descriptor, wanted, 0)
    if len(head) == wanted and is_canonical(head, size, config.sample_rate_hz):
        return _canonical(head, size, config, name, start_ms)
    wanted_s = (start_ms + config.clip_duration_ms) / 1000 + RESAMPLING_MARGIN_S
    decoded, rate_hz, num_frames = _decode(descriptor, size, wanted_s, name)
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


def _decode(
    descriptor: int, size: int, wanted_s: float, name: str, mix: Mix | None = None
) -> tuple[np.ndarray, int, int]:
    """Return the first `wanted_s` of a file (mono float32 at its own rate), that rate in Hz, and its number of samples."""
    mix = mix or mean_channel
    if kind := unsupported_kind(os.pread(descriptor, NUM_SIGNATURE_BYTES, 0)):
        if kind not in ffmpeg.FORMATS or not ffmpeg.is_installed():
            raise AudioError("unsupported", f"{name}: {kind}; {remedy()}")
        return _decode_with_ffmpeg(descriptor, kind, wanted_s, name, mix)
    os.lseek(descriptor, 0, os.SEEK_SET)  # libsndfile reads from the current position
    with opened_sound(descriptor, name) as sound:
        check_complete(descriptor, sound, size, name)
        check_length(name, sound.frames, sound.channels, sound.samplerate)
        return _mono(sound, int(sound.samplerate * wanted_s) + 1, name, mix), sound.samplerate, sound.frames


def check_complete(descriptor: int, sound: Any, size: int, name: str) -> None:
    """Raise AudioError if an open file of `size` bytes has no sample, or does not hold those that it declares."""
    if missing := missing_part(lambda at, length: os.pread(descriptor, length, at), size):
        raise AudioError("truncated", f"{name}: {missing} are missing; expected a complete file")
    if sound.frames == 0:
        raise AudioError("empty", f"{name}: 0 samples; expected at least 1")


@contextmanager
def opened_sound(source: Any, name: str, more_formats: tuple[str, ...] = ()) -> Iterator[Any]:
    """Give the open `soundfile.SoundFile` of a descriptor, or of a seekable file.

    It does not seek by itself: soundfile seeks after each block, and the decoder of MP3 starts anew with every seek.

    Raises
    ------
    AudioError: libsndfile does not know the file, or can't decode it.
    """
    import soundfile

    class Sequential(soundfile.SoundFile):  # type: ignore[misc]
        def seekable(self) -> bool:
            return False

    try:
        sound = Sequential(source, closefd=False)
    except soundfile.LibsndfileError as error:
        raise _not_opened(error, name) from error
    with sound:
        if sound.format not in (*_FORMATS, *more_formats):
            raise AudioError("unsupported", f"{name}: {sound.format_info}; expected WAV, FLAC, Ogg or MP3; {CONVERT}")
        if sound.samplerate > MAX_RATE_HZ:
            raise AudioError("bad-rate", f"{name}: {sound.samplerate} Hz; expected 1 to {MAX_RATE_HZ} Hz")
        try:
            yield sound
        except soundfile.LibsndfileError as error:
            detail = f"{name}: {sound.frames} samples are declared, but can't be decoded: {error.error_string}"
            raise AudioError("truncated", detail) from error


def _decode_with_ffmpeg(
    descriptor: int, kind: str, wanted_s: float, name: str, mix: Mix
) -> tuple[np.ndarray, int, int]:
    """Decode as `_decode`. The number of samples is not known before the end, so that it is checked block by block."""
    sound = ffmpeg.FFmpegFile(descriptor, kind, name)
    try:
        if not 0 < sound.samplerate <= MAX_RATE_HZ:
            raise AudioError("bad-rate", f"{name}: {sound.samplerate} Hz; expected 1 to {MAX_RATE_HZ} Hz")
        kept: list[np.ndarray] = []
        missing = int(sound.samplerate * wanted_s) + 1
        for block in sound.blocks():
            check_length(name, sound.num_frames, sound.channels, sound.samplerate)
            kept.append(mix(block, name)[:missing])
            missing -= len(kept[-1])
        if sound.num_frames == 0:
            raise AudioError("empty", f"{name}: 0 samples; expected at least 1")
        return np.concatenate(kept), sound.samplerate, sound.num_frames
    finally:
        sound.close()


def check_length(name: str, frames: int, channels: int, rate_hz: int) -> None:
    """Raise AudioError if a recording is longer than MAX_DURATION_S or has more than MAX_VALUES."""
    if frames > MAX_DURATION_S * rate_hz or frames * channels > MAX_VALUES:
        detail = f"{name}: {frames} samples of {channels} channels at {rate_hz} Hz are declared"
        raise AudioError("too-long", f"{detail}; expected at most {MAX_DURATION_S} s and {MAX_VALUES} values")


def _mono(sound: Any, keep: int, name: str, mix: Mix) -> np.ndarray:
    """Return the first `keep` frames, made mono by `mix`; decode and check the rest block by block."""
    kept: list[np.ndarray] = []
    done = 0
    while done < sound.frames:
        block = sound.read(max(1, _BLOCK_VALUES // sound.channels), dtype="float32", always_2d=True)
        if len(block) == 0:
            raise AudioError("truncated", f"{name}: {done} samples; its header declares {sound.frames}")
        mono = mix(block, name)
        if done < keep:
            kept.append(mono[: keep - done])
        done += len(block)
    return np.concatenate(kept)


def mean_channel(block: np.ndarray, name: str) -> np.ndarray:
    """Return the channel mean of a block, float32 [shape=(num_samples, channels)].

    Raises
    ------
    AudioError: a value is not finite.
    """
    with np.errstate(over="ignore"):
        mono: np.ndarray = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
    if not (np.isfinite(block).all() and np.isfinite(mono).all()):
        raise AudioError("not-finite", f"{name}: a sample is NaN or infinite; expected full scale 1.0")
    return mono


def first_channel(block: np.ndarray, name: str) -> np.ndarray:
    """Return the first channel of a block, float32 [shape=(num_samples, channels)].

    Raises
    ------
    AudioError: a value of it is not finite.
    """
    return mean_channel(block[:, :1], name)


def _not_opened(error: Any, name: str) -> AudioError:
    if error.code in _SNDFILE_NOT_RECOGNISED:
        return AudioError("not-audio", f"{name}: no header of a known kind; expected WAV, FLAC, Ogg or MP3")
    if error.code == _SNDFILE_BAD_RATE:
        return AudioError(
            "bad-rate", f"{name}: the header has an impossible sample rate; expected 1 to {MAX_RATE_HZ} Hz"
        )
    return AudioError("damaged", f"{name}: the header can't be read: {error.error_string}")
