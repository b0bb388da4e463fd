"""Unusable and unusual audio files, made in memory from a seed."""

from __future__ import annotations

import functools
import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from hybridspeech.audio.ffmpeg import is_installed

RATE_HZ = 16_000
NUM_SAMPLES = 16_000


def noise(num_samples: int = NUM_SAMPLES, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Return noise that never clips: float32 [shape=(num_samples,) or (num_samples, channels)]."""
    shape = num_samples if channels == 1 else (num_samples, channels)
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def sound(
    format: str = "WAV", subtype: str | None = None, wave: np.ndarray | None = None, rate_hz: int = RATE_HZ
) -> bytes:
    """Return a complete, valid audio file."""
    wave, file = noise() if wave is None else wave, io.BytesIO()
    channels = 1 if wave.ndim == 1 else wave.shape[1]
    with soundfile.SoundFile(file, "w", rate_hz, channels, format=format, subtype=subtype) as writer:
        for start in range(0, len(wave), 100_000):  # libvorbis overflows its stack if this is one piece
            writer.write(wave[start : start + 100_000])
    return file.getvalue()


def patched(data: bytes, offset: int, format: str, value: int) -> bytes:
    """Return `data` with a number written over a part of it."""
    changed = bytearray(data)
    struct.pack_into(format, changed, offset, value)
    return bytes(changed)


@functools.cache
def wav() -> bytes:
    """Return one second of mono PCM 16 with the canonical 44-byte header."""
    return sound("WAV", "PCM_16")


def _float_wav(value: float) -> bytes:
    wave = noise()
    wave[-1] = value
    return sound("WAV", "FLOAT", wave)


def _flac_declaring(num_samples: int) -> bytes:
    data = bytearray(sound("FLAC", "PCM_16"))
    data[21] = data[21] & 0xF0 | num_samples >> 32
    struct.pack_into(">I", data, 22, num_samples & 0xFFFFFFFF)
    return bytes(data)


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _bomb(format: str, subtype: str | None = None) -> bytes:
    """Return 11 minutes of silence in a small file."""
    return sound(format, subtype, np.zeros(11 * 60 * 8_000, np.float32), 8_000)


PHONE = "damaged" if is_installed() else "unsupported"
"""Reason of a file that has only the first bytes of a phone's recording."""

BAD: dict[str, tuple[str, Callable[[], bytes]]] = {
    "no bytes": ("empty", lambda: b""),
    "wav header without samples": ("empty", lambda: sound("WAV", "PCM_16", noise(0))),
    "wav that declares 0 bytes": ("empty", lambda: patched(wav(), 40, "<I", 0)),
    "wav that declares half a sample": ("empty", lambda: patched(wav(), 40, "<I", 1)),
    "text": ("not-audio", lambda: b"this is not a sound\n" * 100),
    "one byte": ("not-audio", lambda: b"R"),
    "zeros": ("not-audio", lambda: bytes(32_044)),
    "random bytes": ("not-audio", lambda: np.random.default_rng(1).bytes(32_044)),
    "png": ("not-audio", lambda: b"\x89PNG\r\n\x1a\n" + bytes(1000)),
    "html": ("not-audio", lambda: b"<!DOCTYPE html><html><body>404</body></html>"),
    "wav without its first byte": ("not-audio", lambda: wav()[1:]),
    "aiff": ("unsupported", lambda: sound("AIFF", "PCM_16")),
    "au": ("unsupported", lambda: sound("AU", "PCM_16")),
    "m4a": (PHONE, lambda: b"\0\0\0\x20ftypM4A " + bytes(1000)),
    "webm": (PHONE, lambda: b"\x1a\x45\xdf\xa3" + bytes(1000)),
    "aac": (PHONE, lambda: b"\xff\xf1\x50\x80" + bytes(1000)),
    "amr": (PHONE, lambda: b"#!AMR\n" + bytes(1000)),
    "caf": ("unsupported", lambda: sound("CAF", "PCM_16")),
    "wav cut in its form": ("damaged", lambda: wav()[:12]),
    "wav cut in its format chunk": ("damaged", lambda: wav()[:30]),
    "wav cut before its data chunk": ("damaged", lambda: wav()[:36]),
    "wav of 0 channels": ("damaged", lambda: patched(wav(), 22, "<H", 0)),
    "wav of 65,535 channels": ("damaged", lambda: patched(wav(), 22, "<H", 65_535)),
    "wav of 0 bits": ("damaged", lambda: patched(wav(), 34, "<H", 0)),
    "wav of an unknown codec": ("damaged", lambda: patched(wav(), 20, "<H", 0x7777)),
    "ogg cut in its headers": ("damaged", lambda: sound("OGG", "VORBIS")[:1000]),
    "opus cut": ("damaged", lambda: _half(sound("OGG", "OPUS", rate_hz=48_000))),
    "wav at 0 Hz": ("bad-rate", lambda: patched(wav(), 24, "<I", 0)),
    "wav at 1 GHz": ("bad-rate", lambda: patched(wav(), 24, "<I", 10**9)),
    "wav at 4 GHz": ("bad-rate", lambda: patched(wav(), 24, "<I", 0xFFFFFFFF)),
    "wav at 768,001 Hz": ("bad-rate", lambda: patched(wav(), 24, "<I", 768_001)),
    "wav at 1 Hz, 4 hours long": ("too-long", lambda: patched(wav(), 24, "<I", 1)),
    "wav of 11 minutes": ("too-long", lambda: _bomb("WAV", "PCM_U8")),
    "flac bomb": ("too-long", lambda: _bomb("FLAC", "PCM_16")),
    "ogg bomb": ("too-long", lambda: _bomb("OGG", "VORBIS")),
    "mp3 bomb": ("too-long", lambda: _bomb("MP3")),
    "flac that declares 2^36 - 1 samples": ("too-long", lambda: _flac_declaring(2**36 - 1)),
    "wav one byte short": ("truncated", lambda: wav()[:-1]),
    "wav one sample short": ("truncated", lambda: wav()[:-2]),
    "wav half": ("truncated", lambda: _half(wav())),
    "wav of its header only": ("truncated", lambda: wav()[:44]),
    "wav that declares 3 GB": ("truncated", lambda: patched(wav(), 40, "<I", 3_000_000_000)),
    "wav that declares one sample more": ("truncated", lambda: patched(wav(), 40, "<I", 32_002)),
    "stereo 24-bit wav half": ("truncated", lambda: _half(sound("WAV", "PCM_24", noise(channels=2), 96_000))),
    "big-endian wav half": ("truncated", lambda: _half(big_endian_wav())),
    "flac one byte short": ("truncated", lambda: sound("FLAC", "PCM_16")[:-1]),
    "flac half": ("truncated", lambda: _half(sound("FLAC", "PCM_16"))),
    "flac of its header only": ("truncated", lambda: sound("FLAC", "PCM_16")[:42]),
    "flac that declares 5 minutes": ("truncated", lambda: _flac_declaring(300 * RATE_HZ)),
    "ogg one byte short": ("truncated", lambda: sound("OGG", "VORBIS")[:-1]),
    "ogg half": ("truncated", lambda: _half(sound("OGG", "VORBIS"))),
    "mp3 one byte short": ("truncated", lambda: sound("MP3")[:-1]),
    "mp3 half": ("truncated", lambda: _half(sound("MP3"))),
    "nan": ("not-finite", lambda: _float_wav(np.nan)),
    "infinity": ("not-finite", lambda: _float_wav(-np.inf)),
    "channels whose mean is infinite": (
        "not-finite",
        lambda: sound("WAV", "FLOAT", np.full((100, 2), 3e38, np.float32)),
    ),
}
"""name -> (reason, content)"""


def big_endian_wav() -> bytes:
    """Return RIFX: the same sound with every number in big-endian order."""
    file = io.BytesIO()
    soundfile.write(file, noise(), RATE_HZ, format="WAV", subtype="PCM_16", endian="BIG")
    return file.getvalue()


ODD: dict[str, Callable[[], bytes]] = {
    "silence": lambda: sound("WAV", "PCM_16", np.zeros(NUM_SAMPLES, np.float32)),
    "one sample": lambda: sound("WAV", "PCM_16", noise(1)),
    "two seconds": lambda: sound("WAV", "PCM_16", noise(32_000)),
    "8-bit": lambda: sound("WAV", "PCM_U8"),
    "96 kHz stereo 24-bit": lambda: sound("WAV", "PCM_24", noise(96_000, 2), 96_000),
    "32-bit": lambda: sound("WAV", "PCM_32"),
    "float": lambda: sound("WAV", "FLOAT"),
    "double": lambda: sound("WAV", "DOUBLE"),
    "extensible": lambda: sound("WAVEX", "PCM_16"),
    "A-law": lambda: sound("WAV", "ALAW"),
    "big-endian": big_endian_wav,
    "7 channels at 44.1 kHz": lambda: sound("WAV", "PCM_16", noise(44_100, 7), 44_100),
    "8 kHz": lambda: sound("WAV", "PCM_16", noise(8_000), 8_000),
    "flac": lambda: sound("FLAC", "PCM_16"),
    "stereo 24-bit flac at 48 kHz": lambda: sound("FLAC", "PCM_24", noise(48_000, 2), 48_000),
    "ogg vorbis": lambda: sound("OGG", "VORBIS"),
    "ogg opus": lambda: sound("OGG", "OPUS", noise(48_000), 48_000),
    "mp3": lambda: sound("MP3"),
    "mp3 at 44.1 kHz": lambda: sound("MP3", wave=noise(44_100), rate_hz=44_100),
    "trailing chunk": lambda: wav() + b"LIST" + struct.pack("<I", 4) + b"abcd",
    "wrong size of the form": lambda: patched(wav(), 4, "<I", 7),
    "wrong byte rate": lambda: patched(wav(), 28, "<I", 7),
    "written by ffmpeg into a pipe": lambda: patched(patched(wav(), 4, "<I", 0xFFFFFFFF), 40, "<I", 0xFFFFFFFF),
    "written by sox into a pipe": lambda: patched(patched(wav(), 4, "<I", 0x7FFFF024), 40, "<I", 0x7FFFF000),
}
"""name -> content of files that are unusual and usable"""


def write_bad_files(folder: Path) -> dict[Path, str]:
    """Make every kind of unusable file; returns {path: reason}: the contents of BAD, and paths that are not regular files.

    A file without read permission is among them unless the tests run as root, who may read it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reasons: dict[Path, str] = {}
    for name, (reason, content) in BAD.items():
        path = folder / f"{name}.wav"
        path.write_bytes(content())
        reasons[path] = reason
    os.mkfifo(folder / "pipe.wav")
    (folder / "folder.wav").mkdir()
    (folder / "device.wav").symlink_to("/dev/zero")
    (folder / "nowhere.wav").symlink_to(folder / "no such file")
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    reasons |= dict.fromkeys((folder / f"{name}.wav" for name in ("pipe", "folder", "device")), "not-a-file")
    reasons |= {folder / "nowhere.wav": "missing", folder / "loop.wav": "unreadable"}
    if os.geteuid() != 0:
        path = folder / "forbidden.wav"
        path.write_bytes(wav())
        path.chmod(0)
        reasons[path] = "unreadable"
    return reasons
