"""The tables of a published data set in a folder, by their names. Reads names, and the first line of what may be a table.

Knows nothing of what the rows mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from hybridspeech.errors import ManifestError
from hybridspeech.manifest.formats.table_format import AUDIO_FOLDER, COMMON_VOICE, MSWC, NEMO
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import list_folder_names

SPLIT_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "testing"),
}
"""Names of published splits, in file and folder names, and the splits that they stand for."""
METADATA = tuple(f"metadata{suffix}" for suffix in (".csv", ".jsonl", ".parquet"))
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, kw_only=True)
class FoundTable:
    """A table of a folder: its path from there, its split ('' if it has several), and the folder of its relative paths."""

    name: str
    split: str = ""
    prefix: str = ""


def split_in(name: str) -> str:
    """Return the split that a file or folder is named after; '' if none, or several."""
    found = {SPLIT_NAMES[word] for word in _WORD.findall(PurePosixPath(name).stem.lower()) if word in SPLIT_NAMES}
    return found.pop() if len(found) == 1 else ""


def find_tables(folder: str, kind: str, names: Sequence[str]) -> list[FoundTable]:
    """Return the tables of a format in a folder; empty if it has none.

    Parameters
    ----------
    names : those of `file_names`
    """
    return _FINDERS[kind](folder, names)


def file_names(folder: str) -> list[str]:
    """Return the names of the files directly in a folder, and of the metadata in its split folders.

    Nothing for a local folder that can't be listed: the reader of its clips says why.
    """
    try:
        names = list_folder_names(folder)
        splits = [name for name in names if name.rstrip("/") in SPLIT_NAMES and name.endswith("/")]
        below = [f"{split}{name}" for split in splits for name in list_folder_names(join(folder, split.rstrip("/")))]
    except OSError:
        return []
    metadata = [name for name in below if name.partition("/")[2] in METADATA]
    return [*(name for name in names if not name.endswith("/")), *metadata]


def folder_names(folder: str) -> list[str]:
    """Return the names of the folders directly in a local folder, sorted; nothing if it can't be listed."""
    try:
        return [name[:-1] for name in list_folder_names(folder) if name.endswith("/")]
    except OSError:
        return []


def _common_voice(folder: str, names: Sequence[str]) -> list[FoundTable]:
    """Return train.tsv, dev.tsv and test.tsv, else validated.tsv: they may contain clips that no split has."""
    published = [FoundTable(name=name, split=SPLIT_NAMES[name[:-4]]) for name in ("train.tsv", "dev.tsv", "test.tsv")]
    found = [table for table in published if table.name in names]
    if any(table.split == "training" for table in found):
        return found
    return [FoundTable(name="validated.tsv")] if "validated.tsv" in names else []


def _spoken_words(folder: str, names: Sequence[str]) -> list[FoundTable]:
    """Return the table of all splits, else one table for each split."""
    whole = [name for name in names if name.endswith("_splits.csv")]
    if len(whole) > 1:
        raise ManifestError(f"{folder}: there are {' and '.join(whole)}; give the one to use")
    if whole:
        return [FoundTable(name=whole[0])]
    return _of_each_split(folder, [name for name in names if re.fullmatch(r"(.+_)?(train|dev|test)\.csv", name)])


def _nemo(folder: str, names: Sequence[str]) -> list[FoundTable]:
    """Return one manifest for each split, such as train_manifest.json; else the only manifest."""
    lines = [name for name in names if name.lower().endswith((".json", ".jsonl")) and name not in METADATA]
    found = _of_each_split(folder, [name for name in lines if split_in(name)])
    if any(table.split == "training" for table in found):
        return found
    whole = [name for name in lines if "manifest" in name.lower()]
    return [FoundTable(name=whole[0])] if len(whole) == 1 else []


def _audio_folder(folder: str, names: Sequence[str]) -> list[FoundTable]:
    """Return the metadata of the folder, else that of each split folder."""
    for name in METADATA:
        if name in names:
            return [FoundTable(name=name)]
    found = []
    for split_name, split in SPLIT_NAMES.items():
        for name in METADATA:
            if f"{split_name}/{name}" in names:
                found.append(FoundTable(name=f"{split_name}/{name}", split=split, prefix=f"{split_name}/"))
                break
    return found


def _of_each_split(folder: str, names: Iterable[str]) -> list[FoundTable]:
    """Return tables that are named after splits.

    Raises
    ------
    ManifestError: there are two for one split.
    """
    found: dict[str, str] = {}
    for name in names:
        if (split := split_in(name)) and found.setdefault(split, name) != name:
            raise ManifestError(f"{folder}: {found[split]} and {name} are both for {split}; move one away")
    return [FoundTable(name=name, split=split) for split, name in found.items()]


_FINDERS: Mapping[str, Callable[[str, Sequence[str]], list[FoundTable]]] = {
    COMMON_VOICE: _common_voice,
    MSWC: _spoken_words,
    NEMO: _nemo,
    AUDIO_FOLDER: _audio_folder,
}
