"""Checks one row of a table: its texts, its path, its segment. Knows nothing of file formats."""

from __future__ import annotations

import math
import os
import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hybridspeech.errors import ManifestError
from hybridspeech.manifest.clips import WHOLE, segment_suffix
from hybridspeech.manifest.tables.table_layout import FIELDS, INVALID, REQUIRED, SECOND_FIELDS, TableLayout
from hybridspeech.storage.locations import is_url, normalized
from hybridspeech.storage.objects import exists

NOT_UTF8 = "it is not UTF-8; save it as UTF-8"
TEXTS_OF_ROW = ("path", "label", "speaker", "split")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row of a table; `speaker` and `split` are '' if they are not given.

    `path` is a URL, or absolute and normalised; `clip_id` is relative to the layout's root for files below it, else as given,
    and ends in the start of a segment that does not begin with the file. `segment` is start and duration in seconds.
    """

    clip_id: str
    path: str
    label: str
    speaker: str
    split: str
    segment: tuple[float, float] = WHOLE


def checked_row(
    layout: TableLayout, row: str, fields: Mapping[str, Any], names: Mapping[str, str] | None = None
) -> TableRow | str:
    """Return a row from its values by field; or, for a row that the format leaves out, the reason.

    Parameters
    ----------
    row : its name in an error, such as "line 2"
    names : the table's names of the fields, for errors

    Raises
    ------
    ManifestError: it has no path or label, a value is no text, or the segment is impossible. ValueError: it is not UTF-8.
    """
    table, named = layout.table, {name: name for name in FIELDS} | dict(names or {})
    if str(fields.get("valid", "")).strip().lower() in INVALID:
        return "not valid"
    values = {name: _text(table, row, named[name], fields.get(name), name == "path") for name in TEXTS_OF_ROW}
    values["label"] = layout.label_of(values["label"]) if layout.label_of else values["label"]
    if not values["label"].strip() and (layout.label_of or named["label"] in layout.transcripts):
        return f"{named['label']} is not one word" if layout.label_of else f"{named['label']} is empty"
    for name in REQUIRED:
        if not values[name].strip():
            raise ManifestError(f"{table}, {row}: {named[name]} is empty; every clip needs one")
    if values["speaker"] == layout.unknown_speaker:
        values["speaker"] = ""
    values["split"] = values["split"] or layout.split
    given, root = layout.located(values["path"]), layout.root + "/"
    path = _absolute(root, given)
    clip_id = path.removeprefix(root) if path.startswith(root) else given
    if not is_utf8(path) and not exists(path):  # a file name may have any bytes
        raise ValueError(f"{row}: {NOT_UTF8}")
    segment = checked_segment(
        table, row, *(_seconds(table, row, named[name], fields.get(name)) for name in SECOND_FIELDS)
    )
    return TableRow(clip_id=clip_id + segment_suffix(segment[0]), segment=segment, **{**values, "path": path})


def checked_segment(table: str, row: str, start: float, duration: float, end: float) -> tuple[float, float]:
    """Return start and duration of a segment, in seconds; WHOLE without a start. NaN stands for a value that is not given.

    A duration or an end without a start describes the file, and cuts nothing out of it.

    Raises
    ------
    ManifestError: the start is negative, or the segment is empty.
    """
    if math.isnan(start):
        return WHOLE
    if not (0 <= start < math.inf):
        raise ManifestError(f"{table}, {row}: the segment starts at {start:g} s; expected 0 or more")
    length = end - start if math.isnan(duration) and not math.isnan(end) else duration
    if math.isnan(length):
        return start, math.inf
    if not (0 < length < math.inf):
        given = f"ends at {end:g} s and starts at {start:g} s" if length is not duration else f"lasts {duration:g} s"
        raise ManifestError(f"{table}, {row}: the segment {given}; expected a duration above 0 s")
    return start, length


def check_columns(names: Sequence[str]) -> None:
    """Raise ValueError for a name that occurs twice, or is not UTF-8."""
    twice = sorted(name for name, count in Counter(names).items() if name and count > 1)
    if twice:
        raise ValueError(f"column {twice[0]!r} is there twice; remove one")
    if any(not is_utf8(name) for name in names):
        raise ValueError(NOT_UTF8)


def is_utf8(text: str) -> bool:
    """Whether a text that was read with surrogateescape came from valid UTF-8."""
    return text.isascii() or not any("\udc80" <= char <= "\udcff" for char in text)


def _absolute(root: str, path: str) -> str:
    if is_url(path):
        return normalized(path)
    if not is_url(root) or path.startswith("/"):
        return os.path.normpath(os.path.join(root, path))  # noqa: PTH118 - text in, text out
    scheme, _, place = root.partition("://")
    return f"{scheme}://{posixpath.normpath(posixpath.join(place, path))}"


def _seconds(table: str, row: str, column: str, value: Any) -> float:
    """Return a value as seconds; NaN if it is not given."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return math.nan
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError):
        raise ManifestError(f"{table}, {row}: {column} is {value!r}; expected seconds, such as 1.25") from None


def _text(table: str, row: str, column: str, value: Any, is_path: bool) -> str:
    if value is None:
        return ""
    text = str(value)
    if not isinstance(value, (str, int)) or isinstance(value, bool) or "\0" in text:
        raise ManifestError(f"{table}, {row}: {column} is {value!r}; expected text")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ManifestError(f"{table}, {row}: {column} is {value!r}, which is not valid Unicode") from error
    if not is_path and not is_utf8(text):
        raise ValueError(f"{row}: {NOT_UTF8}")
    return text
