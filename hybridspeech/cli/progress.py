"""Progress of a verb on stderr: bars on a terminal, else one line per finished stage. Knows nothing of what the verbs do."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

from hybridspeech.cli.terminal import wrapped
from hybridspeech.config import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


@dataclass
class _Stage:
    """A stage that has begun: its first and its latest progress, and when they were reported."""

    first: Progress
    last: Progress
    started: float = field(default_factory=time.monotonic)
    changed: float = 0.0
    task: TaskID | None = None

    @property
    def is_finished(self) -> bool:
        return self.last.done >= self.last.total

    @property
    def rate(self) -> str:
        """Units per second since the stage began, or empty."""
        seconds, done = self.changed - self.started, self.last.done - self.first.done
        return f"{done / seconds:,.0f} {self.last.unit}/s" if done > 0 and seconds > 0 else ""

    @property
    def summary(self) -> str:
        seconds = self.changed - self.started
        return f"{self.last.stage}: {self.last.done:,} {self.last.unit} in {seconds:.1f} s ({self.rate})"


class ProgressReporter:
    """An OnProgress for a terminal or a log, and a context manager. Stages may overlap, and calls may come from any thread.

    A finished stage leaves one line: the message that the verb sends with its end, else a summary.
    """

    def __init__(self) -> None:
        self._stages: dict[str, _Stage] = {}
        self._bars: Bars | None = None
        self._lock = threading.RLock()

    def __enter__(self) -> ProgressReporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._end_finished("")
            self._stages.clear()
            self._stop_bars()

    def __call__(self, progress: Progress) -> None:
        """Show one report of a verb."""
        with self._lock:
            self._end_finished(progress.stage)
            if progress.message:
                self._end(progress.stage)
                self._print(progress.message)
            elif progress.total:
                self._update(progress)

    def _update(self, progress: Progress) -> None:
        stage = self._stages.setdefault(progress.stage, _Stage(progress, progress))
        if progress.done != stage.last.done:
            stage.changed = time.monotonic()
        stage.last = progress
        if not sys.stderr.isatty():
            return
        if self._bars is None:
            self._bars = _make_bars()
            self._bars.start()
        if stage.task is None:
            stage.task = self._bars.add_task(progress.stage, total=progress.total, rate="", detail="")
        self._bars.update(
            stage.task,
            completed=progress.done,
            total=progress.total,
            rate=stage.rate,
            detail=progress.detail,
        )

    def _end_finished(self, but: str) -> None:
        """End the finished stages, with a summary each, except the one named."""
        for name in [name for name, stage in self._stages.items() if stage.is_finished and name != but]:
            stage = self._stages[name]
            self._end(name)
            if stage.last.done > stage.first.done:
                self._print(stage.summary)

    def _end(self, name: str) -> None:
        stage = self._stages.pop(name, None)
        if stage and self._bars and stage.task is not None:
            self._bars.remove_task(stage.task)
            if not self._stages:
                self._stop_bars()

    def _stop_bars(self) -> None:
        if self._bars:
            self._bars.stop()
            self._bars = None

    def _print(self, text: str) -> None:
        line = wrapped(text, sys.stderr, 2)
        if self._bars:
            self._bars.console.print(line, highlight=False, markup=False, soft_wrap=True)
        else:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


def _make_bars() -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    return Bars(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[detail]}"),
        console=Console(stderr=True),
        transient=True,
        expand=True,
    )
