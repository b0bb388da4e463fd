"""Clips as a source describes them, in columns: one row of a table, or one file of a folder, each.

Knows nothing of what they mean: labels and splits are decided in the manifest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hybridspeech.manifest.clips import WHOLE
from hybridspeech.manifest.columns.clip_columns import SEGMENT
from hybridspeech.manifest.columns.coded_texts import CodedTexts, name_array
from hybridspeech.manifest.columns.text_columns import CHUNK, FILE_NAME, binary_column, concat_columns
from hybridspeech.manifest.tables.table_row import TableRow

TEXTS = ("label", "speaker", "split")
TABLE_BITS = 40
"""The number of a row stands in the lower bits of `row_number`, that of its table in the upper ones."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceRows:
    """Columns of equal length.

    Parameters
    ----------
    root : folder or URL of the source
    clip_id : encoded path relative to `root`; as given, for files that are not below it
    path : encoded, absolute; null where it is ``root/clip_id``; None: everywhere
    speaker, split : '' where they are not given
    segment : SEGMENT; None: every clip is all of its file
    row_kind : "line" or "row" of a table; '' for a folder
    row_number : the number of each line or row, with TABLE_BITS; None: from 1
    tables : names of the tables, if there are several
    left_out : number of rows that the format leaves out, by reason
    """

    root: str
    clip_id: Any
    path: Any
    label: CodedTexts
    speaker: CodedTexts
    split: CodedTexts
    segment: np.ndarray | None = None
    row_kind: str = ""
    row_number: np.ndarray | None = None
    tables: tuple[str, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: np.ndarray) -> SourceRows:
        """Return some rows, in this order."""
        numbers = self.row_number
        if self.row_kind:
            numbers = rows + 1 if numbers is None else numbers.take(rows)
        columns = {name: getattr(self, name) for name in ("clip_id", "path", *TEXTS, "segment")}
        taken: dict[str, Any] = {
            name: None if column is None else column.take(rows) for name, column in columns.items()
        }
        return replace(self, row_number=numbers, **taken)

    def row(self, place: int) -> str:
        """Return the name of a line or row, such as "line 2"; '' for a folder."""
        number = place + 1 if self.row_number is None else int(self.row_number[place])
        table, number = divmod(number, 1 << TABLE_BITS)
        of_table = f"{self.tables[table]}, " if len(self.tables) > 1 else ""
        return f"{of_table}{self.row_kind} {number}" if self.row_kind else ""

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
    """Collects rows, one by one or many at a time, into SourceRows.

    Parameters
    ----------
    root, row_kind, tables : see SourceRows
    """

    def __init__(self, root: str, row_kind: str = "", tables: Sequence[str] = ()) -> None:
        self._root, self._row_kind, self._tables = root, row_kind, tuple(tables)
        self._pending: list[tuple[TableRow, int]] = []
        self._ids: list[Any] = []
        self._paths: list[Any] = []
        self._texts: dict[str, list[CodedTexts]] = {name: [] for name in TEXTS}
        self._segments: list[np.ndarray | None] = []
        self._numbers: list[np.ndarray] = []
        self._code_of: dict[str, dict[str, int]] = {name: {} for name in TEXTS}
        self.left_out: Counter[str] = Counter()

    def add(self, row: TableRow, number: int) -> None:
        """Add one row of a table."""
        self._pending.append((row, number))
        if len(self._pending) == CHUNK:
            self._flush()

    def extend(
        self,
        clip_ids: Any,
        paths: Any,
        texts: dict[str, CodedTexts],
        segments: np.ndarray | None = None,
        numbers: np.ndarray | None = None,
    ) -> None:
        """Add rows; see SourceRows. Those of tables have numbers."""
        self._flush()
        self._append(clip_ids, paths, texts, segments, numbers)

    def _append(
        self,
        clip_ids: Any,
        paths: Any,
        texts: dict[str, CodedTexts],
        segments: np.ndarray | None,
        numbers: np.ndarray | None,
    ) -> None:
        import pyarrow

        self._ids.append(clip_ids)
        self._paths.append(pyarrow.nulls(len(clip_ids), pyarrow.large_binary()) if paths is None else paths)
        self._segments.append(segments)
        if numbers is not None:
            self._numbers.append(numbers)
        for name in TEXTS:
            self._texts[name].append(self._shared(name, texts[name]))

    def extend_folder(self, names: Sequence[str], label: str, speaker: str = "", split: str = "") -> None:
        """Add the files of a folder, by their paths relative to `root`."""
        texts = {"label": label, "speaker": speaker, "split": split}
        self.extend(
            binary_column(names), None, {name: CodedTexts.constant(text, len(names)) for name, text in texts.items()}
        )

    def _shared(self, name: str, column: CodedTexts) -> CodedTexts:
        """Return the column with the codes of this builder, which all parts share."""
        code_of = self._code_of[name]
        own = np.array([code_of.setdefault(text, len(code_of)) for text in column.names.tolist()], np.int32)
        return CodedTexts(own.take(column.codes), column.names)

    def _flush(self) -> None:
        if not self._pending:
            return
        rows, numbers = zip(*self._pending, strict=True)
        self._pending = []
        paths = (None if row.path == f"{self._root}/{row.clip_id}" else row.path for row in rows)
        self._append(
            binary_column(row.clip_id for row in rows),
            binary_column(paths),
            {name: CodedTexts.of(getattr(row, name) for row in rows) for name in TEXTS},
            np.array([row.segment for row in rows], SEGMENT),
            np.array(numbers, np.int64),
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
            segment=self._all_segments(),
            row_kind=self._row_kind,
            row_number=self._all_numbers(),
            tables=self._tables,
            left_out=self.left_out,
            **texts,
        )

    def _all_segments(self) -> np.ndarray | None:
        given = [each is not None and not np.isnan(each["start_s"]).all() for each in self._segments]
        if not any(given):
            return None
        whole = np.array([WHOLE], SEGMENT)
        parts = zip(self._segments, self._ids, strict=True)
        return np.concatenate([whole.repeat(len(ids)) if each is None else each for each, ids in parts])

    def _all_numbers(self) -> np.ndarray | None:
        """Return the numbers of all rows; None if they count from 1."""
        if not self._numbers:
            return None
        numbers = np.concatenate(self._numbers)
        return None if np.array_equal(numbers, np.arange(1, len(numbers) + 1)) else numbers
