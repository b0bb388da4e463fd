"""File name endings and first bytes of audio files. Knows nothing of decoding."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from hybridspeech.audio import ffmpeg
from hybridspeech.registry import install_command

AUDIO_SUFFIXES = (".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au")
PYAV_SUFFIXES = (".m4a", ".aac", ".webm", ".amr", ".3gp")
UNSUPPORTED_SUFFIXES = (*PYAV_SUFFIXES, ".caf")
"""Endings of recordings, most of them made by phones and browsers, that can't be decoded without PyAV (.caf: at all)."""
CONVERT = "convert to WAV or FLAC, for example with ffmpeg -i clip.m4a clip.wav"
NUM_SIGNATURE_BYTES = 12
_EBML, _AMR, _MP4_BOX = b"\x1a\x45\xdf\xa3", b"#!AMR", b"ftyp"


def is_recording(name: str) -> bool:
    """Tell whether a file name ends as that of an audio file, supported or not."""
    return name.lower().endswith((*AUDIO_SUFFIXES, *UNSUPPORTED_SUFFIXES))


def is_supported(name: str) -> bool:
    """Tell whether a file name ends as that of an audio file that can be decoded here."""
    name = name.lower()
    return name.endswith(AUDIO_SUFFIXES) or (name.endswith(PYAV_SUFFIXES) and ffmpeg.is_installed())


def remedy() -> str:
    """Return what to do about a file that can't be decoded."""
    return CONVERT if ffmpeg.is_installed() else f"install PyAV ({install_command(ffmpeg.EXTRA)}), or {CONVERT}"


def converted_originals(names: Iterable[str]) -> set[str]:
    """Return the recordings of phones and browsers that have a converted file beside them: same name, another ending."""
    names = list(names)
    unsupported = [name for name in names if not name.lower().endswith(AUDIO_SUFFIXES)]
    if not unsupported:
        return set()
    stems = {PurePosixPath(name).with_suffix("") for name in names if name.lower().endswith(AUDIO_SUFFIXES)}
    return {name for name in unsupported if PurePosixPath(name).with_suffix("") in stems}


def unsupported_kind(head: bytes) -> str:
    """Return the kind of a recording that can't be decoded, from its first NUM_SIGNATURE_BYTES bytes; '' if unknown."""
    if head[4:8] == _MP4_BOX:
        return "MPEG-4 audio (such as .m4a)"
    if head[:4] == _EBML:
        return "WebM or Matroska"
    if head[:5] == _AMR:
        return "AMR"
    return "AAC" if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 else ""
