"""Reads a folder or a table of recorded words: labels, speakers and splits are decided here, once, on the driver.

A source is a folder with one folder per word (``SOURCE/word/clip.wav``), or a table with the columns ``path`` and
``label`` and optionally ``speaker`` and ``split``. Without this column, a pattern finds the speaker in the path of a clip.

Ids, labels and speakers are valid Unicode: bytes of a file name that are not UTF-8 are backslash-escaped, as
``\\udcff``; `Clip.path` keeps the true name. Labels and speakers are in Unicode normal form C and without outer white
space. Knows nothing of decoding, shards and engines.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

from hybridspeech.audio.formats import is_recording, is_supported, remedy
from hybridspeech.errors import ManifestError, counted
from hybridspeech.manifest.clips import Clip, Manifest
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.folders import list_words
from hybridspeech.manifest.identity import find_same_files
from hybridspeech.manifest.speakers import SPEECH_COMMANDS, speaker_finder
from hybridspeech.manifest.splits import Entry, choose_rule, hash_name_of, split_entries
from hybridspeech.manifest.tables import TableRow, read_table
from hybridspeech.manifest.text import normal_text, valid_text
from hybridspeech.storage.locations import is_url, join, normalized, parent_and_name
from hybridspeech.storage.objects import is_file


def read_manifest(source: str | Path, config: ManifestConfig = ManifestConfig()) -> Manifest:  # noqa: B008 - frozen
    """Read clips, labels and splits of a folder or table.

    Raises
    ------
    ManifestError: the source is missing, empty, unfinished or of an unknown kind; a word folder has no clips; a row of
        the table is incomplete; two clips have one id or are one file; only some rows have a speaker; the split rule can't
        be applied; a speaker is in two splits; a speaker pattern other than the default matches no path.
    """
    place = normalized(source)
    ignored: list[str] = []
    notes: list[str] = []
    if is_file(place):
        folder, rows = parent_and_name(place)[0], read_table(place)
        _check_speaker_column(place, rows)
    elif is_url(place) or Path(place).is_dir():
        folder = place
        rows = [
            TableRow(clip_id=name, path=join(folder, name), label=word, speaker="", split="", row="")
            for name, word in list_words(folder, ignored)
        ]
    else:
        raise ManifestError(f"{source}: no such folder or file; expected a folder with one folder per word, or a table")
    find_speaker = speaker_finder(config.speaker_pattern)
    entries = sorted((_entry(row, find_speaker) for row in rows), key=lambda entry: entry.clip_id)
    notes += _normalisation_notes(rows) + _unsupported_notes(entries)
    _check_speaker_pattern(place, config.speaker_pattern, entries)
    _check_entries(place, entries)
    rule = choose_rule(place, folder, entries, config)
    labels = tuple(sorted({entry.label for entry in entries}))
    splits = split_entries(rule, folder, entries, config, notes)
    notes += _check_same_files(place, entries, splits)
    clips = _to_clips(entries, labels, splits)
    if not config.allow_speaker_overlap:
        _check_speakers(clips)
    if len(labels) == 1:
        notes.append(f"there is only one label, {labels[0]!r}; if the words are folders below it, give that folder")
    return Manifest(
        clips=clips,
        labels=labels,
        source=str(source),
        split_rule=rule,
        ignored=tuple(sorted(ignored)),
        notes=tuple(notes),
    )


def _entry(row: TableRow, find_speaker: Callable[[str], str]) -> Entry:
    """A speaker that a table gives takes precedence over the one in the path, in the hash rule too."""
    speaker = row.speaker or find_speaker(row.clip_id)
    return Entry(
        clip_id=valid_text(row.clip_id),
        path=row.path,
        label=valid_text(normal_text(row.label)),
        speaker=valid_text(normal_text(speaker)),
        hash_name=normal_text(speaker or hash_name_of(row.path.rpartition("/")[2])),
        split=row.split,
        row=row.row,
    )


def _normalisation_notes(rows: list[TableRow]) -> list[str]:
    notes = []
    for name, texts in (("label", {row.label for row in rows}), ("speaker", {row.speaker for row in rows})):
        changed = sorted(text for text in texts if normal_text(text) != text)
        if changed:
            notes.append(
                f"{len(changed)} {name}s were normalised (Unicode NFC, no outer white space), e.g. {changed[0]!r} to "
                f"{normal_text(changed[0])!r}"
            )
    return notes


def _check_speaker_column(place: str, rows: list[TableRow]) -> None:
    without = [row.row for row in rows if not row.speaker.strip()]
    if without and len(without) < len(rows):
        some = ", ".join(without[:5]) + (", ..." if len(without) > 5 else "")
        raise ManifestError(
            f"{place}: {len(without)} of {len(rows)} rows have no speaker ({some}); give every row a speaker, or remove "
            "the column"
        )


def _unsupported_notes(entries: list[Entry]) -> list[str]:
    unsupported = [entry.clip_id for entry in entries if is_recording(entry.path) and not is_supported(entry.path)]
    if not unsupported:
        return []
    files = counted(len(unsupported), "file")
    return [f"{files} of an unsupported format, e.g. {unsupported[0]!r}; {remedy()}, and preprocess again"]


def _check_speaker_pattern(place: str, pattern: str, entries: list[Entry]) -> None:
    if pattern != SPEECH_COMMANDS and not any(entry.speaker for entry in entries):
        raise ManifestError(
            f"{place}: speaker pattern {pattern!r} finds no speaker in any of {len(entries)} paths, e.g. "
            f"{entries[0].clip_id!r}; correct the pattern, or leave it out"
        )


def _check_same_files(place: str, entries: list[Entry], splits: list[str]) -> list[str]:
    """Raise ManifestError for a file that is listed twice, or that has two labels or splits; else return notes."""
    num_same = 0
    for first, second, path in find_same_files(entries):
        names = [
            f"{entry.clip_id!r}{f' ({entry.row})' if entry.row else ''}" for entry in (entries[first], entries[second])
        ]
        given = [(entries[i].label, splits[i]) for i in (first, second)]
        if given[0] != given[1]:
            each = [
                f"{name} with label {label!r} in {split}" for name, (label, split) in zip(names, given, strict=True)
            ]
            raise ManifestError(f"{place}: one file, {path}, is there as {' and as '.join(each)}; keep one")
        if entries[second].row:
            raise ManifestError(f"{place}: {' and '.join(names)} are one file, {path}; list each clip once")
        num_same += 1
    return [f"{num_same} clips are links to the file of another clip"] if num_same else []


def _to_clips(entries: list[Entry], labels: tuple[str, ...], splits: list[str]) -> tuple[Clip, ...]:
    index = {label: number for number, label in enumerate(labels)}
    return tuple(
        Clip(
            clip_id=entry.clip_id,
            path=entry.path,
            label=index[entry.label],
            label_name=entry.label,
            speaker=entry.speaker,
            split=split,
        )
        for entry, split in zip(entries, splits, strict=True)
    )


def _check_entries(place: str, entries: list[Entry]) -> None:
    for first, second in itertools.pairwise(entries):
        if first.clip_id == second.clip_id:
            rows = f" ({first.row}, {second.row})" if first.row else ""
            raise ManifestError(f"{place}: clip {first.clip_id!r} is there twice{rows}; list each clip once")
    broken = next((entry.label for entry in entries if len(entry.label.splitlines()) > 1), None)
    if broken:
        raise ManifestError(f"{place}: label {broken!r} contains a line break; rename it")


def _check_speakers(clips: tuple[Clip, ...]) -> None:
    seen: dict[str, Clip] = {}
    for clip in clips:
        first = seen.setdefault(clip.speaker, clip)
        if clip.speaker and first.split != clip.split:
            raise ManifestError(
                f"speaker {clip.speaker!r} is in two splits: {first.clip_id!r} is in {first.split}, {clip.clip_id!r} "
                f"in {clip.split}; the test accuracy would be too high. Correct the splits or the speaker pattern, or add "
                "--allow-speaker-overlap"
            )
