"""What the columns of a table mean, and where its paths start. Knows nothing of file formats and rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hybridspeech.storage.locations import parent_and_name

TEXT_FIELDS = ("path", "label", "speaker", "split", "valid")
SECOND_FIELDS = ("start", "duration", "end")
FIELDS = (*TEXT_FIELDS, *SECOND_FIELDS)
REQUIRED = ("path", "label")
INVALID = frozenset(("false", "0", "no", "f", "n"))
"""Values of a column `valid` that leave a row out, in lower case."""
GENERIC: Mapping[str, tuple[str, ...]] = {
    "path": ("path",),
    "label": ("label",),
    "speaker": ("speaker",),
    "split": ("split",),
    "start": ("start", "offset"),
    "duration": ("duration",),
    "end": ("end",),
}
"""Columns of a table of no known format."""
_ENDING = re.compile(r"\.\w{2,4}$")


@dataclass(frozen=True, kw_only=True)
class TableLayout:
    """What the columns of one table mean.

    Parameters
    ----------
    table : location of the table; a text such as "the DataFrame" for rows in memory
    root : folder or URL that ids are relative to
    columns : for each field, the names of its column; the first one that is there counts. Their case counts only if
        columns differ in nothing else
    required : fields that need a column, besides REQUIRED
    prefix : folder of relative paths, below `root`, with a slash; '' for `root` itself
    suffix : appended to a path without a file name ending
    split : split of all rows; '' if a column, or a rule, decides
    label_of : the label from the text of its column; '' leaves the row out
    transcripts : columns in which an empty text leaves the row out; in another column it is an error
    unknown_speaker : what stands for an unknown speaker, such as "NA"
    """

    table: str
    root: str
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: GENERIC)
    required: frozenset[str] = frozenset()
    prefix: str = ""
    suffix: str = ""
    split: str = ""
    label_of: Callable[[str], str] | None = None
    transcripts: frozenset[str] = frozenset()
    unknown_speaker: str = ""

    @classmethod
    def beside(cls, table: str) -> TableLayout:
        """Return the layout of a table of no known format; relative paths start at its folder."""
        return cls(table=table, root=parent_and_name(table)[0])

    def column_of(self, name: str, present: Sequence[str]) -> str | None:
        """Return the column of a field among those that are present; None if there is none."""
        if name not in self.columns:
            return None
        return column_among(self.columns[name], present)

    def located(self, path: str) -> str:
        """Return a path with what the format leaves out: the folder, and the file name ending."""
        if not path.strip():
            return path
        if self.suffix and not _ENDING.search(path):
            path += self.suffix
        is_relative = not path.startswith("/") and "://" not in path
        return self.prefix + path if self.prefix and is_relative else path


def column_among(wanted: Sequence[str], present: Sequence[str]) -> str | None:
    """Return the first of the wanted columns that is present, in its own spelling; None if there is none."""
    for name in wanted:
        if name in present:
            return name
        same = [each for each in present if each.strip().lower() == name.lower()]
        if len(same) == 1:
            return same[0]
    return None
