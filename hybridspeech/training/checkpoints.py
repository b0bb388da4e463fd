"""The checkpoints of a run: what they hold, when they are complete, which are kept, and where training continues.

    RUN/checkpoints/epoch-0003/             after three epochs
    RUN/checkpoints/epoch-0003-step-000200/ after three epochs and 200 steps of the fourth

Each holds weights, optimizer, step, and the metrics of an unfinished epoch. Every rank takes part in saving, since reading
BatchNorm statistics is a collective; the copy of the chief is published by rename, those of the others are deleted, unless
each rank has a folder of its own, to which it may have to return. Knows nothing of networks and data.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridspeech.errors import RunError
from hybridspeech.training.run_directory import RunDirectory

_NAME = re.compile(r"epoch-(\d+)(?:-step-(\d+))?")


@dataclass(frozen=True, order=True)
class Place:
    """Progress of a training: whole epochs, and steps of the next epoch."""

    epochs: int = 0
    steps: int = 0

    @property
    def name(self) -> str:
        """Name of its checkpoint."""
        return f"epoch-{self.epochs:04d}" + (f"-step-{self.steps:06d}" if self.steps else "")


def places(run: RunDirectory) -> list[Place]:
    """Return the places of the complete checkpoints of a run, in the order of training."""
    found = map(place_of, (path.name for path in run.checkpoints_dir.glob("epoch-*")))
    return sorted(place for place in found if place)


def place_of(name: str) -> Place | None:
    """Return the place of the checkpoint with this name; None for other names."""
    match = _NAME.fullmatch(name)
    return Place(int(match[1]), int(match[2] or 0)) if match else None


class Checkpoints:
    """Saves and restores objects of one rank that TensorFlow can track (`tf.train.Checkpoint`).

    Parameters
    ----------
    is_kept : whether the files of this rank are kept
    keep : number of last checkpoints that are kept; the checkpoint of the best epoch is kept too
    on_saved : called when a checkpoint is kept
    """

    def __init__(
        self, run: RunDirectory, *, is_kept: bool, keep: int, on_saved: Callable[[], None], **tracked: Any
    ) -> None:
        import tensorflow as tf

        self._run, self._is_kept, self._keep, self._on_saved = run, is_kept, keep, on_saved
        self._tracked = tf.train.Checkpoint(**tracked)

    def save(self, place: Place, before_publishing: Callable[[], None] = lambda: None) -> None:
        """Save all; every rank calls it at the same step. `before_publishing` is called when all is written and kept."""
        with published(self._run.checkpoints_dir / place.name, self._is_kept) as folder:
            self._tracked.write(str(folder / "state"))
            if self._is_kept:
                before_publishing()
        if self._is_kept:
            self._prune()
            self._on_saved()

    def restore(self) -> Place:
        """Restore the last checkpoint, if there is one; return where training continues.

        Raises
        ------
        RunError: it is damaged.
        """
        found = places(self._run)
        if not found:
            return Place()
        path = self._run.checkpoints_dir / found[-1].name
        try:
            self._tracked.read(str(path / "state")).assert_consumed()
        except Exception as error:
            raise RunError(f"{path}: this checkpoint can not be read ({error}); remove it and resume again") from error
        return found[-1]

    def restore_again(self, place: Place, **tracked: Any) -> None:
        """Restore some of the objects from the checkpoint of a place."""
        import tensorflow as tf

        state = self._run.checkpoints_dir / place.name / "state"
        tf.train.Checkpoint(**tracked).read(str(state)).expect_partial()

    def _prune(self) -> None:
        found = places(self._run)
        best = Place(best_epoch(self._run))
        for place in found[: -self._keep]:
            if place != best:
                shutil.rmtree(self._run.checkpoints_dir / place.name)


def best_epoch(run: RunDirectory) -> int:
    """Return the best epoch (counted from 1) of the metrics of a run; 0 if there is none."""
    return best_of(run.read_metrics())


def best_of(rows: Sequence[Mapping[str, float]]) -> int:
    """Return the epoch (counted from 1) with the lowest validation loss, or loss without validation; 0 without rows."""
    return int(min(rows, key=lambda row: row.get("val_loss", row["loss"]))["epoch"]) if rows else 0


@contextmanager
def published(target: Path, is_kept: bool) -> Iterator[Path]:
    """Yield a folder to write into, which becomes `target` at the end, or is deleted."""
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent if is_kept else None))
    try:
        yield folder
        if is_kept:
            shutil.rmtree(target, ignore_errors=True)
            folder.chmod(0o755)
            folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
