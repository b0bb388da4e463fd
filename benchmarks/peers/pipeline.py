"""Shared by the peers of the stage: a stopwatch, and their result."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.cpu_time import cpu_s

T = TypeVar("T")
NUM_SAMPLES_CHECKED = 6


class Stopwatch:
    """Measures the start-up (from construction to `started`) and the work (from `started` to `done`) in seconds.

    `cpu_s` is the CPU time of the work, in this process and its descendants.
    """

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self.startup_s = self.work_s = self.cpu_s = 0.0

    def started(self) -> None:
        """Mark the end of the start-up."""
        self._cpu_before_s = cpu_s()
        self.startup_s = time.perf_counter() - self._begun

    def done(self) -> None:
        """Mark the end of the work."""
        self.work_s = time.perf_counter() - self._begun - self.startup_s
        self.cpu_s = cpu_s() - self._cpu_before_s


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Result of a pipeline.

    `samples` are spectrograms by the path of their clip, for the check; None if the pipeline computes other features and
    checks them itself. `problem` is an error that the pipeline found.
    """

    num_clips: int
    watch: Stopwatch
    samples: Mapping[str, np.ndarray] | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


def list_clips(source: Path) -> list[str]:
    """Return the sorted paths of the clips of a folder."""
    return sorted(str(path) for path in source.glob("[!_]*/*.wav"))


def some(items: Sequence[T]) -> Sequence[T]:
    """Return a few evenly spaced items, whose output is checked."""
    return items[:: max(1, len(items) // NUM_SAMPLES_CHECKED)]
