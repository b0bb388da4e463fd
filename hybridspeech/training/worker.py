"""What a training worker is to a backend: a function of the plan and of where it stands. Knows nothing of TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.run_directory import RunDirectory


@dataclass(frozen=True, kw_only=True)
class WorkerContext:
    """Where a worker stands: its rank in 0 .. num_workers - 1 (0 is the chief), and how it says what it is doing."""

    rank: int
    num_workers: int
    run: RunDirectory

    @property
    def is_chief(self) -> bool:
        """Whether this rank publishes what all ranks compute."""
        return self.rank == 0

    def say(self, phase: str, step: int = 0) -> None:
        """Sign of life, cheap enough for every second.

        `phase` is one of feed, import, data, build, restore, step, validate, save.
        """
        self.run.write_status(self.rank, state="running", phase=phase, step=step, waits=None)

    def wait_in(self, waits: str) -> None:
        """Say for what the phase lasts, "data" or "step", without giving a sign of life."""
        said_at = self.run.read_status(self.rank).get("at")
        self.run.write_status(self.rank, waits=waits, at=said_at)


Worker = Callable[[TrainPlan, WorkerContext], WorkerReport]
