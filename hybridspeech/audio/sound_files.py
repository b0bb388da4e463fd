"""Opens audio files and decodes them to mono at their own sample rate. Reasons of an AudioError are those of `decode`.

The whole file is decoded and checked, the part that is not kept too, in blocks of bounded size: a header can't make the
process allocate more. Knows nothing of clips.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.audio import ffmpeg
from hybridspeech.audio.containers import missing_part
from hybridspeech.audio.formats import CONVERT, NUM_SIGNATURE_BYTES, remedy, unsupported_kind
from hybridspeech.errors import AudioError

MAX_DURATION_S = 600
MAX_VALUES = MAX_DURATION_S * 8 * 48_000
MAX_RATE_HZ = 768_000
_FORMATS = ("WAV", "WAVEX", "FLAC", "OGG", "MP3")
_BLOCK_VALUES = 1 << 22
_SNDFILE_NOT_RECOGNISED = (1, 7)  # 7: it may be MP3, but no frame of it can be decoded
_SNDFILE_BAD_RATE = 24  # "SF_INFO struct incomplete": only a bad sample rate leads to it

Mix = Callable[[np.ndarray, str], np.ndarray]
"""Makes a block mono: `mean_channel` or `first_channel`."""


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


def decode_mono(
    descriptor: int, size: int, wanted_s: float, name: str, mix: Mix | None = None
) -> tuple[np.ndarray, int, int]:
    """Decode all of an open file of `size` bytes, and keep its first `wanted_s`, in seconds.

    Parameters
    ----------
    mix : makes it mono; None: `mean_channel`

    Returns
    -------
    float32 [shape=(num_samples,)], full scale = 1.0, mono, at the sample rate of the file; that rate in Hz; and the number of
    samples of the file

    Raises
    ------
    AudioError: the file can't be used.
    """
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
    """Decode as `decode_mono`. The number of samples is not known before the end, so that it is checked block by block."""
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


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
