"""How verbs look on a terminal: results on stdout, progress on stderr. Knows nothing of what the verbs do."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from hybridspeech.config import Progress, to_json

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


PIPE_WIDTH = 10_000
"""Columns of a table that is not printed on a terminal: no row is wrapped."""


class ProgressReporter:
    """An OnProgress for people: a bar with rate and time left on a terminal, else one line a stage. A context manager."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.bar: Bar | None = None
        self.task: TaskID | None = None
        self.stage = ""
        self.started = time.monotonic()
        self.done_before = 0

    def __enter__(self) -> ProgressReporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_bar()

    def __call__(self, progress: Progress) -> None:
        if self.quiet:
            return
        if progress.stage != self.stage:
            self._close_bar()
            self.stage, self.started, self.done_before = progress.stage, time.monotonic(), progress.done
        if progress.message:
            self._line(progress.message)
        elif sys.stderr.isatty():
            self._draw(progress)
        elif progress.total and progress.done >= progress.total:
            self._summarise(progress)

    def _line(self, text: str) -> None:
        if self.bar:
            self.bar.console.print(text, highlight=False, markup=False)
        else:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def _draw(self, progress: Progress) -> None:
        if self.bar is None:
            self.bar = _make_bar(progress.unit)
            self.task = self.bar.add_task(progress.stage, total=progress.total, completed=progress.done, rate="")
            self.bar.start()
        assert self.task is not None
        self.bar.update(self.task, completed=progress.done, total=progress.total, rate=self._rate(progress))
        if progress.done >= progress.total:
            self._close_bar()
            self._summarise(progress)

    def _rate(self, progress: Progress) -> str:
        seconds = time.monotonic() - self.started
        done = progress.done - self.done_before
        return f"{done / seconds:,.0f} {progress.unit}/s" if done and seconds > 0 else ""

    def _summarise(self, progress: Progress) -> None:
        if progress.done > self.done_before:
            seconds = time.monotonic() - self.started
            self._line(
                f"{progress.stage}: {progress.done:,} {progress.unit} in {seconds:.1f} s ({self._rate(progress)})"
            )

    def _close_bar(self) -> None:
        if self.bar:
            self.bar.stop()
            self.bar, self.task = None, None


def _make_bar(unit: str) -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def print_json(result: Any) -> None:
    """Print a record as one line of JSON on stdout."""
    sys.stdout.write(json.dumps(to_json(result), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_text(text: str) -> None:
    """Print one line on stdout."""
    sys.stdout.write(f"{text}\n")


def print_fields(fields: Mapping[str, Any]) -> None:
    """Print names and values on stdout, aligned; on a terminal, values are wrapped between words."""
    indent = 2 + max(map(len, fields), default=0)
    for name, value in fields.items():
        print_text(f"{name:<{indent}}{wrapped(str(value), sys.stdout, indent)}".rstrip())


def print_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table on stdout: the first column is left-aligned, the others are right-aligned.

    In a file or a pipe, each row is one line, whatever its length.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    is_terminal = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD if is_terminal else None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left", no_wrap=not is_terminal)
    for row in rows:
        table.add_row(*map(str, row))
    console = Console(file=sys.stdout, markup=False, highlight=False, width=None if is_terminal else PIPE_WIDTH)
    console.print(table)


def wrapped(text: str, stream: TextIO, indent: int) -> str:
    """Return `text` wrapped between words to the width of the terminal that `stream` is; unchanged in a file or a pipe."""
    if not stream.isatty():
        return text
    width = max(shutil.get_terminal_size().columns - indent, 20)
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * indent}".join(lines)
