"""Sound of any length in blocks of bounded size: files of hours, and PCM 16 samples from a pipe. Mono float32.

A file is checked as in `decode`, but it may have any length, and what is wrong behind its header is found only when that part
is read. Knows nothing of spectrograms.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.audio import ffmpeg
from hybridspeech.audio.formats import NUM_SIGNATURE_BYTES, remedy, unsupported_kind
from hybridspeech.audio.pcm import from_pcm16
from hybridspeech.audio.sound_files import MAX_RATE_HZ, check_complete, mean_channel, opened_file, opened_sound
from hybridspeech.errors import AudioError, ConfigError
from hybridspeech.processes.scratch import scratch_folder
from hybridspeech.storage.locations import is_url
from hybridspeech.storage.objects import download

BLOCK_VALUES = 1 << 18
"""Samples of all channels in one block of a file: about 16 s of mono sound at 16 kHz."""
PIPE_BYTES = 1 << 16
_LONG_FORMATS = ("RF64", "W64")  # WAV with sizes of more than 32 bits
_EXACT_SEEK = ("WAV", "WAVEX", "FLAC", *_LONG_FORMATS)
_WAV_HEADER_BYTES, _CHUNK_BYTES, _MAX_HEADER_BYTES = 12, 8, 1 << 20
_PCM, _EXTENSIBLE = 1, 0xFFFE


def sound_blocks(path: str | Path, sample_rate_hz: int, first_sample: int = 0) -> Generator[np.ndarray, None, None]:
    """Yield all samples of an audio file from `first_sample` on.

    Parameters
    ----------
    path : a local path or a URL, which is downloaded to a temporary folder first
    first_sample : at sample_rate_hz; the samples are those of a call from 0, to the bit

    Yields
    ------
    float32 [shape=(num_samples,)], full scale = 1.0, mono, at sample_rate_hz

    Raises
    ------
    AudioError: as `decode.read_clip`, but never for the length; blocks before the damage have been yielded.
    """
    with ExitStack() as stack:
        local = Path(path)
        if is_url(path):
            local = Path(stack.enter_context(scratch_folder()), "sound")
            _download(str(path), local)
        descriptor = stack.enter_context(opened_file(local))
        yield from _blocks_of(descriptor, sample_rate_hz, first_sample, str(path))


def header_duration_s(path: str) -> float:
    """Return the duration that the header of a local file declares, in seconds; 0 if libsndfile can't read it."""
    try:
        with opened_file(path) as descriptor, opened_sound(descriptor, path, _LONG_FORMATS) as sound:
            return float(sound.frames / sound.samplerate)
    except AudioError:
        return 0.0


def _download(location: str, path: Path) -> None:
    try:
        download(location, path)
    except FileNotFoundError:
        raise AudioError("missing", f"{location}: no such file") from None


def _blocks_of(descriptor: int, wanted_hz: int, first_sample: int, name: str) -> Generator[np.ndarray, None, None]:
    size = os.fstat(descriptor).st_size
    if size == 0:
        raise AudioError("empty", f"{name}: 0 bytes; expected an audio file")
    if kind := unsupported_kind(os.pread(descriptor, NUM_SIGNATURE_BYTES, 0)):
        if kind not in ffmpeg.FORMATS or not ffmpeg.is_installed():
            raise AudioError("unsupported", f"{name}: {kind}; {remedy()}")
        with closing(ffmpeg.FFmpegFile(descriptor, kind, name)) as sound:
            blocks = resampled(_ffmpeg_blocks(sound, name), sound.samplerate, wanted_hz, name)
            yield from _without_first(blocks, first_sample)
        return
    os.lseek(descriptor, 0, os.SEEK_SET)  # libsndfile reads from the current position
    with opened_sound(descriptor, name, _LONG_FORMATS) as sound:
        check_complete(descriptor, sound, size, name)
        begin = 0
        if sound.samplerate == wanted_hz and sound.format in _EXACT_SEEK and first_sample < sound.frames:
            begin = sound.seek(first_sample)
        blocks = resampled(_sndfile_blocks(sound, begin, name), sound.samplerate, wanted_hz, name)
        yield from _without_first(blocks, first_sample - begin)


def _without_first(blocks: Iterable[np.ndarray], count: int) -> Generator[np.ndarray, None, None]:
    """Yield blocks without the first `count` samples of all."""
    for block in blocks:
        dropped = min(count, block.size)
        count -= dropped
        if dropped < block.size:
            yield block[dropped:]


def _sndfile_blocks(sound: Any, done: int, name: str) -> Generator[np.ndarray, None, None]:
    while done < sound.frames:
        block = sound.read(max(1, BLOCK_VALUES // sound.channels), dtype="float32", always_2d=True)
        if len(block) == 0:
            raise AudioError("truncated", f"{name}: {done} samples; its header declares {sound.frames}")
        done += len(block)
        yield mean_channel(block, name)


def _ffmpeg_blocks(sound: ffmpeg.FFmpegFile, name: str) -> Generator[np.ndarray, None, None]:
    if not 0 < sound.samplerate <= MAX_RATE_HZ:
        raise AudioError("bad-rate", f"{name}: {sound.samplerate} Hz; expected 1 to {MAX_RATE_HZ} Hz")
    for block in sound.blocks():
        yield mean_channel(block, name)
    if sound.num_frames == 0:
        raise AudioError("empty", f"{name}: 0 samples; expected at least 1")


def resampled(
    blocks: Iterable[np.ndarray], rate_hz: int, wanted_hz: int, name: str
) -> Generator[np.ndarray, None, None]:
    """Yield blocks of float32 samples at another rate; the state of the filter is kept between blocks.

    Raises
    ------
    AudioError: a sample is too large to be resampled.
    """
    if rate_hz == wanted_hz:
        yield from blocks
        return
    import soxr

    stream = soxr.ResampleStream(rate_hz, wanted_hz, 1, dtype="float32", quality="HQ")

    def converted(block: np.ndarray, is_last: bool) -> np.ndarray:
        samples: np.ndarray = stream.resample_chunk(np.ascontiguousarray(block), last=is_last)
        if not np.isfinite(samples).all():
            raise AudioError("not-finite", f"{name}: samples too large to be resampled; expected full scale 1.0")
        return samples

    for block in blocks:
        yield converted(block, is_last=False)
    yield converted(np.zeros(0, np.float32), is_last=True)


def pipe_blocks(
    read: Callable[[int], bytes], sample_rate_hz: int, pipe_rate_hz: int
) -> Generator[np.ndarray, None, None]:
    """Yield the samples of a pipe as they arrive: mono PCM 16, little endian, or a WAV stream of it.

    Parameters
    ----------
    read : returns between 1 and the given number of bytes, b"" at the end
    pipe_rate_hz : sample rate of raw samples; that of a WAV header takes precedence

    Yields
    ------
    float32 [shape=(num_samples,)], full scale = 1.0, mono, at sample_rate_hz

    Raises
    ------
    ConfigError: a WAV header declares something else than mono PCM 16.
    """
    head = _read_fully(read, _WAV_HEADER_BYTES)
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        pipe_rate_hz, head = _wav_rate_hz(read), b""
    yield from resampled(_pcm_blocks(read, head), pipe_rate_hz, sample_rate_hz, "standard input")


def _pcm_blocks(read: Callable[[int], bytes], head: bytes) -> Generator[np.ndarray, None, None]:
    rest, data = head, b""
    while rest or (data := read(PIPE_BYTES)):
        data, rest = rest + data, b""
        if len(data) % 2:  # the other half of the last sample is still on its way
            data, rest = data[:-1], data[-1:]
        if data:
            yield from_pcm16(np.frombuffer(data, "<i2"))
        if rest:
            if not (data := read(PIPE_BYTES)):
                return
            rest, data = rest + data, b""


def _read_fully(read: Callable[[int], bytes], num_bytes: int) -> bytes:
    data = b""
    while len(data) < num_bytes and (more := read(num_bytes - len(data))):
        data += more
    return data


def _wav_rate_hz(read: Callable[[int], bytes]) -> int:
    """Read the chunks of a WAV stream up to its samples; return the sample rate in Hz."""
    rate_hz, done = 0, 0
    while done < _MAX_HEADER_BYTES:
        chunk = _read_fully(read, _CHUNK_BYTES)
        if len(chunk) < _CHUNK_BYTES:
            break
        kind, size = struct.unpack("<4sI", chunk)
        if kind == b"data" and rate_hz:
            return rate_hz
        content = _read_fully(read, min(size + size % 2, _MAX_HEADER_BYTES))
        done += _CHUNK_BYTES + len(content)
        if kind == b"fmt ":
            rate_hz = _rate_of_format(content)
    raise ConfigError("standard input: a WAV stream without samples; expected mono PCM 16")


def _rate_of_format(content: bytes) -> int:
    if len(content) < 16:
        raise ConfigError("standard input: a damaged WAV header; expected mono PCM 16")
    kind, channels, rate_hz, _, _, bits = map(int, struct.unpack_from("<HHIIHH", content))
    if kind not in (_PCM, _EXTENSIBLE) or channels != 1 or bits != 16 or not 0 < rate_hz <= MAX_RATE_HZ:
        given = f"{channels} channels of {bits} bits at {rate_hz} Hz, format {kind}"
        raise ConfigError(f"standard input: WAV of {given}; expected mono PCM 16, as arecord -f S16_LE -c 1 writes it")
    return rate_hz
