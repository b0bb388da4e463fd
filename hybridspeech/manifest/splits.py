"""Split rules: which clips are for training, validation and testing, as functions of names.

The rules are those of Speech Commands (published lists of files, or the SHA-1 of the speaker), the column of a table,
or none. Knows nothing of word folders, table formats and audio.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hybridspeech.config import SPLITS
from hybridspeech.errors import ManifestError
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.text import valid_text
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import is_file, read_bytes

TESTING_LIST = "testing_list.txt"
VALIDATION_LIST = "validation_list.txt"
LISTS = {VALIDATION_LIST: "validation", TESTING_LIST: "testing"}
SPLIT_ALIASES = {"train": "training", "test": "testing"} | dict.fromkeys(("val", "valid", "dev"), "validation")
MAX_NUM_WAVS_PER_CLASS = 2**27 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One clip as the source describes it, before its split and label index are decided.

    `hash_name` is the text that the hash rule hashes; `split` is the text in the table; `row` names the line or row.
    """

    clip_id: str
    path: str
    label: str
    speaker: str
    hash_name: str
    split: str = ""
    row: str = ""


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
    digest = hashlib.sha1(os.fsencode(hash_name), usedforsecurity=False).hexdigest()
    percentage = (int(digest, 16) % (MAX_NUM_WAVS_PER_CLASS + 1)) * (100.0 / MAX_NUM_WAVS_PER_CLASS)
    if percentage < validation_percentage:
        return "validation"
    return "testing" if percentage < validation_percentage + testing_percentage else "training"


def choose_rule(source: str, folder: str, entries: Sequence[Entry], config: ManifestConfig) -> str:
    """Return the rule of `config`, after checking that it can be applied.

    "auto" is the column, else the lists if there is at least one, else the hash.

    Raises
    ------
    ManifestError: there is no column `split`, or a list is missing.
    """
    has_column = any(entry.split for entry in entries)
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


def split_entries(
    rule: str, folder: str, entries: Sequence[Entry], config: ManifestConfig, notes: list[str]
) -> list[str]:
    """Return one of ``config.SPLITS`` for each entry, and append sentences for the user to `notes`.

    Raises
    ------
    ManifestError: a split of the table is unknown, the lists contradict each other, or they name no clip of the source.
    """
    return _RULES[rule](folder, entries, config, notes)


def _by_column(folder: str, entries: Sequence[Entry], config: ManifestConfig, notes: list[str]) -> list[str]:
    splits = []
    for entry in entries:
        given = entry.split.strip().lower()
        splits.append(SPLIT_ALIASES.get(given, given))
        if splits[-1] not in SPLITS:
            raise ManifestError(
                f"{entry.row}: split is {entry.split!r}; expected {', '.join(SPLITS)} (or {', '.join(SPLIT_ALIASES)})"
            )
    return splits


def _by_lists(folder: str, entries: Sequence[Entry], config: ManifestConfig, notes: list[str]) -> list[str]:
    listed: dict[str, str] = {}
    found = {name: split for name, split in LISTS.items() if is_file(join(folder, name))}
    for name, split in found.items():
        lines = read_bytes(join(folder, name)).decode("utf-8-sig", "surrogateescape").split("\n")
        for clip_id in (valid_text(posixpath.normpath(line.rstrip("\r"))) for line in lines if line.strip()):
            if listed.setdefault(clip_id, split) != split:
                raise ManifestError(f"{folder}: {clip_id!r} is in both {VALIDATION_LIST} and {TESTING_LIST}; keep one")
    absent = listed.keys() - {entry.clip_id for entry in entries}
    if absent and len(absent) == len(listed):
        raise ManifestError(
            f"{folder}: none of the {len(listed)} paths in {' and '.join(found)} is a clip here, e.g. "
            f"{min(absent)!r}; expected word/clip.wav, relative to the folder. Correct the lists, or give --split hash"
        )
    if absent:
        notes.append(f"{len(absent)} of {len(listed)} paths in {' and '.join(found)} are missing")
    if len(found) == len(LISTS):
        return [listed.get(entry.clip_id, "training") for entry in entries]
    (missing,) = LISTS.keys() - found.keys()
    notes.append(
        f"{missing} is missing: the hash rule draws the {LISTS[missing]} split from the clips that are not listed"
    )
    return [listed.get(entry.clip_id) or _drawn(entry, LISTS[missing], config) for entry in entries]


def _drawn(entry: Entry, split: str, config: ManifestConfig) -> str:
    drawn = split_by_hash(entry.hash_name, config.validation_percentage, config.testing_percentage)
    return drawn if drawn == split else "training"


def _by_hash(folder: str, entries: Sequence[Entry], config: ManifestConfig, notes: list[str]) -> list[str]:
    shares = config.validation_percentage, config.testing_percentage
    return [split_by_hash(entry.hash_name, *shares) for entry in entries]


def _all_training(folder: str, entries: Sequence[Entry], config: ManifestConfig, notes: list[str]) -> list[str]:
    return ["training"] * len(entries)


_RULES: dict[str, Callable[[str, Sequence[Entry], ManifestConfig, list[str]], list[str]]] = {
    "lists": _by_lists,
    "hash": _by_hash,
    "column": _by_column,
    "none": _all_training,
}
