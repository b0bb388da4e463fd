"""Finds clips that are the same file under two names. Knows nothing of labels, speakers and audio."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hybridspeech.manifest.splits import Entry
from hybridspeech.storage.locations import is_url


def find_same_files(entries: Sequence[Entry]) -> Iterator[tuple[int, int, str]]:
    """Yield (first index, second index, path) of each entry whose file has occurred before.

    A local path is normalised and its links are resolved; a URL is compared as it is.
    """
    seen: dict[str, int] = {}
    for index, path in enumerate(_real_paths(entry.path for entry in entries)):
        first = seen.setdefault(path, index)
        if first != index:
            yield first, index, path


def _real_paths(paths: Iterable[str]) -> Iterator[str]:
    folders: dict[str, str] = {}  # resolving every component of every path takes ten times as long
    for path in paths:
        if is_url(path):
            yield path
            continue
        folder, _, name = path.rpartition("/")
        if folder not in folders:
            folders[folder] = os.path.realpath(folder or "/")
        real = f"{folders[folder].rstrip('/')}/{name}"
        yield os.path.realpath(real) if Path(real).is_symlink() else real
