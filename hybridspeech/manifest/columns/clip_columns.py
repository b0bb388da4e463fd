"""The columns of a table of clips. A column that no clip needs is absent.

A column of texts is an Arrow array, or an object array of NumPy for few clips: a worker then loads no Arrow. Both have the
same ``take`` and ``tolist``. Knows nothing of folders, tables and audio.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from hybridspeech.manifest.clips import Clip, copy_suffix
from hybridspeech.manifest.columns.coded_texts import CodedTexts, name_array
from hybridspeech.manifest.columns.text_columns import FILE_NAME, concat_columns

EXCERPT = np.dtype([("position", np.float64), ("volume", np.float64)])
SEGMENT = np.dtype([("start_s", np.float64), ("duration_s", np.float64)])
CODED = ("label_name", "speaker", "split")
NUMBERS: dict[str, np.dtype[Any]] = {
    "label": np.dtype(np.int32),
    "copy": np.dtype(np.int32),
    "start_ms": np.dtype(np.int64),
    "excerpt": EXCERPT,
    "segment": SEGMENT,
}
PAIRS = ("excerpt", "segment")
"""Columns of two numbers, which are NaN where a clip has none."""
ABSENT: dict[str, Any] = {"copy": 0, "start_ms": 0, "excerpt": None, "segment": None, "version": ""}
"""Value of a clip in a column that is absent."""
NO_PAIR = (np.nan, np.nan)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipColumns:
    """Columns named as the fields of `Clip`, of equal length.

    Parameters
    ----------
    root : location of the source; None if every path is stored
    path : encoded path of each clip, None where it is ``root/recorded_id``; None: of all clips
    label, copy, start_ms : integers
    excerpt : EXCERPT; NaN where a clip is no excerpt
    segment : SEGMENT; NaN where a clip is all of its file
    """

    root: str | None
    clip_id: Any
    path: Any
    label: np.ndarray
    label_name: CodedTexts
    speaker: CodedTexts
    split: CodedTexts
    copy: np.ndarray | None = None
    excerpt: np.ndarray | None = None
    version: Any = None
    start_ms: np.ndarray | None = None
    segment: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: np.ndarray) -> ClipColumns:
        """Return these rows of all columns."""
        present = {name: column for name, column in self._columns().items() if column is not None}
        return replace(self, **{name: column.take(rows) for name, column in present.items()})

    def _columns(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "root"}

    def listed(self, name: str, rows: np.ndarray) -> list[Any]:
        """Return the values of one column at some rows, as in `Clip`."""
        if name == "path":
            return self._paths(rows)
        column = getattr(self, name)
        if name in PAIRS:
            found = [] if column is None else column.take(rows).tolist()
            return [None if value[0] != value[0] else value for value in found] or [None] * len(rows)
        if column is None:
            return [ABSENT[name]] * len(rows)
        values: list[Any] = column.take(rows).tolist()
        return values

    def _paths(self, rows: np.ndarray) -> list[str]:
        stored: list[bytes | None] = [None] * len(rows) if self.path is None else self.path.take(rows).tolist()
        ids, root = self.listed("clip_id", rows), self.root
        if self.copy is not None:
            copies = self.copy.take(rows).tolist()
            ids = [
                clip_id.removesuffix(copy_suffix(copy)) if copy else clip_id
                for clip_id, copy in zip(ids, copies, strict=True)
            ]
        return [
            f"{root}/{clip_id}" if path is None else path.decode(*FILE_NAME)
            for path, clip_id in zip(stored, ids, strict=True)
        ]

    def packed(self) -> bytes:
        """Return all rows as compressed bytes, in types of the standard library."""
        columns: dict[str, Any] = {"root": self.root}
        for name, column in self._columns().items():
            if isinstance(column, CodedTexts):
                compact = column.compact()
                columns[name] = (compact.codes.tolist(), compact.names.tolist())
            else:
                columns[name] = None if column is None else column.tolist()
        return zlib.compress(pickle.dumps(columns, protocol=4), 1)

    @classmethod
    def unpacked(cls, data: bytes) -> ClipColumns:
        """Return the columns that `packed` has packed."""
        columns = pickle.loads(zlib.decompress(data))
        for name, column in columns.items():
            if name in CODED:
                columns[name] = CodedTexts(np.array(column[0], np.int32), name_array(column[1]))
            elif name in NUMBERS and column is not None:
                columns[name] = np.array(column, NUMBERS[name])
            elif name != "root" and column is not None:
                columns[name] = name_array(column)
        return cls(**columns)

    @classmethod
    def of(cls, clips: Iterable[Clip]) -> ClipColumns:
        """Return the columns of some clips; every path is stored."""
        clips = list(clips)
        values = {name: [getattr(clip, name) for clip in clips] for name in Clip.__slots__}
        is_absent = {name: all(each == value for each in values[name]) for name, value in ABSENT.items()}
        for name in PAIRS:
            values[name] = [NO_PAIR if each is None else each for each in values[name]]
        columns: dict[str, Any] = {name: CodedTexts.of(values[name]) for name in CODED}
        columns |= {name: np.array(values[name], kind) for name, kind in NUMBERS.items()}
        columns |= {name: name_array(values[name]) for name in ("clip_id", "version")}
        columns["path"] = name_array(path.encode(*FILE_NAME) for path in values["path"])
        columns |= {name: None for name in ABSENT if is_absent[name]}
        return cls(root=None, **columns)

    @classmethod
    def concat(cls, parts: Sequence[ClipColumns]) -> ClipColumns:
        """Return the rows of all parts, in order; texts become Arrow columns."""
        import pyarrow

        roots = {part.root for part in parts if part.root is not None}
        if len(roots) > 1:
            parts = [part._with_stored_paths() for part in parts]
        texts = {"clip_id": pyarrow.large_string(), "path": pyarrow.large_binary(), "version": pyarrow.large_string()}
        columns: dict[str, Any] = {name: CodedTexts.concat([getattr(part, name) for part in parts]) for name in CODED}
        columns |= {name: _joined_numbers(name, parts) for name in NUMBERS}
        columns |= {name: _joined_texts(name, kind, parts) for name, kind in texts.items()}
        return cls(root=roots.pop() if len(roots) == 1 else None, **columns)

    def _with_stored_paths(self) -> ClipColumns:
        paths = [path.encode(*FILE_NAME) for path in self._paths(np.arange(len(self)))]
        return replace(self, root=None, path=name_array(paths))


def _joined_numbers(name: str, parts: Sequence[ClipColumns]) -> np.ndarray | None:
    columns = [getattr(part, name) for part in parts]
    if all(column is None for column in columns):
        return None
    fill = np.array([NO_PAIR if name in PAIRS else 0], NUMBERS[name])
    return np.concatenate(
        [fill.repeat(len(part)) if column is None else column for part, column in zip(parts, columns, strict=True)]
    )


def _joined_texts(name: str, kind: Any, parts: Sequence[ClipColumns]) -> Any:
    import pyarrow

    columns = [getattr(part, name) for part in parts]
    if all(column is None for column in columns):
        return None
    fill = pyarrow.scalar(ABSENT.get(name), kind)
    return concat_columns(
        [
            pyarrow.repeat(fill, len(part)) if column is None else column
            for part, column in zip(parts, columns, strict=True)
        ],
        kind,
    )
