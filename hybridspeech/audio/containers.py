"""What the bytes around the sound tell: the fast path for canonical WAV, and whether a WAV or Ogg file is whole.

A canonical file is the 44-byte header that every tool writes for mono PCM 16, followed by exactly the samples that it
declares. Reading one by hand takes 30 us, through libsndfile 130; the result is the same to the bit. All other files,
also those that are only slightly odd, are left to libsndfile. Knows nothing of soundfile.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

WAV_HEADER_BYTES = 44
_SCALE = np.float32(1 / 32768)  # libsndfile's: full scale of PCM 16 is -1.0
# What ffmpeg and sox write as the size of the data when they write to a pipe; libsndfile takes both as "to the end".
_UNKNOWN_SIZES = (0xFFFFFFFF, 0x7FFFF000)
_MAX_CHUNKS = 1000
_MAX_OGG_PAGE_BYTES = 65_307
_OGG_END_OF_STREAM = 4

ReadAt = Callable[[int, int], bytes]  # (offset, length) -> the bytes there, fewer at the end of the file


def canonical_header(num_samples: int, sample_rate_hz: int) -> bytes:
    """The header of a mono PCM 16 WAV file of `num_samples` samples and nothing else."""
    size = 2 * num_samples
    form = (b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, sample_rate_hz, 2 * sample_rate_hz, 2, 16, b"data", size)
    return struct.pack("<4sI4s4sIHHIIHH4sI", *form)


def is_canonical(head: bytes, file_bytes: int, sample_rate_hz: int) -> bool:
    """Whether a file of this size that begins with `head` is a canonical one at this rate, with one sample at least."""
    size = file_bytes - WAV_HEADER_BYTES
    if size < 2 or size % 2 or size > 0x7FFF_0000:
        return False
    return head[:WAV_HEADER_BYTES] == canonical_header(size // 2, sample_rate_hz)


def canonical_samples(head: bytes, num_samples: int) -> np.ndarray:
    """float32 [shape=(num_samples,)], full scale 1.0: what follows a canonical header, zero-padded or cut."""
    samples = np.frombuffer(head, "<i2", min(num_samples, (len(head) - WAV_HEADER_BYTES) // 2), WAV_HEADER_BYTES)
    wave = np.zeros(num_samples, np.float32)
    np.multiply(samples, _SCALE, out=wave[: samples.size])
    return wave


def missing_part(read_at: ReadAt, file_bytes: int) -> str:
    """What a RIFF WAV or Ogg file lacks against its own structure, in words; empty if it is whole or of another kind.

    libsndfile takes a truncated file of these kinds for a shorter one and says nothing.
    """
    kind = read_at(0, 12)
    if kind[:4] in (b"RIFF", b"RIFX") and kind[8:] == b"WAVE":
        lacking = _missing_from_wav(read_at, file_bytes, "<I" if kind[:4] == b"RIFF" else ">I")
        return f"{lacking} bytes of its declared samples" if lacking else ""
    if kind[:4] == b"OggS" and not _ends_with_last_ogg_page(read_at, file_bytes):
        return "its last page"
    return ""


def _missing_from_wav(read_at: ReadAt, file_bytes: int, size_format: str) -> int:
    offset = 12
    for _ in range(_MAX_CHUNKS):
        chunk = read_at(offset, 8)
        if len(chunk) < 8:
            break
        (size,) = struct.unpack_from(size_format, chunk, 4)
        offset += 8
        if chunk[:4] == b"data":
            return 0 if size in _UNKNOWN_SIZES else max(0, offset + size - file_bytes)
        offset += size + size % 2
    return 0


def _ends_with_last_ogg_page(read_at: ReadAt, file_bytes: int) -> bool:
    start = max(0, file_bytes - 2 * _MAX_OGG_PAGE_BYTES)
    tail = read_at(start, 2 * _MAX_OGG_PAGE_BYTES)
    at = tail.rfind(b"OggS")
    if at < 0 or at + 27 > len(tail) or not tail[at + 5] & _OGG_END_OF_STREAM:
        return False
    segments = tail[at + 27 : at + 27 + tail[at + 26]]
    return len(segments) == tail[at + 26] and at + 27 + len(segments) + sum(segments) <= len(tail)
