"""Checks rows of a table, many at a time: the columns of a batch to rows of a source.

Most rows need no change: their path is normalised and below the root, and their texts are complete. They stay in Arrow
memory. Any other row is checked by itself (`checked_row`), so that an error names it. Knows nothing of file formats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridspeech.manifest.clips import WHOLE, segment_suffix
from hybridspeech.manifest.columns.clip_columns import SEGMENT
from hybridspeech.manifest.columns.coded_texts import CodedTexts
from hybridspeech.manifest.columns.text_columns import binary_column, concat_columns, rows_at, text_bytes
from hybridspeech.manifest.tables.source_rows import TEXTS, RowsBuilder
from hybridspeech.manifest.tables.table_layout import INVALID, SECOND_FIELDS, TableLayout
from hybridspeech.manifest.tables.table_row import TableRow, checked_row, checked_segment, is_utf8

_PLAIN_URL = r"^(s3|s3a|gs|gcs|abfs|abfss|az|memory)://[^/@:?#]+/[^/]"
"""A URL that `normalized` does not change, if its path has no empty part, '.' or '..'."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TableBatch:
    """Some rows of a table.

    Parameters
    ----------
    columns : Arrow columns of text, of path, label, speaker, split and valid; None: check each row by itself
    seconds : float64 columns of start, duration and end, NaN where they are not given; None: check each row by itself
    fields_of : returns the values of one row, by field
    names : the table's names of the fields
    row_kind : "line" or "row"
    numbers : int64, the number of each row, for errors
    """

    layout: TableLayout
    columns: Mapping[str, Any] | None
    seconds: Mapping[str, np.ndarray] | None
    fields_of: Callable[[int], Mapping[str, Any]]
    names: Mapping[str, str]
    row_kind: str
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def checked(self, place: int) -> TableRow | str:
        """Check one row by itself."""
        row = f"{self.row_kind} {self.numbers[place]}"
        return checked_row(self.layout, row, self.fields_of(place), self.names)


def add_batch(rows: RowsBuilder, batch: TableBatch, table_bits: int = 0) -> None:
    """Add the rows of a batch.

    Parameters
    ----------
    table_bits : is added to the number of each row

    Raises
    ------
    ManifestError, ValueError: as `checked_row`.
    """
    if batch.columns is None or batch.seconds is None:
        for place in range(len(batch)):
            row = batch.checked(place)
            if isinstance(row, str):
                rows.left_out[row] += 1
            else:
                rows.add(row, table_bits + int(batch.numbers[place]))
        return
    is_kept, texts = _texts(batch, rows)
    kept = np.flatnonzero(is_kept)
    given = _located(batch.columns["path"].fill_null(""), batch.layout)
    clip_ids, paths, is_plain = _plain_paths(given, batch.layout.root)
    segments = _segments(batch, kept)
    unusual = np.flatnonzero(is_kept & (~is_plain | _has_unusual(texts)))
    clip_ids, paths = _exchanged(clip_ids, paths, unusual, batch)
    if segments is not None:
        clip_ids, paths = _with_starts(clip_ids, paths, segments, batch.layout.root, unusual)
    if len(kept) < len(batch):
        clip_ids, paths = clip_ids.take(kept), None if paths is None else paths.take(kept)
        texts = {name: column.take(kept) for name, column in texts.items()}
        segments = None if segments is None else segments.take(kept)
    rows.extend(clip_ids, paths, texts, segments, table_bits + batch.numbers.take(kept))


def _texts(batch: TableBatch, rows: RowsBuilder) -> tuple[np.ndarray, dict[str, CodedTexts]]:
    """Return which rows are kept, and label, speaker and split of all rows; count those that are left out."""
    assert batch.columns is not None
    layout, label_name = batch.layout, batch.names.get("label", "label")
    texts = {name: CodedTexts.of_arrow(batch.columns[name]) for name in (*TEXTS, "valid")}
    valid = texts.pop("valid")
    is_invalid = valid.is_in([name for name in valid.names if name.strip().lower() in INVALID])
    if layout.label_of:
        texts["label"] = texts["label"].mapped(layout.label_of)
    blank = np.zeros(len(batch), bool)
    if layout.label_of or label_name in layout.transcripts:
        blank = texts["label"].is_in([name for name in texts["label"].names if not name.strip()]) & ~is_invalid
    if layout.unknown_speaker:
        texts["speaker"] = texts["speaker"].mapped(lambda text: "" if text == layout.unknown_speaker else text)
    if layout.split:
        texts["split"] = texts["split"].mapped(lambda text: text or layout.split)
    reason = f"{label_name} is not one word" if layout.label_of else f"{label_name} is empty"
    for name, is_out in (("not valid", is_invalid), (reason, blank)):
        if is_out.any():
            rows.left_out[name] += int(np.count_nonzero(is_out))
    return ~(is_invalid | blank), texts


def _segments(batch: TableBatch, kept: np.ndarray) -> np.ndarray | None:
    """Return the segment of each row; None if no row has a start."""
    assert batch.seconds is not None
    start, duration, end = (batch.seconds[name] for name in SECOND_FIELDS)
    has_start = ~np.isnan(start)
    if not has_start.any():
        return None
    segments = np.array([WHOLE], SEGMENT).repeat(len(batch))
    length = np.where(np.isnan(duration) & ~np.isnan(end), end - start, duration)
    is_given = has_start & ~np.isnan(length)
    is_wrong = has_start & ~((start >= 0) & (start < np.inf))
    is_wrong |= is_given & ~((length > 0) & (length < np.inf))
    wrong = np.intersect1d(np.flatnonzero(is_wrong), kept)
    if len(wrong):
        place = int(wrong[0])
        row = f"{batch.row_kind} {batch.numbers[place]}"
        checked_segment(batch.layout.table, row, *(float(each[place]) for each in (start, duration, end)))
    segments["start_s"] = start
    segments["duration_s"] = np.where(has_start, np.where(is_given, length, np.inf), np.nan)
    return segments


def _with_starts(clip_ids: Any, paths: Any, segments: np.ndarray, root: str, done: np.ndarray) -> tuple[Any, Any]:
    """Return ids that end in the start of their segment, with their paths; those of `done` have it."""
    import pyarrow
    import pyarrow.compute as pc

    kind = pyarrow.large_binary()
    suffixes = [segment_suffix(start) for start in segments["start_s"].tolist()]
    for place in done.tolist():
        suffixes[place] = ""
    suffix = binary_column(suffixes)
    is_later = pyarrow.array([bool(text) for text in suffixes])
    whole_path = pc.binary_join_element_wise(
        pyarrow.scalar(f"{root}/".encode(), kind), clip_ids, pyarrow.scalar(b"", kind)
    )
    before = pyarrow.nulls(len(clip_ids), kind) if paths is None else paths
    paths = pc.if_else(is_later, pc.coalesce(before, whole_path), before)
    return pc.binary_join_element_wise(clip_ids, suffix, pyarrow.scalar(b"", kind)), paths


def _located(given: Any, layout: TableLayout) -> Any:
    """Return the paths with what the format leaves out; see `TableLayout.located`."""
    import pyarrow
    import pyarrow.compute as pc

    kind, nothing = given.type, pyarrow.scalar("", given.type)
    if layout.suffix:
        has_ending = pc.match_substring_regex(given, r"\.\w{2,4}$")
        given = pc.binary_join_element_wise(
            given, pc.if_else(has_ending, nothing, pyarrow.scalar(layout.suffix, kind)), nothing
        )
    if layout.prefix:
        is_relative = pc.invert(pc.or_(pc.starts_with(given, "/"), pc.match_substring(given, "://")))
        given = pc.binary_join_element_wise(
            pc.if_else(is_relative, pyarrow.scalar(layout.prefix, kind), nothing), given, nothing
        )
    return given


def _has_unusual(texts: Mapping[str, CodedTexts]) -> np.ndarray:
    """Return where a label is empty, or a text has a NUL."""
    has_nul = [column.is_in([name for name in column.names if "\0" in name]) for column in texts.values()]
    label = texts["label"]
    is_blank = label.is_in([name for name in label.names if not name.strip()])
    unusual: np.ndarray = np.any([*has_nul, is_blank], axis=0)
    return unusual


def _exchanged(clip_ids: Any, paths: Any, unusual: np.ndarray, batch: TableBatch) -> tuple[Any, Any]:
    """Return ids and paths with those of the unusual rows from `checked_row`, which raises if one is incomplete."""
    import pyarrow

    if not len(unusual):
        return clip_ids, paths
    kind = pyarrow.large_binary()
    checked = [row for place in unusual.tolist() if isinstance(row := batch.checked(place), TableRow)]
    own_ids = binary_column(row.clip_id for row in checked)
    own_paths = binary_column(None if row.path == f"{batch.layout.root}/{row.clip_id}" else row.path for row in checked)
    places = np.arange(len(batch))
    places[unusual] = len(batch) + np.arange(len(unusual))
    before = pyarrow.nulls(len(batch), kind) if paths is None else paths
    return (
        concat_columns([clip_ids, own_ids], kind).take(places),
        concat_columns([before, own_paths], kind).take(places),
    )


def _plain_paths(given: Any, root: str) -> tuple[Any, Any, np.ndarray]:
    """Return ids, paths and, for each row, whether they are right: the path is normalised as it is.

    A path below `root` is stored as its id alone; another absolute one as it is.
    """
    import pyarrow
    import pyarrow.compute as pc

    is_below = pc.starts_with(given, f"{root}/" if is_utf8(root) else "//")
    ids = given
    if pc.any(is_below).as_py():
        ids = pc.if_else(is_below, pc.utf8_slice_codeunits(given, len(root) + 1), given)
    is_url = pc.match_substring_regex(given, _PLAIN_URL)
    is_absolute = pc.and_not(pc.or_(pc.starts_with(given, "/"), is_url), is_below)
    paths = None
    if pc.any(is_absolute).as_py():
        paths = pc.if_else(is_absolute, given, pyarrow.scalar(None, given.type)).cast(pyarrow.large_binary())
    checked = ids
    if pc.any(is_url).as_py():  # apart from its scheme, a URL is checked as a path is
        checked = pc.if_else(is_url, pc.replace_substring(ids, "://", "/", max_replacements=1), ids)
    is_plain = _is_plain(checked, is_absolute.to_numpy(zero_copy_only=False))
    return ids.cast(pyarrow.large_binary()), paths, is_plain


def _is_plain(column: Any, may_begin_with_slash: np.ndarray) -> np.ndarray:
    """Tell of each path whether it has no part that is empty, '.' or '..'; some plain ones are taken for not plain."""
    content, ends = text_bytes(column)
    begins, is_slash, is_dot = ends[:-1], content == ord("/"), content == ord(".")
    is_bad = content == 0
    is_bad[:-1] |= is_slash[:-1] & (is_slash[1:] | is_dot[1:])
    is_bad[:-1] |= (content[:-1] == ord(":")) & is_slash[1:]  # a URL
    is_plain = np.ones(len(column), bool)
    is_plain[rows_at(np.flatnonzero(is_bad), ends)] = False
    has_dot = np.zeros(len(column), bool)
    has_dot[rows_at(np.flatnonzero(is_dot), ends)] = True  # neither empty nor white space alone
    padded = np.append(content, np.uint8(0))
    head, tail = padded.take(begins), padded.take(np.maximum(ends[1:] - 1, begins))
    begins_plain = (head != ord(".")) & ((head != ord("/")) | may_begin_with_slash)
    plain: np.ndarray = is_plain & has_dot & begins_plain & (tail != ord("/"))
    return plain
