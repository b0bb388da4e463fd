"""What the peers of the stage have in common: a stopwatch, and what they give back."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
NUM_SAMPLES_CHECKED = 6


class Stopwatch:
    """Tells the start of a session from the work: it runs from its making, by way of `started`, to `done`."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self.startup_s = self.work_s = 0.0

    def started(self) -> None:
        """The session is there; the work begins."""
        self.startup_s = time.perf_counter() - self._begun

    def done(self) -> None:
        """The work is done."""
        self.work_s = time.perf_counter() - self._begun - self.startup_s


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a pipeline made.

    `samples` are spectrograms by the path of their clip, for the check; `problem` is what it finds wrong itself.
    """

    num_clips: int
    watch: Stopwatch
    samples: Mapping[str, np.ndarray]
    facts: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


def list_clips(source: Path) -> list[str]:
    """Paths of the clips of a folder, sorted."""
    return sorted(str(path) for path in source.glob("[!_]*/*.wav"))


def some(items: Sequence[T]) -> Sequence[T]:
    """A few items, spread evenly: those whose output is checked."""
    return items[:: max(1, len(items) // NUM_SAMPLES_CHECKED)]
