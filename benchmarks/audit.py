"""Measures how many planted faults `inspect --audit` finds: precision and recall of each kind."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.planted_faults import Fault, plant
from hybridspeech.commands.inspect import inspect
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.config import EngineConfig, FeatureConfig, OnProgress
from hybridspeech.evaluation.audit.findings import KINDS
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.processes.resources import num_cores

HEADER = ("seed", "kind", "planted", "found", "recall", "precision", "precision without the recordings' own")


@dataclass(frozen=True, kw_only=True)
class Score:
    """How well one kind of fault was found.

    Parameters
    ----------
    planted, hits : number of planted faults, and of those that were found
    found, own : number of findings, and of those that the audit of the recordings without planted faults has too
    other : number of findings that are neither planted nor in that audit
    """

    seed: int
    kind: str
    planted: int
    hits: int
    found: int
    own: int
    other: int

    def row(self) -> tuple[str, ...]:
        """Return the cells of a table, as HEADER."""
        right = self.found - self.own - self.other
        new = right + self.other
        shares = (self.hits / self.planted, right / self.found if self.found else 0.0, right / new if new else 0.0)
        return str(self.seed), self.kind, str(self.planted), str(self.found), *(f"{share:.2f}" for share in shares)


def measure_audit(
    source: Path, scratch: Path, seeds: Sequence[int], check_labels: bool, on_progress: OnProgress
) -> list[Score]:
    """Audit a folder of words as it is, without its labels, and with planted faults by each seed."""
    own = {(row["kind"], row["clip_id"]) for row in _audit(source, scratch / "own", False, on_progress)}
    scores: list[Score] = []
    for seed in seeds:
        folder = scratch / f"seed-{seed}"
        faults = plant(source, folder / "words", seed)
        (folder / "faults.json").write_text(json.dumps([asdict(fault) for fault in faults], indent=1))
        rows = _audit(folder / "words", folder, check_labels, on_progress)
        kinds = [kind for kind in KINDS if check_labels or kind != "label-doubt"]
        scores += [score_kind(seed, kind, faults, rows, own) for kind in kinds]
    return scores


def _audit(source: Path, folder: Path, check_labels: bool, on_progress: OnProgress) -> list[dict[str, str]]:
    preprocess(
        source,
        folder / "shards",
        features=FeatureConfig(kind="waveform"),
        manifest=ManifestConfig(allow_speaker_overlap=True),  # a duplicate may bear the name of another speaker
        engine="local",
        engine_config=EngineConfig(executor_cores=num_cores()),
        on_progress=on_progress,
    )
    table = folder / "audit.csv"
    inspect(folder / "shards", audit=table, check_labels=check_labels, on_progress=on_progress)
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def score_kind(
    seed: int, kind: str, faults: Iterable[Fault], rows: Iterable[dict[str, str]], own: Collection[tuple[str, str]]
) -> Score:
    """Compare the table of an audit with the planted faults of one kind.

    A duplicate is found by either of its two clips; one of a changed bandwidth is a clip of a low sample rate too."""
    faults = list(faults)
    names = {fault.clip_id: fault.original for fault in faults if fault.kind == "label-doubt"}
    planted = [fault for fault in faults if fault.kind == kind]
    found = {row["clip_id"] for row in rows if row["kind"] == kind}
    pairs = [{fault.clip_id, *([fault.original] if kind.endswith("duplicate") else [])} for fault in planted]
    right = set[str]().union(*pairs)
    if kind == "low-rate":
        right |= {fault.clip_id for fault in faults if fault.form == "8 kHz"}
    extra = found - right
    known = {clip_id for clip_id in extra if (kind, names.get(clip_id, clip_id)) in own}
    return Score(
        seed=seed,
        kind=kind,
        planted=len(planted),
        hits=sum(bool(pair & found) for pair in pairs),
        found=len(found),
        own=len(known),
        other=len(extra - known),
    )
