"""The run directory: the files that a training writes. No other module knows their names.

    RUN/
      plan.json          all settings, dataset digest, labels, versions; written first
      labels.txt         one label per line, in index order
      metrics.jsonl      one line per epoch: loss, accuracy, val_loss, val_accuracy, examples_per_s, seconds
      tensorboard/       the same curves as event files
      initial/           copy of the weights that training started from, if it did not start from random ones
      rir/               room impulse responses of the augmentation, if there is reverberation
      negatives/         windows of sound without the words, and a table of their origins, if there are some
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
from dataclasses import replace
from pathlib import Path

from hybridspeech.clusters.spark_settings import is_secret
from hybridspeech.errors import ConfigError, RunError
from hybridspeech.models.custom_network import is_custom
from hybridspeech.records import from_json, override, to_json
from hybridspeech.storage.small_files import write_atomically
from hybridspeech.training.plan import MODEL_OF_EARLIER_VERSIONS, TrainPlan
from hybridspeech.training.worker_status import WorkerStatus

PLAN_NAME = "plan.json"
FINISHED_RUN_NAMES = (PLAN_NAME, "labels.txt", "metrics.jsonl", "model/", "evaluation-testing/metrics.json")
"""What other verbs read of a finished run."""
MAX_INPUT_VALUES = 1 << 26
"""Values of one spectrogram; a record of a shard can not hold more."""


class RunDirectory:
    """Paths and small files of one run; creating the object does not access the disk."""

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
    def initial_weights_path(self) -> Path:
        """Copy of the weights that training starts from; missing if these are random."""
        return self.path / "initial" / self.weights_path.name

    @property
    def responses_path(self) -> Path:
        """Room impulse responses of the augmentation, in NumPy's format; missing without reverberation."""
        return self.path / "rir" / "responses.npy"

    @property
    def negatives_path(self) -> Path:
        """Windows of sound without the words, in NumPy's format; missing without negatives. windows.csv is beside it."""
        return self.path / "negatives" / "windows.npy"

    @property
    def calibration_path(self) -> Path:
        """The temperature that the probabilities are scaled with; missing in runs of earlier versions."""
        return self.model_dir / "calibration.json"

    @property
    def thresholds_path(self) -> Path:
        """The thresholds of `listen`; missing until `evaluate --stream` has chosen some."""
        return self.model_dir / "thresholds.json"

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
        """Make the directory, write plan and labels, and remove unfinished files of an earlier attempt.

        Spark settings that hold secrets are not written.

        Raises
        ------
        RunError: a folder is at the place of a file, or a file at the place of a folder.
        """
        try:
            self._create(plan)
        except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
            place = error.filename2 or error.filename or self.path
            raise RunError(
                f"{place}: can't be written: {error.strerror}; remove it, or choose another run directory"
            ) from error

    def _create(self, plan: TrainPlan) -> None:
        for leftover in (
            self.workers_dir,
            self.model_dir,
            *self.path.glob("checkpoints/.*.tmp"),
            *self.path.glob(".*.tmp"),
        ):
            shutil.rmtree(leftover, ignore_errors=True)
        self.make_folders()
        write_atomically(self.labels_path, "".join(f"{label}\n" for label in plan.labels))
        record = to_json(plan)
        del record["store"], record["attempt"]  # of a process, not of the run
        record["cluster"]["conf"] = {key: each for key, each in plan.cluster.conf.items() if not is_secret(key)}
        write_atomically(self.plan_path, json.dumps(record, indent=2) + "\n")

    def make_folders(self) -> None:
        """Make the folders that a training writes to."""
        for folder in (self.workers_dir, self.checkpoints_dir, self.tensorboard_dir):
            folder.mkdir(parents=True, exist_ok=True)

    def read_plan(self) -> TrainPlan:
        """Return the plan of this run.

        Raises
        ------
        RunError: there is none, or it is damaged.
        """
        if not self.exists():
            reason = "no plan.json in this folder" if self.path.is_dir() else "no such folder"
            raise RunError(f"{self.path}: {reason}; expected a run directory that `hybridspeech train` has written")
        try:
            return from_json(TrainPlan, json.loads(self.plan_path.read_text(encoding="utf-8")))
        except (OSError, ValueError, OverflowError, RecursionError, ConfigError) as error:
            raise RunError(f"{self.plan_path}: is damaged ({str(error)[:200]}); train again") from error

    def require_finished(self, model: str | None = None) -> TrainPlan:
        """Return the plan of a finished run.

        Parameters
        ----------
        model : network of the run. It is needed for a custom network ("module:function"), which is code: the name in the
            plan alone imports nothing

        Raises
        ------
        RunError: there is no run, its training has not ended, or its plan is damaged. ConfigError: the run has a custom
        network that `model` does not name, or another network than `model`.
        """
        plan = self.read_plan()
        if not self.is_finished():
            raise RunError(f"{self.path}: training has not ended; continue it with `hybridspeech train ... --resume`")
        plan = replace(plan, model=override(MODEL_OF_EARLIER_VERSIONS, plan.model))
        self._check_sizes(plan)
        name = plan.model.name
        if is_custom(name) and model is None:
            raise ConfigError(
                f"{self.path}: was trained with the custom network {name!r}, which is code; name it again to import it: "
                f"--model {name}"
            )
        if model is not None and (is_custom(name) != is_custom(model) or (not is_custom(name) and model != name)):
            raise ConfigError(f"model is {model!r}, but {self.path} was trained with {name!r}")
        return replace(plan, model=replace(plan.model, name=model or name))

    def _check_sizes(self, plan: TrainPlan) -> None:
        """Raise RunError if the plan is not resolved, or its sizes do not fit together or exceed those of a record."""
        given = (plan.model.input_shape, plan.model.num_labels)
        expected = (plan.features.shape, len(plan.labels))
        if None in vars(plan.model).values():
            raise RunError(f"{self.plan_path}: is damaged (the model has settings without a value); train again")
        if given != expected:
            raise RunError(
                f"{self.plan_path}: is damaged (input shape and labels are {given}, but should be {expected})"
            )
        if plan.features.shape[0] * plan.features.shape[1] > MAX_INPUT_VALUES:
            raise RunError(f"{self.plan_path}: is damaged (spectrograms of {plan.features.shape} values are too large)")

    def append_metrics(self, row: Mapping[str, float]) -> None:
        """Append the metrics of one epoch."""
        with self.metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(to_json(row)) + "\n")

    def read_metrics(self) -> list[dict[str, float]]:
        """Return the metrics of the epochs so far; a line that is still being written is left out.

        Raises
        ------
        RunError: the file is damaged.
        """
        if not self.metrics_path.is_file():
            return []
        try:
            lines = self.metrics_path.read_text(encoding="utf-8").splitlines(keepends=True)
            return [_metrics_of(line) for line in lines if line.endswith("\n")]
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{self.metrics_path}: is damaged ({str(error)[:200]}); train again") from error

    def keep_metrics(self, epochs: int) -> None:
        """Remove the metrics after the first `epochs`: a resumed training computes these epochs again."""
        rows = self.read_metrics()[:epochs]
        write_atomically(self.metrics_path, "".join(json.dumps(row) + "\n" for row in rows))


def _metrics_of(line: str) -> dict[str, float]:
    """Return one line of metrics.jsonl; raise ValueError if it is no object of numbers with an epoch and a loss."""
    row = json.loads(line)
    if not isinstance(row, dict) or not {"epoch", "loss"} <= row.keys():
        raise ValueError(f"{line[:60]!r} has no epoch and loss")
    if not all(type(value) in (int, float) for value in row.values()):
        raise ValueError(f"{line[:60]!r} has values that are not numbers")
    return row
