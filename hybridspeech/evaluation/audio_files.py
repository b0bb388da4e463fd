"""Finds the audio files to predict: files, folders and URLs. Knows nothing of runs and networks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hybridspeech.audio.decode import DecodedClip, decode_bytes, decode_file
from hybridspeech.audio.formats import AUDIO_SUFFIXES, converted_originals, is_recording
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import AudioError, ConfigError
from hybridspeech.storage.locations import is_url, normalized
from hybridspeech.storage.objects import is_file, list_files
from hybridspeech.storage.parallel_reads import read_many


@dataclass(frozen=True, slots=True, order=True)
class AudioFile:
    """A file: its path below the folder that was given, or its name if it was given itself; and its path or URL."""

    clip_id: str
    path: str


def find_audio_files(given: Iterable[str | Path]) -> list[AudioFile]:
    """Return the files that are given, and the audio files of folders, at any depth, in the order of their names.

    Raises
    ------
    ConfigError: a folder contains none, or nothing is given.
    """
    found = [file for each in given for file in _below(each)]
    if not found:
        raise ConfigError("no file was given; name audio files, or folders that contain some")
    return found


def _below(given: str | Path) -> list[AudioFile]:
    location = normalized(given) if is_url(given) else str(given)
    if is_url(location) and not is_file(location):
        names = [f"{location}/{stat.name}" for stat in list_files(location)]
    elif Path(location).is_dir():
        names = [str(Path(folder) / name) for folder, _, names in os.walk(location) for name in names]
    else:
        return [AudioFile(location.rpartition("/")[2], location)]
    recordings = {path for path in names if is_recording(Path(path).name) and not Path(path).name.startswith(".")}
    audio = sorted(recordings - converted_originals(recordings))
    if not audio:
        raise ConfigError(
            f"{given}: no audio file in this folder; expected names that end in {', '.join(AUDIO_SUFFIXES)}"
        )
    folder = location if is_url(location) else str(Path(location))
    return [AudioFile(path.removeprefix(f"{folder}/"), path) for path in audio]


def read_clips(paths: Sequence[str], features: FeatureConfig) -> Iterator[DecodedClip | AudioError]:
    """Yield the clip of each file, or why it is unusable; files of an object store are requested ahead."""
    contents = read_many(path for path in paths if is_url(path))
    for path in paths:
        try:
            if not is_url(path):
                yield decode_file(path, features)
                continue
            content = next(contents)
            if isinstance(content, FileNotFoundError):
                raise AudioError("missing", f"{path}: no such file")
            if isinstance(content, Exception):
                raise content
            yield decode_bytes(content, features, path)
        except AudioError as error:
            yield error
