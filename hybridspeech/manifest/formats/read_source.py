"""Reads a source of any form to rows: a file, a folder, or a DataFrame. The form is recognised here, or given.

A folder is, in this order: Common Voice, Multilingual Spoken Words, a Hugging Face audio folder, NeMo manifests, split
folders with word folders, else word folders. Knows nothing of splits by rule and of what is done with the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from hybridspeech.errors import ManifestError, counted, reason_of
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.folders import list_words
from hybridspeech.manifest.formats.find_tables import SPLIT_NAMES, FoundTable, file_names, find_tables, folder_names
from hybridspeech.manifest.formats.split_folders import has_split_folders, path_splits, rows_of_folders
from hybridspeech.manifest.formats.table_format import (
    AUDIO_FOLDER,
    AUTO,
    COMMON_VOICE,
    FORMATS,
    MSWC,
    NEMO,
    SPEAKERS,
    TABLE,
    WORDS,
    TableFormat,
    format_of,
)
from hybridspeech.manifest.tables.data_frames import NAME, column_names, read_frame
from hybridspeech.manifest.tables.first_rows import FirstRows, first_rows
from hybridspeech.manifest.tables.read_table import READERS, Reader, checked_rows, read_tables
from hybridspeech.manifest.tables.repeated_rows import without_repeated
from hybridspeech.manifest.tables.source_rows import SourceRows
from hybridspeech.manifest.tables.table_layout import TableLayout
from hybridspeech.manifest.tables.text_batches import csv_batches
from hybridspeech.storage.locations import is_url, join, parent_and_name
from hybridspeech.storage.objects import exists, is_file

NUM_FOLDERS_PROBED = 3
IN_FOLDERS = (COMMON_VOICE, MSWC, AUDIO_FOLDER, NEMO)
"""Formats of tables that are looked for in a folder, in this order."""


def read_source(place: str, config: ManifestConfig, ignored: list[str], notes: list[str]) -> SourceRows:
    """Read all rows of a source.

    Parameters
    ----------
    place : a normalized path or URL
    ignored : receives the paths, relative to a folder of clips, that are left out
    notes : receives sentences for the user

    Raises
    ------
    ManifestError: there is no such source, it has not the form of `config`, or it can't be read.
    """
    if is_file(place):
        return _read_file(place, config, notes)
    if not (is_url(place) or Path(place).is_dir()):
        raise ManifestError(f"{place}: no such folder or file; expected a folder with one folder per word, or a table")
    kinds = [kind for kind in IN_FOLDERS if config.source_format in (AUTO, kind)]
    names = file_names(place) if kinds else []
    for kind in kinds:
        if found := _tables_of(place, kind, names, config):
            rows = _read_found(place, kind, found, config, notes)
            if kind in (AUDIO_FOLDER, NEMO):
                notes[0] += "; --source-format words reads its folders as words"
            return rows
    if config.source_format in (COMMON_VOICE, MSWC, NEMO, TABLE):
        title = FORMATS[config.source_format].title
        raise ManifestError(
            f"{place}: is not {title}: none of its tables is in this folder; give the table itself, or another --source-format"
        )
    if config.source_format == AUTO and not is_url(place):
        _check_no_data_set_below(place, config)
    return _read_folders(place, config, ignored, notes)


def _check_no_data_set_below(place: str, config: ManifestConfig) -> None:
    """Raise ManifestError for a folder of published data sets: their own folders, such as ``en``, are no words."""
    folders = [name for name in folder_names(place) if not name.startswith((".", "_"))]
    for name in folders[:NUM_FOLDERS_PROBED]:
        folder = join(place, name)
        tables = file_names(folder)
        for kind in (COMMON_VOICE, MSWC):
            if _tables_of(folder, kind, tables, config):
                raise ManifestError(
                    f"{place}: {FORMATS[kind].title} is in the folder {name!r} below; give that folder, or "
                    "--source-format words"
                )


def _read_folders(place: str, config: ManifestConfig, ignored: list[str], notes: list[str]) -> SourceRows:
    """Read a folder of clips whose labels are the names of folders."""
    if config.columns:
        raise ManifestError(
            f"{place}: --columns names the columns of a table, and this is a folder of clips; give the table"
        )
    words = list_words(place, ignored)
    if config.source_format == SPEAKERS:
        notes.append("read as one folder per speaker: SOURCE/SPEAKER/WORD/clip")
        return rows_of_folders(place, words, "speaker")
    if config.source_format == AUDIO_FOLDER or (config.source_format == AUTO and has_split_folders(words)):
        notes.append(
            f"read as a Hugging Face audio folder: SOURCE/SPLIT/LABEL/clip, with the splits "
            f"{', '.join(name for name, _ in words)}; --source-format words reads them as words"
        )
        return rows_of_folders(place, words, "split")
    return rows_of_folders(place, words, "label")


def _read_file(table: str, config: ManifestConfig, notes: list[str]) -> SourceRows:
    kind: str = config.source_format
    if kind in (WORDS, SPEAKERS):
        raise ManifestError(
            f"{table}: --source-format {kind} needs a folder, and this is a file; leave it out for a table"
        )
    first = first_rows(table)
    if kind == AUTO:
        kind = TABLE if "path" in config.columns else format_of(first.columns)
    folder, name = parent_and_name(table)
    rows = _read_found(folder, kind, [FoundTable(name=name)], config, notes)
    if kind in (COMMON_VOICE, MSWC, NEMO) and PurePosixPath(name).stem.rpartition("_")[2] in SPLIT_NAMES:
        notes.append(f"{name} alone was read; to use the published splits, give the folder {folder}")
    return rows


def _tables_of(folder: str, kind: str, names: Sequence[str], config: ManifestConfig) -> list[FoundTable]:
    """Return the tables of a format in a folder, if their columns are those of the format."""
    found = find_tables(folder, kind, names)
    if not found or config.source_format == kind:
        return found
    return found if format_of(first_rows(join(folder, found[0].name)).columns) == kind else []


def read_in_memory(frame: Any, config: ManifestConfig, notes: list[str]) -> SourceRows:
    """Read all rows of a DataFrame; relative paths start at the working folder.

    Raises
    ------
    ManifestError: it is no DataFrame, or has not the columns or rows of a table.
    """
    names = column_names(frame)
    kind: str = config.source_format
    if kind in (WORDS, SPEAKERS):
        raise ManifestError(f"source_format {kind!r} needs a folder, and SOURCE is a DataFrame; leave it out")
    if kind == AUTO:
        kind = TABLE if "path" in config.columns else format_of(names)
    layout = replace(_layout(FORMATS[kind], str(Path.cwd()).rstrip("/"), config), table=NAME)
    try:
        rows = checked_rows(read_frame(frame, layout), NAME)
    except ValueError as error:
        raise ManifestError(f"{NAME}: {reason_of(error)}") from error
    if kind != TABLE or config.columns or rows.segment is not None:
        notes.append(f"read as {FORMATS[kind].title}: {_used(layout, names)}")
    notes += _left_out(rows)
    return rows


def _layout(form: TableFormat, root: str, config: ManifestConfig) -> TableLayout:
    return TableLayout(
        table="",
        root=root,
        columns={**form.columns, **{name: (column,) for name, column in config.columns.items()}},
        required=frozenset(config.columns),
        suffix=form.suffix,
        label_of=None if "label" in config.columns else form.label_of,
        transcripts=form.transcripts,
        unknown_speaker=form.unknown_speaker,
    )


def _read_found(
    folder: str, kind: str, found: Sequence[FoundTable], config: ManifestConfig, notes: list[str]
) -> SourceRows:
    form, tables = FORMATS[kind], [join(folder, table.name) for table in found]
    first = first_rows(tables[0])
    base = _layout(form, folder, config)
    base = replace(base, root=_audio_root(folder, form, replace(base, prefix=found[0].prefix), first))
    layouts = [
        replace(base, table=table, split=each.split, prefix=each.prefix)
        for table, each in zip(tables, found, strict=True)
    ]
    tab_separated = partial(csv_batches, delimiter="\t", has_quotes=False)
    readers: Mapping[str, Reader] = READERS if form.has_quotes else {**READERS, ".tsv": tab_separated}
    rows = read_tables(layouts, readers)
    if kind == NEMO:  # its scripts balance the labels with repeated lines
        rows = without_repeated(rows)
    if kind == AUDIO_FOLDER and not any(rows.split.used()):
        rows = replace(rows, split=path_splits(rows))
    if kind != TABLE or config.columns or rows.segment is not None:
        names = ", ".join(table.name for table in found)
        below = base.root.removeprefix(folder).strip("/")
        in_folder = f"; audio in {below}/" if below else ""
        notes.append(f"read as {form.title}: {names}; {_used(base, first.columns)}{in_folder}")
    notes += _left_out(rows)
    return rows


def _left_out(rows: SourceRows) -> list[str]:
    total = len(rows) + sum(rows.left_out.values())
    return [f"{count:,} of {counted(total, 'row')} left out: {reason}" for reason, count in rows.left_out.items()]


def _used(layout: TableLayout, present: Sequence[str]) -> str:
    """Return which column is read as what."""
    columns = {name: layout.column_of(name, present) for name in layout.columns}
    if not columns.get("start"):  # then the other times describe the file
        columns |= {"duration": None, "end": None}
    return ", ".join(f"{name} from {column!r}" for name, column in columns.items() if column)


def _audio_root(folder: str, form: TableFormat, layout: TableLayout, first: FirstRows) -> str:
    """Return the folder in which relative paths start: the first of the format's in which one of the first files exists."""
    column = layout.column_of("path", first.columns)
    paths = [str(row[column]) for row in first.rows if column and row.get(column)]
    roots = [join(folder, name) if name else folder for name in form.audio_folders]
    if len(roots) > 1:
        for root in roots:
            if any(exists(join(root, layout.located(path))) for path in paths if not path.startswith("/")):
                return root
    return roots[0]
