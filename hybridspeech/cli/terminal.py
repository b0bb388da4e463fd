"""Prints results on stdout (JSON, fields, tables) and warnings on stderr. Knows nothing of what the verbs do."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from hybridspeech.config import to_json

NUMBER = re.compile(r"(-?[\d.,]+( %)?)?")
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
    """Print a table on stdout, numbers right-aligned. In a file or a pipe, each row is one line, whatever its length."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    is_terminal = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD if is_terminal else None, pad_edge=False, padding=(0, 2, 0, 0))
    cells = [[str(cell) for cell in row] for row in rows]
    for number, name in enumerate(header):
        is_number = all(NUMBER.fullmatch(row[number]) for row in cells)
        table.add_column(name, justify="right" if is_number else "left", no_wrap=not is_terminal, overflow="fold")
    for row in cells:
        table.add_row(*row)
    console = Console(file=sys.stdout, markup=False, highlight=False, width=None if is_terminal else PIPE_WIDTH)
    console.print(table)


def wrapped(text: str, stream: TextIO, indent: int) -> str:
    """Return `text` wrapped between words to the width of the terminal that `stream` is; unchanged in a file or a pipe."""
    if not stream.isatty():
        return text
    width = max(shutil.get_terminal_size().columns - indent, 20)
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * indent}".join(lines)
