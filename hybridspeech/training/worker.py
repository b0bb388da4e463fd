"""The type of a training worker: a function of the plan and of its context. Knows nothing of TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.run_directory import RunDirectory


@dataclass(frozen=True, kw_only=True)
class WorkerContext:
    """Rank of a worker, 0 to num_workers - 1 (0 is the chief), and its reports to the driver.

    Parameters
    ----------
    shares_run : whether all ranks and the driver use the same folder `run`
    on_saved : called after a checkpoint is saved in `run`
    """

    rank: int
    num_workers: int
    run: RunDirectory
    shares_run: bool = True
    on_saved: Callable[[], None] = lambda: None

    @property
    def is_chief(self) -> bool:
        """Whether this rank publishes what all ranks compute."""
        return self.rank == 0

    def report(self, phase: str, step: int = 0) -> None:
        """Report progress to the driver; cheap enough for every second.

        Parameters
        ----------
        phase : feed, import, data, build, restore, step, validate or save
        """
        self.run.status.write(self.rank, state="running", phase=phase, step=step, waits=None)

    def report_wait(self, waits: str) -> None:
        """Report what the rank waits for, "data" or "step"; this does not count as progress."""
        progress_at = self.run.status.read(self.rank).get("at")
        self.run.status.write(self.rank, waits=waits, at=progress_at)


Worker = Callable[[TrainPlan, WorkerContext], WorkerReport]
