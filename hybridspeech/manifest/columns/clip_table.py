"""Clips as a table: ten million of them take about one gigabyte. Knows nothing of folders, tables and audio."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, overload

import numpy as np

from hybridspeech.manifest.clips import Clip, copy_suffix
from hybridspeech.manifest.columns.clip_columns import ClipColumns
from hybridspeech.manifest.columns.clip_names import ClipNames
from hybridspeech.manifest.columns.coded_texts import CodedTexts, name_array
from hybridspeech.manifest.columns.hash_order import hash_order
from hybridspeech.manifest.columns.text_columns import CHUNK, concat_columns

FIELDS = Clip.__slots__


class ClipTable(Sequence[Clip]):
    """A sequence of clips in columns; a `Clip` is made when it is read.

    A selection of rows shares the columns of its table. Its pickle holds the selected rows only.

    Parameters
    ----------
    rows : integers, the rows of `columns` in the order of this table; None: all
    """

    __slots__ = ("_columns", "_rows")

    def __init__(self, columns: ClipColumns, rows: np.ndarray | None = None) -> None:
        self._columns = columns
        self._rows = np.arange(len(columns), dtype=np.int32) if rows is None else rows

    @classmethod
    def of(cls, clips: Iterable[Clip]) -> ClipTable:
        """Return a table of these clips; a table is returned as it is."""
        return clips if isinstance(clips, ClipTable) else cls(ClipColumns.of(clips))

    @classmethod
    def concat(cls, tables: Sequence[ClipTable]) -> ClipTable:
        """Return the clips of all tables, in order. Selections of one table share its columns."""
        first = tables[0]._columns
        if all(table._columns is first for table in tables):
            return cls(first, np.concatenate([table._rows for table in tables]))
        return cls(ClipColumns.concat([table._columns.take(table._rows) for table in tables]))

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> ClipTable: ...
    def __getitem__(self, index: int | slice) -> Clip | ClipTable:
        if isinstance(index, slice):
            return ClipTable(self._columns, self._rows[index])
        return next(iter(ClipTable(self._columns, self._rows[[index]])))

    def __iter__(self) -> Iterator[Clip]:
        for values in self.values(*FIELDS):
            yield Clip(**dict(zip(FIELDS, values, strict=True)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClipTable):
            return NotImplemented
        if self._columns is other._columns and np.array_equal(self._rows, other._rows):
            return True
        return len(self) == len(other) and all(
            one == two for one, two in zip(self.values(*FIELDS), other.values(*FIELDS), strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return unpacked_table, (self._columns.take(self._rows).packed(),)

    def values(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """Yield the values of some fields of each clip, without making a `Clip`."""
        for first in range(0, len(self), CHUNK):
            rows = self._rows[first : first + CHUNK]
            yield from zip(*(self._columns.listed(name, rows) for name in names), strict=True)

    def column(self, name: str) -> Iterator[Any]:
        """Yield the values of one field."""
        return (value for (value,) in self.values(name))

    def take(self, rows: np.ndarray) -> ClipTable:
        """Return the clips at these places, in this order."""
        return ClipTable(self._columns, self._rows[rows])

    def where(self, name: str, values: Collection[str]) -> ClipTable:
        """Return the clips whose label_name, speaker or split is one of `values`."""
        return self.take(np.flatnonzero(self.coded(name).is_in(values)))

    def with_ids(self, ids: Collection[str]) -> ClipTable:
        """Return the clips with these ids."""
        return self.take(np.flatnonzero(self._has_id(ids))) if ids else self[:0]

    def without_ids(self, ids: Collection[str]) -> ClipTable:
        """Return the clips without these ids; the table itself if it has none of them."""
        is_out = self._has_id(ids) if ids else np.zeros(1, bool)
        return self.take(np.flatnonzero(~is_out)) if is_out.any() else self

    def _has_id(self, ids: Collection[str]) -> np.ndarray:
        return np.fromiter((clip_id in ids for clip_id in self.column("clip_id")), bool, len(self))

    def of_split(self, split: str) -> ClipTable:
        """Return the clips of one split."""
        return self.where("split", (split,))

    def coded(self, name: str) -> CodedTexts:
        """Return the column label_name, speaker or split."""
        column: CodedTexts = getattr(self._columns, name)
        return column.take(self._rows)

    @property
    def num_recorded(self) -> int:
        """Number of clips that are not augmented copies."""
        copies = self._columns.copy
        return len(self) - (0 if copies is None else int(np.count_nonzero(copies.take(self._rows))))

    @property
    def has_copies(self) -> bool:
        """Tell whether there are augmented copies."""
        return self.num_recorded < len(self)

    @property
    def has_segments(self) -> bool:
        """Tell whether there are clips that are cut out of their files."""
        segments = self._columns.segment
        return segments is not None and not bool(np.isnan(segments["start_s"].take(self._rows)).all())

    def segments(self) -> np.ndarray | None:
        """Return SEGMENT [shape=(num_clips,)]; None if there are none."""
        return self._columns.segment.take(self._rows) if self._columns.segment is not None else None

    def ids(self) -> Any:
        """Return the ids as an Arrow column."""
        import pyarrow

        return concat_columns([self._columns.clip_id.take(self._rows)], pyarrow.large_string())

    def names(self) -> ClipNames:
        """Return the names of all clips."""
        columns = {name: self.coded(name) for name in ("label_name", "speaker", "split")}
        return ClipNames(clip_id=self._columns.clip_id.take(self._rows), **columns)

    def labels(self) -> np.ndarray:
        """Return the index of the label of each clip: int32 [shape=(num_clips,)]."""
        labels: np.ndarray = self._columns.label.take(self._rows)
        return labels

    def sorted_by_id(self) -> ClipTable:
        """Return the clips sorted by `clip_id`."""
        import pyarrow.compute

        return self.take(pyarrow.compute.sort_indices(self.ids()).to_numpy())

    def in_hash_order(self, prefix: bytes) -> ClipTable:
        """Return the clips sorted by the SHA-256 of `prefix` and id."""

        def ids(places: np.ndarray | None) -> Iterator[list[str]]:
            rows = self._rows if places is None else self._rows[places]
            for first in range(0, len(rows), CHUNK):
                yield self._columns.listed("clip_id", rows[first : first + CHUNK])

        return self.take(hash_order(ids, prefix))

    def augmented(self, copy: int) -> ClipTable:
        """Return the augmented copies of number `copy`."""
        import pyarrow.compute

        suffix, nothing = (pyarrow.scalar(text, pyarrow.large_string()) for text in (copy_suffix(copy), ""))
        ids = pyarrow.compute.binary_join_element_wise(self.ids(), suffix, nothing)
        return self.replaced(clip_id=ids, copy=np.full(len(self), copy, np.int32))

    def relabelled(self, labels: Sequence[str]) -> ClipTable:
        """Return the clips with the places of their labels in `labels`, which has all of them."""
        names = self.coded("label_name")
        index = np.array([labels.index(name) if name in labels else 0 for name in names.names], np.int32)
        label = index.take(names.codes)
        return self.replaced(label=label, label_name=CodedTexts(label, name_array(labels)))

    def replaced(self, **columns: Any) -> ClipTable:
        """Return the table with other columns; see `ClipColumns`."""
        return ClipTable(replace(self._columns.take(self._rows), **columns))


def unpacked_table(data: bytes) -> ClipTable:
    """Return a table from its pickle."""
    return ClipTable(ClipColumns.unpacked(data))
