"""Checks one row of a table: its columns, its texts, its path. Knows nothing of file formats."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hybridspeech.errors import ManifestError
from hybridspeech.storage.locations import is_url, normalized, parent_and_name
from hybridspeech.storage.objects import exists

COLUMNS = ("path", "label", "speaker", "split")
REQUIRED = ("path", "label")
NOT_UTF8 = "it is not UTF-8; save it as UTF-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row of a table; `speaker` and `split` are '' if they are not given.

    `path` is a URL, or absolute and normalised; `clip_id` is relative to the table's folder for files below it, else as given.
    """

    clip_id: str
    path: str
    label: str
    speaker: str
    split: str


def checked_row(table: str, row: str, fields: dict[str, Any]) -> TableRow:
    """Return a row from its values by column.

    Parameters
    ----------
    row : its name in an error, such as "line 2"

    Raises
    ------
    ManifestError: it has no path or label, or a value is no text. ValueError: it is not UTF-8.
    """
    for column in REQUIRED:
        if column not in fields:
            names = ", ".join(map(str, fields)) or "none"
            raise ManifestError(f"{table}, {row}: no column {column!r}; it has {names}")
    values = {name: _text(table, row, name, fields.get(name)) for name in COLUMNS}
    for column in REQUIRED:
        if not values[column].strip():
            raise ManifestError(f"{table}, {row}: {column} is empty; every clip needs one")
    root = parent_and_name(table)[0] + "/"
    path = _absolute(root, values["path"])
    clip_id = path.removeprefix(root) if path.startswith(root) else values["path"]
    if not is_utf8(path) and not exists(path):  # a file name may have any bytes
        raise ValueError(f"{row}: {NOT_UTF8}")
    return TableRow(clip_id=clip_id, **{**values, "path": path})


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


def _text(table: str, row: str, column: str, value: Any) -> str:
    if value is None:
        return ""
    text = str(value)
    if not isinstance(value, (str, int)) or isinstance(value, bool) or "\0" in text:
        raise ManifestError(f"{table}, {row}: {column} is {value!r}; expected text")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ManifestError(f"{table}, {row}: {column} is {value!r}, which is not valid Unicode") from error
    if column != "path" and not is_utf8(text):
        raise ValueError(f"{row}: {NOT_UTF8}")
    return text
