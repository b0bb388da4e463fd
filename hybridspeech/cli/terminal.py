"""How verbs look on a terminal: results on stdout, progress on stderr. Knows nothing of what the verbs do."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hybridspeech.config import Progress, to_json

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


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
    """The returned record as one JSON object on stdout."""
    sys.stdout.write(json.dumps(to_json(result), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_text(text: str) -> None:
    """A line of a result for people, on stdout."""
    sys.stdout.write(f"{text}\n")


def print_fields(fields: Mapping[str, Any]) -> None:
    """Names and values, aligned, on stdout."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        print_text(f"{name:<{width}}  {value}")


def print_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A plain table: the first column to the left, the others to the right."""
    cells = [list(map(str, header)), *[list(map(str, row)) for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        first, *rest = (
            f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print_text("  ".join([first, *rest]).rstrip())
