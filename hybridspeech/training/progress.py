"""Progress of a training as the driver reports it: phases of the chief, steps of the epoch, metrics of each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from hybridspeech.config import OnProgress, Progress
from hybridspeech.errors import counted
from hybridspeech.processes.periodic import PeriodicCall
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.run_directory import RunDirectory

POLL_S = 0.5
PHASES = {
    "feed": "waiting for the features",
    "import": "importing TensorFlow",
    "data": "reading the index of the shards",
    "build": "compiling the network",
    "restore": "restoring the checkpoint",
}
"""Messages for the phases of the chief that have no progress bar."""


class TrainingProgress:
    """Reads the run directory, and reports what is new there since the last call of `report`."""

    def __init__(self, run: RunDirectory, plan: TrainPlan, on_progress: OnProgress) -> None:
        self._run, self._plan, self._on_progress = run, plan, on_progress
        self._num_rows = len(run.read_metrics()) if plan.resume else 0
        self._phase = ""
        self._is_stopping = False

    def report(self) -> None:
        """Report the stop order, the epochs that have ended, and the state of the chief."""
        if self._run.status.is_stop_requested() and not self._is_stopping:
            self._is_stopping = True
            self._say("stop", "saving a checkpoint; press Ctrl-C again to end without it")
        rows = self._run.read_metrics()
        for row in rows[self._num_rows :]:
            self._say(self._stage(int(row["epoch"])), epoch_line(row, self._plan.fit.epochs))
        self._num_rows = max(self._num_rows, len(rows))
        status = self._run.status.read(0)
        phase, steps = status.get("phase"), status.get("steps_per_epoch")
        if phase in PHASES and phase != self._phase:
            self._say("start", PHASES[phase])
        elif phase in ("step", "validate") and steps and status.get("step"):
            self._report_step(status["step"], steps, rows, "validating" if phase == "validate" else "")
        self._phase = phase or ""

    def _report_step(self, step: int, steps: int, rows: Sequence[Mapping[str, float]], state: str) -> None:
        epoch, done = divmod(step - 1, steps)
        if epoch < len(rows):
            return  # the metrics of this epoch are there already
        batch = self._plan.fit.batch_size * self._plan.cluster.num_workers
        best = max((row.get("val_accuracy", row["accuracy"]) for row in rows), default=None)
        self._on_progress(
            Progress(
                stage=self._stage(epoch + 1),
                done=(done + 1) * batch,
                total=steps * batch,
                unit="examples",
                detail=state or (f"best {best:.3f}" if best is not None else ""),
            )
        )

    def _stage(self, epoch: int) -> str:
        return f"epoch {epoch}/{self._plan.fit.epochs}"

    def _say(self, stage: str, message: str) -> None:
        self._on_progress(Progress(stage=stage, message=message))


@contextmanager
def progress_reported(run: RunDirectory, plan: TrainPlan, on_progress: OnProgress) -> Iterator[None]:
    """Report the progress of a training until the context ends."""
    workers = counted(plan.cluster.num_workers, "worker")
    on_progress(Progress(stage="start", message=f"starting {workers} on {plan.backend}"))
    with PeriodicCall(TrainingProgress(run, plan, on_progress).report, POLL_S, "hybridspeech-progress"):
        yield


def epoch_line(row: Mapping[str, float], num_epochs: int) -> str:
    """Return the metrics of one epoch as one line of less than 80 characters."""
    validation = (
        f", val_loss {row['val_loss']:.4f}, val_accuracy {row['val_accuracy']:.3f}" if "val_loss" in row else ""
    )
    return f"epoch {row['epoch']:.0f}/{num_epochs}: loss {row['loss']:.4f}, accuracy {row['accuracy']:.3f}{validation}"
