"""Decodes a segment of a recording: only that part of the file is read, however long the recording is.

The segment is cut at the sample rate of the file and then resampled, so that it equals this part of the decoded file: to the
bit, or within 1e-6 for MP3, whose decoder needs some frames before the segment to have the same state.

Reasons of an AudioError are those of `decode`, and "outside": the segment begins or ends after the end of its recording.
"""

from __future__ import annotations

import io
import math
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.audio import ffmpeg
from hybridspeech.audio.containers import missing_part
from hybridspeech.audio.decode import RESAMPLING_MARGIN_S, DecodedClip, clip_of, resampled
from hybridspeech.audio.formats import NUM_SIGNATURE_BYTES, remedy, unsupported_kind
from hybridspeech.audio.sound_files import MAX_RATE_HZ, check_length, mean_channel, opened_file, opened_sound
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import AudioError
from hybridspeech.processes.native_stderr import native_errors_muted
from hybridspeech.storage.locations import is_url
from hybridspeech.storage.ranges import RangeFile

IN_FLIGHT = 16
"""Segments of an object store that are read at the same time: each takes two requests or more, one after the other."""
MP3_PREROLL_S = 0.5
"""Part before a segment that is decoded and dropped: a frame refers to data of the frames before it."""
_muting = threading.Lock()
TOLERANCE_S = 0.1
"""A segment may end this much after its recording: times are rounded, and encoders pad."""
_TINY = 1e-3
"""Part of a sample by which a time that was rounded may lie before it."""


def decode_segment(
    path: str | Path, config: FeatureConfig, segment: tuple[float, float], start_ms: int = 0
) -> DecodedClip:
    """Decode a segment to one clip.

    Parameters
    ----------
    segment : start and duration in seconds; an infinite duration is that of the rest of the recording
    start_ms : start of the clip within the segment, in milliseconds

    Raises
    ------
    AudioError: the segment can't be used; the docstring of the module lists the reasons.
    """
    wanted_s = (start_ms + config.clip_duration_ms) / 1000 + RESAMPLING_MARGIN_S
    with _opened(path) as file:
        decoded, rate_hz, num_frames = _decode(file, segment, wanted_s, str(path))
    wave = resampled(decoded, rate_hz, str(path), config.sample_rate_hz)
    return clip_of(wave, num_frames / rate_hz, config, start_ms)


def read_segments(
    segments: Iterable[tuple[str, tuple[float, float], int]], config: FeatureConfig
) -> Iterator[DecodedClip | Exception]:
    """Decode segments of recordings on an object store, up to IN_FLIGHT at the same time.

    Parameters
    ----------
    segments : path, segment and start in milliseconds of each clip, as in `decode_segment`

    Yields
    ------
    The clips, in order; or the error of a clip.
    """
    ahead = iter(segments)
    reads: deque[Future[DecodedClip]] = deque()
    with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="hybridspeech-segments") as pool:
        try:
            while True:
                for path, segment, start_ms in islice(ahead, IN_FLIGHT - len(reads)):
                    reads.append(pool.submit(decode_segment, path, config, segment, start_ms))
                if not reads:
                    return
                read = reads.popleft()
                error = read.exception()
                if error is not None and not isinstance(error, Exception):
                    raise error
                yield error or read.result()
        finally:
            for read in reads:
                read.cancel()


def frames_of(segment: tuple[float, float], rate_hz: int, total: int, name: str) -> tuple[int, int]:
    """Return the first frame of a segment and its number of frames.

    Parameters
    ----------
    total : number of frames of the recording

    Raises
    ------
    AudioError: it begins or ends after the end of the recording.
    """
    start_s, duration_s = segment
    first = math.floor(start_s * rate_hz + _TINY)
    if first >= total:
        detail = f"{name}: the segment starts at {start_s:g} s; the recording ends at {total / rate_hz:g} s"
        raise AudioError("outside", detail)
    if math.isinf(duration_s):
        return first, total - first
    count = max(1, math.floor(duration_s * rate_hz + _TINY))
    if first + count > total + TOLERANCE_S * rate_hz:
        end_s = start_s + duration_s
        raise AudioError("outside", f"{name}: the segment ends at {end_s:g} s; the recording at {total / rate_hz:g} s")
    return first, min(count, total - first)


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    """Give a seekable file of bytes."""
    if not is_url(path):
        with opened_file(path) as descriptor, io.FileIO(descriptor, closefd=False) as file:
            yield file
        return
    try:
        with RangeFile(str(path)) as file:
            yield file
    except FileNotFoundError:
        raise AudioError("missing", f"{path}: no such file") from None


def _decode(file: Any, segment: tuple[float, float], wanted_s: float, name: str) -> tuple[np.ndarray, int, int]:
    """Return the first `wanted_s` of a segment (mono float32 at the file's rate), that rate in Hz, and its frames."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise AudioError("empty", f"{name}: 0 bytes; expected an audio file")

    def read_at(at: int, length: int) -> bytes:
        file.seek(at)
        return bytes(file.read(length))

    if kind := unsupported_kind(read_at(0, NUM_SIGNATURE_BYTES)):
        if kind not in ffmpeg.FORMATS or not ffmpeg.is_installed():
            raise AudioError("unsupported", f"{name}: {kind}; {remedy()}")
        return _decode_with_ffmpeg(file, kind, segment, wanted_s, name)
    if missing := missing_part(read_at, size):
        raise AudioError("truncated", f"{name}: {missing} are missing; expected a complete file")
    file.seek(0)
    source = file if isinstance(file, RangeFile) else file.fileno()
    with opened_sound(source, name) as sound:
        first, count = frames_of(segment, sound.samplerate, sound.frames, name)
        check_length(name, count, sound.channels, sound.samplerate)
        keep = min(count, int(sound.samplerate * wanted_s) + 1)
        block = _read_part(sound, first, keep)
        if len(block) < keep:
            raise AudioError("truncated", f"{name}: {first + len(block)} samples; its header declares {sound.frames}")
        return mean_channel(block, name), sound.samplerate, count


def _read_part(sound: Any, first: int, count: int) -> np.ndarray:
    """Return some frames of an open sound: float32 [shape=(count, channels)], fewer if the file ends before."""
    if sound.format != "MP3":
        sound.seek(first)
        block: np.ndarray = sound.read(count, dtype="float32", always_2d=True)
        return block
    before = min(first, int(MP3_PREROLL_S * sound.samplerate))
    with _muting, native_errors_muted():  # mpg123 complains of frames that refer to data before them
        sound.seek(first - before)
        block = sound.read(before + count, dtype="float32", always_2d=True)
    return block[before:]


def _decode_with_ffmpeg(
    file: Any, kind: str, segment: tuple[float, float], wanted_s: float, name: str
) -> tuple[np.ndarray, int, int]:
    """Decode as `_decode`, from the start of the file: its length is not known before the end."""
    if isinstance(file, RangeFile):
        raise AudioError("unsupported", f"{name}: segments of {kind} on an object store; convert to WAV or FLAC")
    sound = ffmpeg.FFmpegFile(file.fileno(), kind, name)
    try:
        if not 0 < sound.samplerate <= MAX_RATE_HZ:
            raise AudioError("bad-rate", f"{name}: {sound.samplerate} Hz; expected 1 to {MAX_RATE_HZ} Hz")
        first = math.floor(segment[0] * sound.samplerate + _TINY)
        keep, before, kept = int(sound.samplerate * wanted_s) + 1, 0, [np.zeros(0, np.float32)]
        for block in sound.blocks():
            check_length(name, sound.num_frames, sound.channels, sound.samplerate)
            kept.append(mean_channel(block, name)[max(0, first - before) : max(0, first + keep - before)])
            before += len(block)
        first, count = frames_of(segment, sound.samplerate, sound.num_frames, name)
        return np.concatenate(kept)[:count], sound.samplerate, count
    finally:
        sound.close()
