"""Finds clips that are the same file under two names. Knows nothing of labels, speakers and audio."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import xxhash

from hybridspeech.manifest.columns.text_columns import CHUNK, FILE_NAME, chunks_of
from hybridspeech.manifest.tables.source_rows import SourceRows
from hybridspeech.storage.locations import is_url

WHOLE_FILE_S = 1e9
"""Stands for the unknown duration of a file, in seconds."""
NEGLIGIBLE_OVERLAP_S = 0.001
"""Two segments that share no more than this do not overlap: their times are rounded."""


def find_same_files(rows: SourceRows) -> Iterator[tuple[int, int, str]]:
    """Yield (first place, second place, path) of each row whose file has occurred before.

    A local path is normalised and its links are resolved; a URL is compared as it is.
    """
    folder_of = cache(_read_folder)
    if rows.path is None and (is_url(rows.root) or _has_no_links(rows, folder_of)):
        return  # different ids are different files
    hashes = _path_hashes(rows, folder_of)
    seen: dict[bytes, int] = {}
    for place in _repeated(hashes).tolist():
        path = _real_path(rows.encoded_paths(place, 1)[0], folder_of)
        first = seen.setdefault(path, place)
        if first != place:
            yield first, place, path.decode(*FILE_NAME)


def find_overlaps(rows: SourceRows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the places of segments that overlap with an earlier one of the same file, the places of these, and how much.

    Each segment is compared with the one that ends last among those that begin before it: if any two segments in
    different splits overlap, then such a pair is found. A clip that is all of its file overlaps with all its segments.

    Returns
    -------
    int64 [shape=(num_overlaps,)], twice; float64 [shape=(num_overlaps,)], the overlap as a fraction of the shorter one
    """
    assert rows.segment is not None
    start, duration = (rows.segment[name] for name in ("start_s", "duration_s"))
    start, end = np.nan_to_num(start), np.nan_to_num(start) + np.nan_to_num(duration, nan=np.inf)
    _, file = np.unique(_path_hashes(rows, cache(_read_folder)), return_inverse=True)
    order = np.lexsort((end, start, file))
    rank = np.empty(len(order), np.int64)
    rank[np.lexsort((end, file))] = np.arange(len(order))  # of the end, higher in every later file
    by_rank = np.argsort(rank)
    last = by_rank[np.maximum.accumulate(rank[order])]  # the segment of this file that ends last so far
    earlier, later = last[:-1], order[1:]
    overlap_s = np.minimum(end[earlier], end[later]) - start[later]
    is_found = (file[earlier] == file[later]) & (overlap_s > NEGLIGIBLE_OVERLAP_S)
    later, earlier = later[is_found], earlier[is_found]
    length = end - start
    shorter = np.minimum(np.minimum(length[later], length[earlier]), WHOLE_FILE_S)
    return later, earlier, np.minimum(overlap_s[is_found], WHOLE_FILE_S) / shorter


def _path_hashes(rows: SourceRows, folder_of: Callable[[bytes], _Folder]) -> np.ndarray:
    """Return a hash of the real path of each row: uint64 [shape=(num_rows,)]."""
    return np.concatenate(
        [
            np.array([xxhash.xxh3_64_intdigest(_real_path(path, folder_of)) for path in paths], np.uint64)
            for first in range(0, len(rows), CHUNK)
            if (paths := rows.encoded_paths(first, CHUNK))
        ]
    )


def _repeated(hashes: np.ndarray) -> np.ndarray:
    """Return the places of all values that occur twice or more, sorted."""
    order = np.argsort(hashes, kind="stable")
    is_same = hashes[order[1:]] == hashes[order[:-1]]
    is_repeated = np.append(is_same, False) | np.append(False, is_same)
    return np.sort(order[is_repeated])


def _has_no_links(rows: SourceRows, folder_of: Callable[[bytes], _Folder]) -> bool:
    """Tell whether no two folders below `root` are the same one, and no file is a link."""
    root = rows.root.encode(*FILE_NAME)
    below = {clip_id.rpartition("/")[0] for chunk in chunks_of(rows.clip_id) for clip_id in chunk}
    folders = [folder_of(root + b"/" + name.encode(*FILE_NAME)) for name in below]
    return len({folder.path for folder in folders}) == len(folders) and not any(
        folder.links is None or folder.links for folder in folders
    )


@dataclass(frozen=True)
class _Folder:
    """A folder: its real path, and the names of the links in it; None if it can't be listed."""

    path: bytes
    links: frozenset[bytes] | None


def _read_folder(folder: bytes) -> _Folder:
    real = os.path.realpath(folder or b"/")
    try:
        with os.scandir(real) as items:
            return _Folder(real, frozenset(item.name for item in items if item.is_symlink()))
    except (FileNotFoundError, NotADirectoryError):
        return _Folder(real, frozenset())
    except OSError:
        return _Folder(real, None)


def _real_path(path: bytes, folder_of: Callable[[bytes], _Folder]) -> bytes:
    """Return the path without links. All components of every path resolved one by one take ten times as long."""
    if not path.startswith(b"/"):  # a URL
        return path
    parent, _, name = path.rpartition(b"/")
    folder = folder_of(parent)
    real = folder.path.rstrip(b"/") + b"/" + name
    is_link = os.path.islink(real) if folder.links is None else name in folder.links  # noqa: PTH114 - bytes
    return os.path.realpath(real) if is_link else real
