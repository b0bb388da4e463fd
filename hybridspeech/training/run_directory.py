"""The run directory: what training leaves behind. The only module that knows its file names.

    RUN/
      plan.json          all settings, dataset digest, labels, versions; written first
      labels.txt         one label a line, in index order
      metrics.jsonl      one line an epoch: loss, accuracy, val_loss, val_accuracy, examples_per_s, seconds
      tensorboard/       the same curves as event files
      checkpoints/       epoch-NNNN/, epoch-NNNN-step-NNNNNN/: see `checkpoints`; published by rename
      model/             the trained model as a SavedModel plus weights; its presence means: training ended
      workers/           rank-NNN.json status, rank-NNN.log and rank-NNN.last of each worker; feed*.json: how far a
                         feed is; stop, stop-at: see `stopping`
      rejects.jsonl      of `run`: clips that could not be used, with the reason

Knows nothing of TensorFlow.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybridspeech.config import from_json, to_json
from hybridspeech.errors import RunError
from hybridspeech.storage.small_files import write_atomically
from hybridspeech.training.plan import TrainPlan

PLAN_NAME = "plan.json"
ROOM_BYTES = 8192
"""What is kept for the last word of a rank: on a full disk nothing can be written but over what is there already.

A cause has at most 1,000 characters (`one_line`), of six bytes each in JSON.
"""


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
        """Where `evaluate` puts the metrics of one split."""
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
        """Weights of the trained model, in the HDF5 format of tf_keras (no code inside)."""
        return self.model_dir / "model.weights.h5"

    def status_path(self, rank: int) -> Path:
        return self.workers_dir / f"rank-{rank:03d}.json"

    def _room_path(self, rank: int) -> Path:
        return self.workers_dir / f"rank-{rank:03d}.last"

    @property
    def launcher_log_path(self) -> Path:
        """Output of the process that starts the workers."""
        return self.workers_dir / "launcher.log"

    @property
    def feed_path(self) -> Path:
        """How far the features are that are fed to the workers."""
        return self.workers_dir / "feed.json"

    @property
    def rejects_path(self) -> Path:
        return self.path / "rejects.jsonl"

    def log_path(self, rank: int) -> Path:
        return self.workers_dir / f"rank-{rank:03d}.log"

    def exists(self) -> bool:
        """Whether a run was begun here."""
        return self.plan_path.is_file()

    def is_finished(self) -> bool:
        """Whether the trained model is there."""
        return self.weights_path.is_file()

    def create(self, plan: TrainPlan) -> None:
        """Make the directory and write the plan and the labels; what an earlier attempt left unfinished is removed."""
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
        """The plan of this run.

        Raises
        ------
        RunError: there is none.
        """
        if not self.exists():
            raise RunError(f"{self.path}: no plan.json here; expected a folder that `hybridspeech train` has written")
        return from_json(TrainPlan, json.loads(self.plan_path.read_text(encoding="utf-8")))

    def require_finished(self) -> TrainPlan:
        """The plan of a run whose model is there.

        Raises
        ------
        RunError: no run, or its training has not ended.
        """
        plan = self.read_plan()
        if not self.is_finished():
            raise RunError(f"{self.path}: training has not ended; go on with `hybridspeech train ... --resume`")
        return plan

    def append_metrics(self, row: Mapping[str, float]) -> None:
        """Add one epoch's line to metrics.jsonl."""
        with self.metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(to_json(row)) + "\n")

    def read_metrics(self) -> list[dict[str, float]]:
        """The epochs so far; a line that is still being written is left out."""
        if not self.metrics_path.is_file():
            return []
        lines = self.metrics_path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def keep_metrics(self, epochs: int) -> None:
        """Forget the lines after the first `epochs`: they belong to work that a resume will do again."""
        rows = self.read_metrics()[:epochs]
        write_atomically(self.metrics_path, "".join(json.dumps(row) + "\n" for row in rows))

    def write_status(self, rank: int, **fields: Any) -> None:
        """Merge `fields` into the status of one rank. Only that rank writes it."""
        status = {**_read_json(self.status_path(rank)), "at": time.time(), **fields, "rank": rank}
        write_atomically(self.status_path(rank), json.dumps(status))

    def keep_room(self, rank: int) -> None:
        """Take the room on the disk that `write_last_word` may need."""
        self._room_path(rank).write_bytes(b"{}".ljust(ROOM_BYTES))

    def write_last_word(self, rank: int, *, cause: str, **fields: Any) -> None:
        """Say that a rank has failed and why, as `write_status` does; on a full disk without the further `fields`."""
        said = {"state": "failed", "cause": cause, "failed_at": time.time()}
        try:
            self.write_status(rank, **said, **fields)
        except OSError:
            with self._room_path(rank).open("r+b") as file:
                file.write(json.dumps(said).encode())

    def read_status(self, rank: int) -> dict[str, Any]:
        """Last status of one rank; empty if it has not spoken yet."""
        status = _read_json(self.status_path(rank))
        with contextlib.suppress(json.JSONDecodeError):  # a word that is being written
            status |= _read_json(self._room_path(rank))
        return status

    @property
    def _stop_request_path(self) -> Path:
        return self.workers_dir / "stop"

    @property
    def _stop_order_path(self) -> Path:
        return self.workers_dir / "stop-at"

    def forget_workers(self, num_workers: int) -> None:
        """Remove what the ranks of an earlier attempt have said, and what they were told: it would be taken for this one's."""
        self.workers_dir.mkdir(parents=True, exist_ok=True)
        for rank in range(num_workers):
            self.status_path(rank).unlink(missing_ok=True)
            self._room_path(rank).unlink(missing_ok=True)
        for path in self.workers_dir.glob("feed*.json"):
            path.unlink(missing_ok=True)
        self._stop_request_path.unlink(missing_ok=True)
        self._stop_order_path.write_bytes(
            b""
        )  # NFS asks the server anew for a file that is there, not for a missing one

    def request_stop(self) -> None:
        """Ask the chief to let all ranks save and stop; the driver calls it."""
        self._stop_request_path.touch()

    def is_stop_requested(self) -> bool:
        """Whether the driver has asked."""
        return self._stop_request_path.exists()

    def order_stop(self, look: int) -> None:
        """Tell all ranks at which of their looks to stop; the chief calls it. Written in place, for the same reason."""
        self._stop_order_path.write_text(f"{look}\n", encoding="ascii")

    def stop_ordered_at(self) -> int | None:
        """What the chief has told, if it has."""
        try:
            text = self._stop_order_path.read_text(encoding="ascii")
        except FileNotFoundError:
            return None
        return int(text) if text.endswith("\n") else None

    def write_feed(self, **fields: Any) -> None:
        """Say how far the features are that are fed to the workers. Only the driver writes it."""
        write_atomically(self.feed_path, json.dumps(fields))

    def read_feed(self) -> dict[str, Any]:
        """What `write_feed` was last given; empty if nothing is fed."""
        return _read_json(self.feed_path)

    def write_feeder(self, rank: int, round_: int) -> None:
        """Say that the task which feeds a rank has started, in this round of the feed. Only that task writes it."""
        write_atomically(self.workers_dir / f"feeder-{rank:03d}.json", json.dumps({"round": round_}))

    def read_feeder(self, rank: int) -> int:
        """The last round in which a task has started that feeds a rank; 0 if none has."""
        return int(_read_json(self.workers_dir / f"feeder-{rank:03d}.json").get("round", 0))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return content
