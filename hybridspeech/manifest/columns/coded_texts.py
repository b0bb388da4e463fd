"""A column of texts with few distinct values, such as labels: each distinct text is stored once.

Knows nothing of clips and tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class CodedTexts:
    """A column of texts: text i is ``names[codes[i]]``.

    Parameters
    ----------
    codes : int32 [shape=(num_texts,)]
    names : object [shape=(num_names,)], distinct texts; some may be unused
    """

    codes: np.ndarray
    names: np.ndarray

    @classmethod
    def of(cls, texts: Iterable[str]) -> CodedTexts:
        """Return the column of these texts."""
        code_of: dict[str, int] = {}
        codes = np.fromiter((code_of.setdefault(text, len(code_of)) for text in texts), np.int32)
        return cls(codes, name_array(code_of))

    @classmethod
    def constant(cls, text: str, count: int) -> CodedTexts:
        """Return `count` times the same text."""
        return cls(np.zeros(count, np.int32), name_array([text]))

    @classmethod
    def of_arrow(cls, column: Any) -> CodedTexts:
        """Return the texts of an Arrow array of text or of a dictionary of texts; '' for nulls."""
        import pyarrow

        encoded = column if pyarrow.types.is_dictionary(column.type) else column.dictionary_encode()
        names = encoded.dictionary.to_pylist()
        codes = encoded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False).astype(np.int32)
        return cls(codes, name_array([*names, ""])).mapped(str)

    @classmethod
    def concat(cls, columns: Sequence[CodedTexts]) -> CodedTexts:
        """Return the texts of all columns, in order."""
        code_of: dict[str, int] = {}
        codes = [np.zeros(0, np.int32)]
        for column in columns:
            own = [code_of.setdefault(name, len(code_of)) for name in column.names.tolist()]
            codes.append(np.array(own, np.int32)[column.codes])
        return cls(np.concatenate(codes), name_array(code_of))

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: np.ndarray) -> CodedTexts:
        """Return the texts at these places."""
        return CodedTexts(self.codes.take(rows), self.names)

    def tolist(self) -> list[str]:
        """Return all texts."""
        texts: list[str] = self.names.take(self.codes).tolist()
        return texts

    def counts(self) -> Counter[str]:
        """Count each distinct text."""
        found = np.bincount(self.codes, minlength=len(self.names)).tolist()
        return Counter({name: count for name, count in zip(self.names.tolist(), found, strict=True) if count})

    def used(self) -> list[str]:
        """Return the distinct texts that occur."""
        found: list[str] = self.names[np.bincount(self.codes, minlength=len(self.names)) > 0].tolist()
        return found

    def is_in(self, texts: Collection[str]) -> np.ndarray:
        """Return bool [shape=(num_texts,)]: where the text is one of these."""
        return np.fromiter((name in texts for name in self.names), bool, len(self.names)).take(self.codes)

    def mapped(self, change: Callable[[str], str]) -> CodedTexts:
        """Return the column with each text changed; `change` is called once per distinct text."""
        named = CodedTexts.of(map(change, self.names.tolist()))
        return CodedTexts(named.codes.take(self.codes), named.names)

    def compact(self) -> CodedTexts:
        """Return the same column without unused names."""
        if len(self.names) > len(self.codes):  # a few clips of a large table
            used, codes = np.unique(self.codes, return_inverse=True)
            return CodedTexts(codes.astype(np.int32), self.names[used])
        is_used = np.bincount(self.codes, minlength=len(self.names)) > 0
        if is_used.all():
            return self
        return CodedTexts((np.cumsum(is_used, dtype=np.int32) - 1).take(self.codes), self.names[is_used])


def name_array(names: Iterable[str | bytes]) -> np.ndarray:
    """Return texts as object [shape=(num_names,)]."""
    found = list(names)
    array = np.empty(len(found), object)
    array[:] = found
    return array
