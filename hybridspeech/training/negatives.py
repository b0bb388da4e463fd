"""Negatives of a training: windows of sound without the words of the run, which fill up each batch.

The driver writes them into the run directory, which every rank reads, on any host. A restart or a resume does not need the
recordings. Knows nothing of how they are found, of clusters and of TensorFlow.
"""

from __future__ import annotations

import csv
import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridspeech.errors import RunError
from hybridspeech.shards.checksums import Checksum
from hybridspeech.storage.locations import normalized
from hybridspeech.training.plan import NegativeWindows, TrainPlan
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.stored_run import check_same_source, stored_plan

MAX_BYTES = 1 << 28
"""Most sound of all negatives together, in bytes: 8,388 windows of 1 s at 16 kHz. Ranks map the file into memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a negative comes from.

    Parameters
    ----------
    file : path of the recording below the folder that was given, or the id of a clip of shards
    start_s : first sample of the window, in seconds of the recording
    label : label that it has in the training
    score : highest probability of a word of the run, 0 to 1; None: no network was used
    """

    file: str
    start_s: float
    label: str
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class FoundNegatives:
    """Negatives of a new training; `windows` is int16 [shape=(count, num_samples)], and `origins` has as many."""

    windows: np.ndarray
    origins: Sequence[Origin]

    def by_label(self) -> FoundNegatives:
        """Return the same with all windows of one label together."""
        order = np.argsort([origin.label for origin in self.origins], kind="stable")
        return FoundNegatives(windows=self.windows[order], origins=[self.origins[index] for index in order])

    def record(self, source: str) -> NegativeWindows:
        """Return the record for the plan; all windows of one label are together."""
        counts = Counter(origin.label for origin in self.origins)
        return NegativeWindows(source=source, counts=dict(counts), checksum=_checksum(self.windows))


@dataclass(frozen=True, kw_only=True)
class NegativeBatches:
    """The negatives of each batch. A window is used once before any is used again, over all ranks and epochs.

    Parameters
    ----------
    windows, labels : int16 [shape=(count, num_samples)]; int32 [shape=(count,)], indices
    per_batch : number of windows of a batch
    """

    windows: np.ndarray
    labels: np.ndarray
    per_batch: int
    seed: int

    def batch(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return windows, labels and ids of one batch.

        Parameters
        ----------
        number : of the batch among those of all epochs and ranks

        Returns
        -------
        int16 [shape=(per_batch, num_samples)], int32 [shape=(per_batch,)], bytes [shape=(per_batch,)]
        """
        places = int(number) * self.per_batch + np.arange(self.per_batch)
        rounds, offsets = np.divmod(places, len(self.windows))
        chosen = [
            int(_order(len(self.windows), self.seed, int(each))[offset])
            for each, offset in zip(rounds, offsets, strict=True)
        ]
        ids = [f"negative {index} {each}".encode() for index, each in zip(chosen, rounds, strict=True)]
        return self.windows[chosen], self.labels[chosen], np.array(ids)


@functools.lru_cache(maxsize=4)
def _order(count: int, seed: int, number: int) -> np.ndarray:
    """Return the order of the windows in one round; a batch may need the orders of several."""
    return np.random.default_rng((seed, number)).permutation(count)


def planned_negatives(source: str | Path | None, run: str | Path, *, resume: bool) -> NegativeWindows | None:
    """Return the record of the negatives of a training: that of a resumed run, or one whose windows are to be found.

    Raises
    ------
    RunError: `run` was started with other negatives.
    """
    plan = stored_plan(run) if resume else None
    if plan is None:
        return None if source is None else NegativeWindows(source=normalized(source))
    started_with = plan.negatives.source if plan.negatives else ""
    check_same_source(source, started_with, run=run, name="negatives", option="--negatives")
    return plan.negatives


def write_negatives(found: FoundNegatives, directory: RunDirectory) -> None:
    """Write the negatives, and a table of their origins, into a new run; the file of the windows appears whole, and last."""
    target = directory.negatives_path
    target.parent.mkdir(exist_ok=True)
    with target.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("file", "start_s", "label", "score"))
        for origin in found.origins:
            score = "" if origin.score is None else f"{origin.score:.6f}"
            table.writerow((origin.file, f"{origin.start_s:.3f}", origin.label, score))
    draft = target.with_name(f".{target.name}.tmp")
    with draft.open("wb") as content:
        np.save(content, found.windows.astype("<i2", copy=False), allow_pickle=False)
    draft.replace(target)


def load_negatives(plan: TrainPlan, directory: RunDirectory) -> NegativeBatches | None:
    """Return the negatives of a training; None if it has none. Every rank calls it.

    Raises
    ------
    RunError: the file is missing or damaged.
    """
    record, path = plan.negatives, directory.negatives_path
    if record is None:
        return None
    try:
        windows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        windows = np.empty(0, np.int16)
    if _checksum(windows) != record.checksum:
        raise RunError(f"{path}: the copy of the negatives is missing or damaged; start again with --overwrite")
    labels = np.repeat([plan.labels.index(label) for label in record.counts], list(record.counts.values()))
    return NegativeBatches(
        windows=windows, labels=labels.astype(np.int32), per_batch=plan.num_negatives, seed=plan.fit.seed
    )


def _checksum(windows: np.ndarray) -> str:
    checksum = Checksum()
    checksum.update(np.ascontiguousarray(windows, "<i2").reshape(-1).view(np.uint8).data)
    return str(checksum)
