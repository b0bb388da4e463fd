"""The order of ids by a seeded hash: independent of the order of a listing. Knows nothing of clips."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import numpy as np

from hybridspeech.manifest.columns.text_columns import FILE_NAME

KEY_BYTES = 8


def hash_order(ids: Callable[[np.ndarray | None], Iterable[list[str]]], prefix: bytes) -> np.ndarray:
    """Return the places of the ids, sorted by the SHA-256 of `prefix` and id; equal hashes by the id.

    Parameters
    ----------
    ids : returns the ids at some places, or all (None), in lists

    Returns
    -------
    int64 [shape=(num_ids,)]
    """
    keys = [np.zeros(0, np.uint64)]
    for chunk in ids(None):
        heads = b"".join([digest[:KEY_BYTES] for digest in _digests(chunk, prefix)])
        keys.append(np.frombuffer(heads, ">u8").astype(np.uint64))
    key = np.concatenate(keys)
    order = np.argsort(key, kind="stable")
    is_tied = np.diff(key[order]) == 0
    if is_tied.any():
        tied = np.flatnonzero(np.append(is_tied, False) | np.append(False, is_tied))
        names = [name for chunk in ids(order[tied]) for name in chunk]
        ranked = sorted(zip(_digests(names, prefix), names, order[tied].tolist(), strict=True))
        order[tied] = [place for _, _, place in ranked]
    return order


def _digests(ids: Iterable[str], prefix: bytes) -> list[bytes]:
    return [hashlib.sha256(prefix + name.encode(*FILE_NAME)).digest() for name in ids]
