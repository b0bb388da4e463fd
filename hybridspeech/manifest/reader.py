"""Reads a folder or a table of recorded words: labels, speakers and splits are decided here, once, on the driver.

A source is a folder with one folder per word (``SOURCE/word/clip.wav``), or a table with the columns ``path`` and
``label`` and optionally ``speaker`` and ``split``. Without this column, a pattern finds the speaker in the path of a clip.

Ids, labels and speakers are valid Unicode: bytes of a file name that are not UTF-8 are backslash-escaped, as
``\\udcff``; `Clip.path` keeps the true name. Labels and speakers are in Unicode normal form C and without outer white
space. Knows nothing of decoding, shards and engines.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.audio.formats import UNSUPPORTED_SUFFIXES, is_recording, is_supported, remedy
from hybridspeech.errors import ManifestError, counted
from hybridspeech.manifest.clips import Manifest
from hybridspeech.manifest.columns.clip_columns import ClipColumns
from hybridspeech.manifest.columns.clip_table import ClipTable
from hybridspeech.manifest.columns.coded_texts import CodedTexts, name_array
from hybridspeech.manifest.columns.text_columns import FILE_NAME, last_bytes
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.entries import Entries, make_entries
from hybridspeech.manifest.formats.read_source import read_in_memory, read_source
from hybridspeech.manifest.identity import find_overlaps, find_same_files
from hybridspeech.manifest.speakers import SPEECH_COMMANDS, speaker_finder
from hybridspeech.manifest.splits import choose_rule, split_entries
from hybridspeech.manifest.tables.data_frames import NAME, is_location
from hybridspeech.manifest.tables.source_rows import SourceRows
from hybridspeech.manifest.text import normal_text
from hybridspeech.storage.locations import normalized

SAME_SOUND = 0.5
"""Two segments of which the shorter one lies in the other to more than this share are the same sound."""


def read_manifest(source: str | Path | Any, config: ManifestConfig = ManifestConfig()) -> Manifest:  # noqa: B008 - frozen
    """Read clips, labels and splits of a folder, a table or a DataFrame.

    Raises
    ------
    ManifestError: the source is missing, empty, unfinished or of an unknown kind; a word folder has no clips; a row of
        the table is incomplete; two clips have one id or are one file; only some rows have a speaker; the split rule can't
        be applied; a speaker is in two splits; a speaker pattern other than the default matches no path.
    """
    ignored: list[str] = []
    notes: list[str] = []
    if is_location(source):
        place = normalized(source)
        rows = read_source(place, config, ignored, notes)
    else:
        place = NAME
        rows = read_in_memory(source, config, notes)
    _check_speaker_column(place, rows)
    notes += _normalisation_notes(rows)
    entries = make_entries(rows, speaker_finder(config.speaker_pattern))
    del rows  # the entries share what did not change
    notes += _unsupported_notes(entries)
    _check_speaker_pattern(place, config.speaker_pattern, entries)
    _check_entries(place, entries)
    folder = entries.rows.root
    rule = choose_rule(place, folder, entries, config)
    splits = split_entries(rule, folder, entries, config, notes)
    notes += _check_same_files(place, entries, splits)
    labels = tuple(sorted(entries.rows.label.used()))
    clips = _to_clips(entries, labels, splits)
    if not config.allow_speaker_overlap:
        _check_speakers(entries, splits)
    if len(labels) == 1:
        notes.append(f"there is only one label, {labels[0]!r}; if the words are folders below it, give that folder")
    return Manifest(
        clips=clips,
        labels=labels,
        source=str(source) if is_location(source) else NAME,
        split_rule=rule,
        ignored=tuple(sorted(ignored)),
        notes=tuple(notes),
        folder=folder,
    )


def _normalisation_notes(rows: SourceRows) -> list[str]:
    notes = []
    for name, texts in (("label", rows.label.used()), ("speaker", rows.speaker.used())):
        changed = sorted(text for text in texts if normal_text(text) != text)
        if changed:
            notes.append(
                f"{len(changed)} {name}s were normalised (Unicode NFC, no outer white space), e.g. {changed[0]!r} to "
                f"{normal_text(changed[0])!r}"
            )
    return notes


def _check_speaker_column(place: str, rows: SourceRows) -> None:
    blank = [speaker for speaker in rows.speaker.names if not speaker.strip()]
    without = np.flatnonzero(rows.speaker.is_in(blank))
    if len(without) and len(without) < len(rows):
        some = ", ".join(map(rows.row, without[:5].tolist())) + (", ..." if len(without) > 5 else "")
        raise ManifestError(
            f"{place}: {len(without)} of {len(rows)} rows have no speaker ({some}); give every row a speaker, or remove "
            "the column"
        )


def _unsupported_notes(entries: Entries) -> list[str]:
    endings = {ord(suffix[-1]) for suffix in UNSUPPORTED_SUFFIXES}
    last = last_bytes(entries.rows.clip_id)
    suspects = np.flatnonzero(np.isin(last | 0x20, list(endings)) | (last >= 0x80))
    names = [name.decode(*FILE_NAME) for name in entries.rows.file_names(suspects)]
    unsupported = [
        place
        for place, name in zip(suspects.tolist(), names, strict=True)
        if is_recording(name) and not is_supported(name)
    ]
    if not unsupported:
        return []
    files = counted(len(unsupported), "file")
    return [
        f"{files} of an unsupported format, e.g. {entries.clip_id(unsupported[0])!r}; {remedy()}, and preprocess again"
    ]


def _check_speaker_pattern(place: str, pattern: str, entries: Entries) -> None:
    if pattern != SPEECH_COMMANDS and not any(entries.speaker.used()):
        raise ManifestError(
            f"{place}: speaker pattern {pattern!r} finds no speaker in any of {len(entries)} paths, e.g. "
            f"{entries.clip_id(0)!r}; correct the pattern, or leave it out"
        )


def _check_same_files(place: str, entries: Entries, splits: CodedTexts) -> list[str]:
    """Raise ManifestError for a file that is listed twice, or that has two labels or splits; else return notes."""
    if entries.rows.segment is not None:
        return _check_overlaps(place, entries, splits)
    num_same = 0
    for first, second, path in find_same_files(entries.rows):
        _check_same_clip(place, entries, splits, (first, second), path)
        num_same += 1
    return [f"{num_same} clips are links to the file of another clip"] if num_same else []


def _check_same_clip(place: str, entries: Entries, splits: CodedTexts, both: tuple[int, int], path: str) -> None:
    """Raise ManifestError for two clips of a table that are all of one file, or two with another label or split."""
    rows = [entries.rows.row(i) for i in both]
    names = [f"{entries.clip_id(i)!r}{f' ({row})' if row else ''}" for i, row in zip(both, rows, strict=True)]
    given = [(entries.label(i), _split_of(splits, i)) for i in both]
    if given[0] != given[1]:
        each = [f"{name} with label {label!r} in {split}" for name, (label, split) in zip(names, given, strict=True)]
        raise ManifestError(f"{place}: one file, {path}, is there as {' and as '.join(each)}; keep one")
    if rows[1]:
        raise ManifestError(f"{place}: {' and '.join(names)} are one file, {path}; list each clip once")


def _split_of(splits: CodedTexts, clip: int) -> str:
    return str(splits.names[splits.codes[clip]])


def _check_overlaps(place: str, entries: Entries, splits: CodedTexts) -> list[str]:
    """Raise ManifestError for segments of one file that are the same sound in two splits; else return notes."""
    later, earlier, share = find_overlaps(entries.rows)
    segment = entries.rows.segment
    assert segment is not None
    is_whole = np.isnan(segment["start_s"])
    are_whole = is_whole[later] & is_whole[earlier]
    for pair in zip(earlier[are_whole].tolist(), later[are_whole].tolist(), strict=True):
        _check_same_clip(place, entries, splits, pair, entries.rows.path_of(pair[1]))
    is_other = splits.codes[later] != splits.codes[earlier]
    is_same = is_other & (share > SAME_SOUND)
    if is_same.any():
        both = [int(places[np.argmax(is_same)]) for places in (earlier, later)]
        each = [f"{entries.clip_id(i)!r} ({entries.rows.row(i)}) in {_split_of(splits, i)}" for i in both]
        raise ManifestError(
            f"{place}: {' and '.join(each)} overlap by more than half; a network would be tested on sound that it was trained "
            "with. Put them into one split, or remove one"
        )
    if not len(later):
        return []
    num_other = int(np.count_nonzero(is_other))
    across = f", {num_other:,} of them with one in another split" if num_other else ""
    return [f"{counted(len(later), 'segment overlaps', 'segments overlap')} with another one of the same file{across}"]


def _to_clips(entries: Entries, labels: tuple[str, ...], splits: CodedTexts) -> ClipTable:
    index = {label: number for number, label in enumerate(labels)}
    codes = np.array([index.get(name, 0) for name in entries.rows.label.names], np.int32)
    label = codes.take(entries.rows.label.codes)
    return ClipTable(
        ClipColumns(
            root=entries.rows.root,
            clip_id=entries.rows.clip_id,
            path=entries.rows.path,
            label=label,
            label_name=CodedTexts(label, name_array(labels)),
            speaker=entries.speaker,
            split=splits,
            segment=entries.rows.segment,
        )
    )


def _check_entries(place: str, entries: Entries) -> None:
    import pyarrow.compute as pc

    ids = entries.rows.clip_id
    is_twice = pc.equal(ids.slice(0, max(0, len(ids) - 1)), ids.slice(1)).to_numpy(zero_copy_only=False)
    if is_twice.any():
        first = int(np.argmax(is_twice))
        names = [entries.rows.row(i) for i in (first, first + 1)]
        rows = f" ({', '.join(names)})" if names[0] else ""
        raise ManifestError(f"{place}: clip {entries.clip_id(first)!r} is there twice{rows}; list each clip once")
    label = entries.rows.label
    is_broken = label.is_in([name for name in label.names if len(name.splitlines()) > 1])
    if is_broken.any():
        broken = entries.label(int(np.argmax(is_broken)))
        raise ManifestError(f"{place}: label {broken!r} contains a line break; rename it")


def _check_speakers(entries: Entries, splits: CodedTexts) -> None:
    speaker = entries.speaker
    firsts = np.zeros(len(speaker.names), np.int64)
    firsts[speaker.codes[::-1]] = np.arange(len(entries) - 1, -1, -1)  # the last assignment counts: the first clip
    first = firsts.take(speaker.codes)
    is_other = (splits.codes != splits.codes.take(first)) & ~speaker.is_in(("",))
    if is_other.any():
        other = int(np.argmax(is_other))
        one = int(first[other])
        name, each = speaker.names[speaker.codes[other]], [splits.names[splits.codes[i]] for i in (one, other)]
        raise ManifestError(
            f"speaker {name!r} is in two splits: {entries.clip_id(one)!r} is in {each[0]}, {entries.clip_id(other)!r} "
            f"in {each[1]}; the test accuracy would be too high. Correct the splits or the speaker pattern, give "
            "--split hash for new splits, or add --allow-speaker-overlap"
        )
