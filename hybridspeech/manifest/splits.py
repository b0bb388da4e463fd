"""Split rules: which clips are for training, validation and testing, as functions of names.

The rules are those of Speech Commands (published lists of files, or the SHA-1 of the speaker), the column of a table,
or none. Knows nothing of word folders, table formats and audio.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Callable, Iterable

import numpy as np

from hybridspeech.config import SPLITS
from hybridspeech.errors import ManifestError
from hybridspeech.manifest.columns.coded_texts import CodedTexts, name_array
from hybridspeech.manifest.columns.text_columns import CHUNK, FILE_NAME, chunks_of
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.entries import Entries
from hybridspeech.manifest.text import normal_text, valid_text
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import is_file, read_bytes

TESTING_LIST = "testing_list.txt"
VALIDATION_LIST = "validation_list.txt"
LISTS = {VALIDATION_LIST: "validation", TESTING_LIST: "testing"}
SPLIT_ALIASES = {"train": "training", "test": "testing"} | dict.fromkeys(("val", "valid", "dev"), "validation")
MAX_NUM_WAVS_PER_CLASS = 2**27 - 1
ASCII_SPACE = b" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"
"""What ``str.strip`` removes from ASCII text; ``bytes.strip`` knows fewer."""


def hash_name_of(file_name: str) -> str:
    """Return the text that the Speech Commands rule hashes: the file name up to ``_nohash_``, or all of it."""
    return re.sub(r"_nohash_.*$", "", file_name)


def split_by_hash(hash_name: str, validation_percentage: float = 10.0, testing_percentage: float = 10.0) -> str:
    """Return the split of a speaker by the SHA-1 rule of Speech Commands; it does not change when clips are added.

    Source: ``which_set`` in the README of Speech Commands v0.01 (2017).

    Parameters
    ----------
    hash_name : speaker, or file name if the speaker is unknown
    """
    (split,) = _hashed_splits([hash_name.encode(*FILE_NAME)], validation_percentage, testing_percentage)
    return SPLITS[split]


def _hashed_splits(names: Iterable[bytes], validation_percentage: float, testing_percentage: float) -> np.ndarray:
    """Return the index in SPLITS of the split of each encoded hash name: int32 [shape=(num_names,)]."""
    last = b"".join([hashlib.sha1(name, usedforsecurity=False).digest()[-4:] for name in names])
    percentages = (np.frombuffer(last, ">u4") & MAX_NUM_WAVS_PER_CLASS) * (100.0 / MAX_NUM_WAVS_PER_CLASS)
    limits = [validation_percentage, validation_percentage + testing_percentage]
    drawn = np.array([SPLITS.index("validation"), SPLITS.index("testing"), SPLITS.index("training")], np.int32)
    return drawn[np.searchsorted(limits, percentages, side="right")]


def choose_rule(source: str, folder: str, entries: Entries, config: ManifestConfig) -> str:
    """Return the rule of `config`, after checking that it can be applied.

    "auto" is the column, else the lists if there is at least one, else the hash.

    Raises
    ------
    ManifestError: there is no column `split`, or a list is missing.
    """
    has_column = any(entries.rows.split.used())
    missing = [name for name in LISTS if not is_file(join(folder, name))]
    if config.split == "column" and not has_column:
        raise ManifestError(f"{source}: --split column needs a column 'split', and there is none; try --split hash")
    if config.split == "lists" and missing:
        raise ManifestError(f"{folder}: --split lists needs {missing[0]}, which is missing; try --split hash")
    if config.split != "auto":
        return config.split
    if has_column:
        return "column"
    return "lists" if len(missing) < len(LISTS) else "hash"


def split_entries(rule: str, folder: str, entries: Entries, config: ManifestConfig, notes: list[str]) -> CodedTexts:
    """Return one of ``config.SPLITS`` for each entry, and append sentences for the user to `notes`.

    Raises
    ------
    ManifestError: a split of the table is unknown, the lists contradict each other, or they name no clip of the source.
    """
    return CodedTexts(_RULES[rule](folder, entries, config, notes), name_array(SPLITS))


def _by_column(folder: str, entries: Entries, config: ManifestConfig, notes: list[str]) -> np.ndarray:
    given = entries.rows.split
    names = [text.strip().lower() for text in given.names]
    splits = [SPLIT_ALIASES.get(name, name) for name in names]
    is_unknown = given.is_in([text for text, split in zip(given.names, splits, strict=True) if split not in SPLITS])
    if is_unknown.any():
        place = int(np.argmax(is_unknown))
        raise ManifestError(
            f"{entries.rows.row(place)}: split is {given.names[given.codes[place]]!r}; expected {', '.join(SPLITS)} (or "
            f"{', '.join(SPLIT_ALIASES)})"
        )
    return _codes(split if split in SPLITS else SPLITS[0] for split in splits).take(given.codes)


def _codes(splits: Iterable[str]) -> np.ndarray:
    return np.fromiter(map(SPLITS.index, splits), np.int32)


def _by_lists(folder: str, entries: Entries, config: ManifestConfig, notes: list[str]) -> np.ndarray:
    listed: dict[str, str] = {}
    found = {name: split for name, split in LISTS.items() if is_file(join(folder, name))}
    for name, split in found.items():
        lines = read_bytes(join(folder, name)).decode("utf-8-sig", "surrogateescape").split("\n")
        for clip_id in (valid_text(posixpath.normpath(line.rstrip("\r"))) for line in lines if line.strip()):
            if listed.setdefault(clip_id, split) != split:
                raise ManifestError(f"{folder}: {clip_id!r} is in both {VALIDATION_LIST} and {TESTING_LIST}; keep one")
    splits, present = np.full(len(entries), SPLITS.index("training"), np.int32), set[str]()
    is_listed = np.zeros(len(entries), bool)
    for number, chunk in enumerate(chunks_of(entries.rows.clip_id)):
        for place, clip_id in enumerate(chunk, number * CHUNK):
            if clip_id in listed:
                present.add(clip_id)
                is_listed[place], splits[place] = True, SPLITS.index(listed[clip_id])
    absent = listed.keys() - present
    if absent and len(absent) == len(listed):
        raise ManifestError(
            f"{folder}: none of the {len(listed)} paths in {' and '.join(found)} is a clip here, e.g. "
            f"{min(absent)!r}; expected word/clip.wav, relative to the folder. Correct the lists, or give --split hash"
        )
    if absent:
        notes.append(f"{len(absent)} of {len(listed)} paths in {' and '.join(found)} are missing")
    if len(found) == len(LISTS):
        return splits
    (missing,) = LISTS.keys() - found.keys()
    notes.append(
        f"{missing} is missing: the hash rule draws the {LISTS[missing]} split from the clips that are not listed"
    )
    wanted = SPLITS.index(LISTS[missing])
    splits[~is_listed & (_by_hash(folder, entries, config, notes) == wanted)] = wanted
    return splits


def _by_hash(folder: str, entries: Entries, config: ManifestConfig, notes: list[str]) -> np.ndarray:
    """Hash each speaker, and the file name of each clip whose speaker is unknown."""
    shares = config.validation_percentage, config.testing_percentage
    names = [name.encode(*FILE_NAME) for name in entries.hash_name.names]
    splits = _hashed_splits(names, *shares).take(entries.hash_name.codes)
    unknown = np.flatnonzero(entries.is_unknown)
    for first in range(0, len(unknown), CHUNK):
        places = unknown[first : first + CHUNK]
        file_names = entries.rows.file_names(places)
        is_simple = b"".join(file_names).isascii() and not any(b"_nohash_" in name for name in file_names)
        hashed = [name.strip(ASCII_SPACE) for name in file_names] if is_simple else map(_file_hash_name, file_names)
        splits[places] = _hashed_splits(hashed, *shares)
    return splits


def _file_hash_name(name: bytes) -> bytes:
    return normal_text(hash_name_of(name.decode(*FILE_NAME))).encode(*FILE_NAME)


def _all_training(folder: str, entries: Entries, config: ManifestConfig, notes: list[str]) -> np.ndarray:
    return np.full(len(entries), SPLITS.index("training"), np.int32)


_RULES: dict[str, Callable[[str, Entries, ManifestConfig, list[str]], np.ndarray]] = {
    "lists": _by_lists,
    "hash": _by_hash,
    "column": _by_column,
    "none": _all_training,
}
