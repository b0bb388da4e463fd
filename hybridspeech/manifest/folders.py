"""A source that is a folder or a URL: ``SOURCE/word/clip.wav``; deeper folders belong to their word.

Only names are read: no audio file is opened. Knows nothing of labels, speakers and splits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from hybridspeech.audio.formats import AUDIO_SUFFIXES, converted_originals, is_recording, is_supported, remedy
from hybridspeech.errors import ManifestError
from hybridspeech.manifest.config import UNKNOWN
from hybridspeech.manifest.text import valid_text
from hybridspeech.storage.locations import is_url
from hybridspeech.storage.objects import list_files

UNFINISHED_NAME = "_unfinished"
"""Folder inside a data set that `data synthesize` or `data download` has not finished."""


def list_words(source: str, ignored: list[str]) -> list[tuple[str, list[str]]]:
    """List all clips below the word folders of a source.

    Parameters
    ----------
    source : a local folder, or a URL
    ignored : receives the paths, relative to `source`, that are left out

    Returns
    -------
    Each word with the paths of its clips, relative to `source`. Recordings that can't be decoded, such as .m4a, are among
    them, to be rejected by name, unless a converted file is beside them

    Raises
    ------
    ManifestError: the folder is unfinished, has no word folder, or a word folder has no audio file.
    """
    words, is_unfinished = (
        _words_of_store(source, ignored) if is_url(source) else _words_of_folder(Path(source), ignored)
    )
    if is_unfinished:
        raise ManifestError(
            f"{source}: this data set is not finished (it holds {UNFINISHED_NAME}); run the command that makes it again"
        )
    found = []
    for word, names in words.items():
        originals = converted_originals(names)
        ignored += map(valid_text, originals)
        found.append((word, [name for name in names if name not in originals] if originals else names))
    empty = [word for word, names in words.items() if not any(map(is_supported, names))]
    if empty:
        some = ", ".join(map(repr, empty[:5])) + (", ..." if len(empty) > 5 else "")
        unsupported = [name for word in empty for name in words[word]]
        advice = f". {valid_text(unsupported[0])!r} can't be decoded: {remedy()}" if unsupported else ""
        raise ManifestError(
            f"{source}: no audio file in {some}; put clips there ({' '.join(AUDIO_SUFFIXES)}), or remove the "
            f"folder{advice}"
        )
    if not any(names for _, names in found):
        raise ManifestError(f"{source}: no word folder here; expected SOURCE/word/clip.wav{_likely_cause(ignored)}")
    return found


def is_word(folder: str) -> bool:
    """Whether the clips of a folder of a source belong to the label of its name; other folders hold noise, or are hidden."""
    return folder == UNKNOWN or not folder.startswith(("_", "."))


def _words_of_folder(folder: Path, ignored: list[str]) -> tuple[dict[str, list[str]], bool]:
    """Return the clips of each word folder, and whether the data set is unfinished."""
    if (folder / UNFINISHED_NAME).is_dir():
        return {}, True
    words: dict[str, list[str]] = {}
    for item in _listing(folder):
        if item.is_dir(follow_symlinks=False) and is_word(item.name):
            words[item.name] = list(_walk(item.path, f"{item.name}/", ignored))
        elif item.is_symlink() or is_recording(item.name):
            ignored.append(valid_text(item.name))
    return words, False


def _words_of_store(url: str, ignored: list[str]) -> tuple[dict[str, list[str]], bool]:
    """As `_words_of_folder`, from one listing of all objects."""
    words: dict[str, list[str]] = {}
    hidden: set[str] = set()
    for name in (stat.name for stat in list_files(url)):
        word, *below = name.split("/")
        if word == UNFINISHED_NAME and below:
            return {}, True
        if not below:
            ignored += [name] if is_recording(name) else []
        elif is_word(word):
            clips = words.setdefault(word, [])
            first_hidden = next((depth for depth, part in enumerate(below, 1) if part.startswith(".")), None)
            if first_hidden is not None:
                hidden.add("/".join(name.split("/")[: first_hidden + 1]))
            else:
                (clips if is_recording(name) else ignored).append(name)
    ignored.extend(hidden)
    return words, False


def _likely_cause(ignored: list[str]) -> str:
    loose = sum(is_recording(name) for name in ignored)
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
        elif is_recording(item.name) and _is_file(item):
            yield name
        else:
            ignored.append(valid_text(name))


def _listing(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            return sorted(items, key=lambda item: item.name)
    except OSError as error:
        raise ManifestError(f"{folder}: can't list this folder ({error.strerror}); change its permissions") from error


def _is_file(item: os.DirEntry[str]) -> bool:
    """A regular file, a link to one, or a broken link (rejected later, with its reason); never a pipe or a folder."""
    if item.is_symlink():
        return Path(item.path).is_file() or not Path(item.path).exists()
    return item.is_file(follow_symlinks=False)
