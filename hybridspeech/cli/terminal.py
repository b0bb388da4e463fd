"""Prints results on stdout (JSON, fields, tables) and warnings on stderr. Knows nothing of what the verbs do."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from hybridspeech.records import to_json

NUMBER = re.compile(r"(-?[\d.,]+( %)?)?")
COLUMN_GAP = 2
PIPE_WIDTH = 10_000
"""Columns of a table that is not printed on a terminal: no row is wrapped."""


def print_json(result: Any) -> None:
    """Print a record as one line of JSON on stdout."""
    sys.stdout.write(json.dumps(to_json(result), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_text(text: str) -> None:
    """Print one line on stdout."""
    sys.stdout.write(f"{text}\n")


def print_warning(text: str) -> None:
    """Print a warning on stderr; on a terminal, it is wrapped between words."""
    sys.stderr.write(f"warning: {wrapped(text, sys.stderr, 9)}\n")


def print_fields(fields: Mapping[str, Any]) -> None:
    """Print names and values on stdout, aligned; on a terminal, values are wrapped between words."""
    indent = 2 + max(map(len, fields), default=0)
    for name, value in fields.items():
        print_text(f"{name:<{indent}}{wrapped(str(value), sys.stdout, indent)}".rstrip())


def print_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table on stdout, numbers right-aligned. In a file or a pipe, each row is one line, whatever its length.

    On a terminal that is too narrow, cells are wrapped between words, and the last columns are omitted if that is not enough.
    """
    from rich.console import Console
    from rich.table import Table

    columns = [[name, *(str(row[number]) for row in rows)] for number, name in enumerate(header)]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH
    table = Table(box=None, pad_edge=False, padding=(0, COLUMN_GAP, 0, 0))
    widths = _column_widths(columns, width)
    for (name, *cells), column_width in zip(columns, widths, strict=False):
        is_number = all(NUMBER.fullmatch(cell) for cell in cells)
        table.add_column(name, justify="right" if is_number else "left", width=column_width, overflow="fold")
    for row in zip(*(cells for _, *cells in columns[: len(widths)]), strict=True):
        table.add_row(*row)
    Console(file=sys.stdout, markup=False, highlight=False, width=width).print(table)


def _column_widths(columns: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return the widths of the first columns whose longest words fit beside each other; of the first one in any case.

    The space that is left widens the columns in their order, up to their longest cells.
    """
    longest_words = [max((len(word) for cell in cells for word in cell.split()), default=0) for cells in columns]
    longest_cells = [max(map(len, cells)) for cells in columns]
    widths = longest_words
    while len(widths) > 1 and sum(widths) + COLUMN_GAP * len(widths) > width:
        widths = widths[:-1]
    left = max(width - sum(widths) - COLUMN_GAP * len(widths), 0)
    for number, longest in enumerate(longest_cells[: len(widths)]):
        widened = min(longest - widths[number], left)
        widths[number] += widened
        left -= widened
    return widths


def wrapped(text: str, stream: TextIO, indent: int) -> str:
    """Return `text` wrapped between words to the width of the terminal that `stream` is; unchanged in a file or a pipe."""
    if not stream.isatty():
        return text
    width = max(shutil.get_terminal_size().columns - indent, 20)
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * indent}".join(lines)
