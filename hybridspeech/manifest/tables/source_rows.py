"""Clips as a source describes them, in columns: one row of a table, or one file of a folder, each.

Knows nothing of what they mean: labels and splits are decided in the manifest.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from hybridspeech.manifest.columns.coded_texts import CodedTexts, name_array
from hybridspeech.manifest.columns.text_columns import CHUNK, FILE_NAME, binary_column, concat_columns
from hybridspeech.manifest.tables.table_row import TableRow

TEXTS = ("label", "speaker", "split")


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceRows:
    """Columns of equal length.

    Parameters
    ----------
    root : folder or URL of the source
    clip_id : encoded path relative to `root`; as given, for files that are not below it
    path : encoded, absolute; null where it is ``root/clip_id``; None: everywhere
    speaker, split : '' where they are not given
    row_kind : "line" or "row" of a table; '' for a folder
    row_number : the number of each line or row; None: from 1
    """

    root: str
    clip_id: Any
    path: Any
    label: CodedTexts
    speaker: CodedTexts
    split: CodedTexts
    row_kind: str = ""
    row_number: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: np.ndarray) -> SourceRows:
        """Return some rows, in this order."""
        numbers = self.row_number
        if self.row_kind:
            numbers = rows + 1 if numbers is None else numbers.take(rows)
        names = [field.name for field in fields(self) if field.name not in ("root", "row_kind", "row_number")]
        columns = {name: getattr(self, name) for name in names}
        taken: dict[str, Any] = {
            name: None if column is None else column.take(rows) for name, column in columns.items()
        }
        return replace(self, row_number=numbers, **taken)

    def row(self, place: int) -> str:
        """Return the name of a line or row, such as "line 2"; '' for a folder."""
        number = place + 1 if self.row_number is None else self.row_number[place]
        return f"{self.row_kind} {number}" if self.row_kind else ""

    def encoded_paths(self, first: int, count: int) -> list[bytes]:
        """Return the paths of some rows."""
        import pyarrow

        prefix = f"{self.root}/".encode(*FILE_NAME)
        ids = self.clip_id.slice(first, count).cast(pyarrow.large_binary()).to_pylist()
        if self.path is None:
            return [prefix + clip_id for clip_id in ids]
        stored = self.path.slice(first, count).to_pylist()
        return [prefix + clip_id if path is None else path for path, clip_id in zip(stored, ids, strict=True)]

    def path_of(self, place: int) -> str:
        """Return the path of one row."""
        return self.encoded_paths(place, 1)[0].decode(*FILE_NAME)

    def file_names(self, rows: np.ndarray) -> list[bytes]:
        """Return the encoded names of the files of some rows, without their folders."""
        chosen = self.take(rows)
        return [path.rpartition(b"/")[2] for path in chosen.encoded_paths(0, len(rows))]


class RowsBuilder:
    """Collects rows, one by one or many at a time, into SourceRows."""

    def __init__(self, root: str, row_kind: str = "") -> None:
        self._root, self._row_kind = root, row_kind
        self._pending: list[tuple[str, str | None, str, str, str]] = []
        self._ids: list[Any] = []
        self._paths: list[Any] = []
        self._texts: dict[str, list[CodedTexts]] = {name: [] for name in TEXTS}
        self._numbers = array("q")
        self._code_of: dict[str, dict[str, int]] = {name: {} for name in TEXTS}

    def add(self, row: TableRow, number: int | None = None) -> None:
        """Add one row; give the numbers of all rows, or of none."""
        path = None if row.path == f"{self._root}/{row.clip_id}" else row.path
        self._pending.append((row.clip_id, path, row.label, row.speaker, row.split))
        if number is not None:
            self._numbers.append(number)
        if len(self._pending) == CHUNK:
            self._flush()

    def extend(self, clip_ids: Any, paths: Any, texts: dict[str, CodedTexts]) -> None:
        """Add rows; see SourceRows."""
        import pyarrow

        self._flush()
        self._ids.append(clip_ids)
        self._paths.append(pyarrow.nulls(len(clip_ids), pyarrow.large_binary()) if paths is None else paths)
        for name in TEXTS:
            self._texts[name].append(self._shared(name, texts[name]))

    def extend_folder(self, names: Sequence[str], label: str) -> None:
        """Add the files of a folder, by their paths relative to `root`."""
        texts = {name: CodedTexts.constant("", len(names)) for name in ("speaker", "split")}
        self.extend(binary_column(names), None, {"label": CodedTexts.constant(label, len(names)), **texts})

    def _shared(self, name: str, column: CodedTexts) -> CodedTexts:
        """Return the column with the codes of this builder, which all parts share."""
        code_of = self._code_of[name]
        own = np.array([code_of.setdefault(text, len(code_of)) for text in column.names.tolist()], np.int32)
        return CodedTexts(own.take(column.codes), column.names)

    def _flush(self) -> None:
        if self._pending:
            ids, paths, *texts = zip(*self._pending, strict=True)
            self._pending = []
            self.extend(
                binary_column(ids),
                binary_column(paths),
                {name: CodedTexts.of(column) for name, column in zip(TEXTS, texts, strict=True)},
            )

    def finish(self) -> SourceRows:
        """Return all rows."""
        import pyarrow

        self._flush()
        paths = concat_columns(self._paths, pyarrow.large_binary())
        texts = {}
        for name in TEXTS:
            codes = np.concatenate([np.zeros(0, np.int32), *(column.codes for column in self._texts[name])])
            texts[name] = CodedTexts(codes, name_array(self._code_of[name])).compact()
        return SourceRows(
            root=self._root,
            clip_id=concat_columns(self._ids, pyarrow.large_binary()),
            path=paths if paths.null_count < len(paths) else None,
            row_kind=self._row_kind,
            row_number=np.frombuffer(self._numbers, np.int64) if self._numbers else None,
            **texts,
        )
