"""The run directory: the files that a training writes. No other module knows their names.

    RUN/
      plan.json          all settings, dataset digest, labels, versions; written first
      labels.txt         one label per line, in index order
      metrics.jsonl      one line per epoch: loss, accuracy, val_loss, val_accuracy, examples_per_s, seconds
      tensorboard/       the same curves as event files
      checkpoints/       epoch-NNNN/, epoch-NNNN-step-NNNNNN/: see `checkpoints`; published by rename
      model/             the trained weights, which exist when training has ended, and the temperature
      workers/           rank-NNN.log and launcher.log: output of each worker, and of the process that starts them; the
                         rest: see `worker_status`
      rejects.jsonl      `run` only: rejected clips, with the reason

Knows nothing of TensorFlow.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from hybridspeech.config import from_json, to_json
from hybridspeech.errors import RunError
from hybridspeech.storage.small_files import write_atomically
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.worker_status import WorkerStatus

PLAN_NAME = "plan.json"


class RunDirectory:
    """Paths and small files of one run; creating the object touches nothing on disk."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def plan_path(self) -> Path:
        return self.path / PLAN_NAME

    @property
    def labels_path(self) -> Path:
        return self.path / "labels.txt"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    def evaluation_dir(self, split: str) -> Path:
        """Return the folder for the results of `evaluate` on one split."""
        return self.path / f"evaluation-{split}"

    @property
    def tensorboard_dir(self) -> Path:
        return self.path / "tensorboard"

    @property
    def checkpoints_dir(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model_dir(self) -> Path:
        return self.path / "model"

    @property
    def workers_dir(self) -> Path:
        return self.path / "workers"

    @property
    def weights_path(self) -> Path:
        """Weights of the trained model, in the HDF5 format of tf_keras."""
        return self.model_dir / "model.weights.h5"

    @property
    def calibration_path(self) -> Path:
        """The temperature that the probabilities are scaled with; missing in runs of earlier versions."""
        return self.model_dir / "calibration.json"

    @property
    def status(self) -> WorkerStatus:
        """Messages between the ranks and the driver."""
        return WorkerStatus(self.workers_dir)

    @property
    def launcher_log_path(self) -> Path:
        """Output of the process that starts the workers."""
        return self.workers_dir / "launcher.log"

    @property
    def rejects_path(self) -> Path:
        return self.path / "rejects.jsonl"

    def log_path(self, rank: int) -> Path:
        return self.workers_dir / f"rank-{rank:03d}.log"

    def exists(self) -> bool:
        """Return whether a training was started here."""
        return self.plan_path.is_file()

    def is_finished(self) -> bool:
        """Return whether the trained weights exist."""
        return self.weights_path.is_file()

    def create(self, plan: TrainPlan) -> None:
        """Make the directory, write plan and labels, and remove unfinished files of an earlier attempt."""
        for leftover in (
            self.workers_dir,
            self.model_dir,
            *self.path.glob("checkpoints/.*.tmp"),
            *self.path.glob(".*.tmp"),
        ):
            shutil.rmtree(leftover, ignore_errors=True)
        for folder in (self.workers_dir, self.checkpoints_dir, self.tensorboard_dir):
            folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.labels_path, "".join(f"{label}\n" for label in plan.labels))
        write_atomically(self.plan_path, json.dumps(to_json(plan), indent=2) + "\n")

    def read_plan(self) -> TrainPlan:
        """Return the plan of this run.

        Raises
        ------
        RunError: there is none.
        """
        if not self.exists():
            found = "no plan.json in this folder" if self.path.is_dir() else "no such folder"
            raise RunError(f"{self.path}: {found}; expected a run directory written by `hybridspeech train`")
        return from_json(TrainPlan, json.loads(self.plan_path.read_text(encoding="utf-8")))

    def require_finished(self) -> TrainPlan:
        """Return the plan of a finished run.

        Raises
        ------
        RunError: there is no run, or its training has not ended.
        """
        plan = self.read_plan()
        if not self.is_finished():
            raise RunError(f"{self.path}: training has not ended; continue it with `hybridspeech train ... --resume`")
        return plan

    def append_metrics(self, row: Mapping[str, float]) -> None:
        """Append the metrics of one epoch."""
        with self.metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(to_json(row)) + "\n")

    def read_metrics(self) -> list[dict[str, float]]:
        """Return the metrics of the epochs so far; a line that is still being written is left out."""
        if not self.metrics_path.is_file():
            return []
        lines = self.metrics_path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def keep_metrics(self, epochs: int) -> None:
        """Remove the metrics after the first `epochs`: a resumed training computes these epochs again."""
        rows = self.read_metrics()[:epochs]
        write_atomically(self.metrics_path, "".join(json.dumps(row) + "\n" for row in rows))
