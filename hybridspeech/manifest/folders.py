"""A source that is a folder: ``SOURCE/word/clip.wav``; deeper folders belong to their word.

Only names are read: no audio file is opened. Knows nothing of labels, speakers and splits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from hybridspeech.audio.formats import AUDIO_SUFFIXES
from hybridspeech.errors import ManifestError
from hybridspeech.manifest.splits import valid_text

UNFINISHED_NAME = "_unfinished"
"""Folder inside a data set that `data synthesize` or `data download` has not finished."""


def list_words(folder: Path, ignored: list[str]) -> list[tuple[str, str]]:
    """List all clips below the word folders of a source.

    Parameters
    ----------
    ignored : receives the paths, relative to `folder`, that are left out

    Returns
    -------
    (path relative to `folder`, word) of each clip

    Raises
    ------
    ManifestError: the folder is unfinished, has no word folder, or a word folder has no audio file.
    """
    if (folder / UNFINISHED_NAME).is_dir():
        raise ManifestError(
            f"{folder}: this data set is not finished (it holds {UNFINISHED_NAME}); run the command that makes it again"
        )
    found: list[tuple[str, str]] = []
    empty: list[str] = []
    for item in _listing(folder):
        if item.is_dir(follow_symlinks=False) and not item.name.startswith(("_", ".")):
            names = list(_walk(item.path, f"{item.name}/", ignored))
            found += [(name, item.name) for name in names]
            empty += [] if names else [item.name]
        elif item.is_symlink() or _is_audio(item.name):
            ignored.append(valid_text(item.name))
    if empty:
        some = ", ".join(map(repr, empty[:5])) + (", ..." if len(empty) > 5 else "")
        raise ManifestError(
            f"{folder}: no audio file in {some}; put clips there ({' '.join(AUDIO_SUFFIXES)}), or remove the folder"
        )
    if not found:
        raise ManifestError(f"{folder}: no word folder here; expected SOURCE/word/clip.wav{_likely_cause(ignored)}")
    return found


def _likely_cause(ignored: list[str]) -> str:
    loose = sum(_is_audio(name) for name in ignored)
    if loose:
        return f". It holds {loose} audio files directly: if it is one word's folder, give the folder above it"
    return ". It holds links, which are not followed: copy the folders, or give a table" if ignored else ""


def _walk(folder: str, prefix: str, ignored: list[str]) -> Iterator[str]:
    """Yield the paths of the clips below a word folder. Links to folders are not followed: they may form a loop."""
    for item in _listing(folder):
        name = prefix + item.name
        if item.name.startswith("."):
            ignored.append(valid_text(name))
        elif item.is_dir(follow_symlinks=False):
            yield from _walk(item.path, f"{name}/", ignored)
        elif _is_audio(item.name) and _is_file(item):
            yield name
        else:
            ignored.append(valid_text(name))


def _listing(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            return sorted(items, key=lambda item: item.name)
    except OSError as error:
        raise ManifestError(f"{folder}: can't list this folder ({error.strerror}); change its permissions") from error


def _is_audio(name: str) -> bool:
    return name.lower().endswith(AUDIO_SUFFIXES)


def _is_file(item: os.DirEntry[str]) -> bool:
    """A regular file, a link to one, or a broken link (rejected later, with its reason); never a pipe or a folder."""
    if item.is_symlink():
        return Path(item.path).is_file() or not Path(item.path).exists()
    return item.is_file(follow_symlinks=False)
