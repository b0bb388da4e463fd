"""Results of a measurement, a case and a run. Frozen records with a JSON form."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hybridspeech.errors import ConfigError
from hybridspeech.records import from_json, to_json
from hybridspeech.storage.small_files import write_atomically

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Job:
    """One repeat of one peer: call ``target`` ("module:function") with `source`, a scratch folder and `settings`."""

    target: str
    source: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of the function of a case.

    Parameters
    ----------
    value : steady state, in the unit of the case
    startup_s : time before the work, such as imports, compilation, the start of a cluster
    facts : further values, such as error_db or bytes_per_clip
    problem : what is wrong with the output; empty if it is correct. A value with a problem does not count
    own_mb : peak memory of the process itself in MB, set by the worker
    """

    value: float
    startup_s: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    own_mb: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Run:
    """One repeat. `peak_mb` is the peak memory of the process tree in MB (10^6 bytes).

    `seconds` is the duration of the process.
    """

    outcome: Outcome
    peak_mb: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PeerResult:
    """The repeats of one peer, in order; `skipped` is the reason if there are none.

    `measured` is the date and the revision of its code, if they are not those of the results.
    """

    name: str
    runs: tuple[Run, ...] = ()
    skipped: str = ""
    measured: str = ""

    @property
    def problem(self) -> str:
        """Problem of the first repeat with one; empty if all outputs are correct."""
        return next((run.outcome.problem for run in self.runs if run.outcome.problem), "")

    @property
    def counts(self) -> bool:
        """Whether it was measured, and every output is correct."""
        return bool(self.runs) and not self.problem

    @property
    def values(self) -> list[float]:
        """The value of each repeat."""
        return [run.outcome.value for run in self.runs]

    def facts(self, name: str) -> list[float]:
        """The fact of this name of each repeat that has it; without a name, the values."""
        facts = (run.outcome.facts for run in self.runs)
        return [found[name] for found in facts if name in found] if name else self.values

    @property
    def median(self) -> float:
        """Median of the values."""
        return statistics.median(self.values)


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """Result of one case. `num_clips` is the size of its input; `better` is the direction in which values improve."""

    name: str
    unit: str
    better: Literal["higher", "lower"]
    num_clips: int
    peers: tuple[PeerResult, ...] = ()

    def peer(self, name: str) -> PeerResult | None:
        """Return the peer of this name, or None if it was not measured or its output is wrong."""
        return next((peer for peer in self.peers if peer.name == name and peer.counts), None)

    def ratio(self, name: str, baseline: str, fact: str = "") -> float | None:
        """Return how many times better one peer is than another: the median over the ratios of the repeats.

        With `fact`, that fact is compared, of which less is better, instead of the values. The peers of one repeat run within
        minutes of each other, under a similar load. None if one of them does not count, or lacks the fact.
        """
        ours, theirs = self.peer(name), self.peer(baseline)
        if ours is None or theirs is None:
            return None
        better = "lower" if fact else self.better
        pairs = zip(theirs.facts(fact), ours.facts(fact), strict=False)  # only repeats that both have
        ratios = [speedup(before, after, better) for before, after in pairs]
        return statistics.median(ratios) if ratios else None


def number(value: float) -> str:
    """Format a value with three significant digits or more."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def speedup(before: float, after: float, better: str) -> float:
    """Return how many times better `after` is than `before`; more than 1 is better, in either direction of the unit."""
    return after / before if better == "higher" else before / after


@dataclass(frozen=True, kw_only=True)
class Results:
    """Result of one call of `run`. `source` describes the clips, `task` their labels, `machine` the hardware and versions."""

    format_version: int = FORMAT_VERSION
    date: str
    size: str
    source: str
    task: str = "all"
    machine: Mapping[str, Any]
    cases: tuple[CaseResult, ...] = ()

    @property
    def data_options(self) -> str:
        """Options of the command line that select the same kind of clips."""
        folder = " --data FOLDER" if self.source.startswith("folder") else ""
        return folder + ("" if self.task == "all" else f" --task {self.task}")

    def save(self, path: str | Path) -> None:
        """Write as JSON, atomically."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(to_json(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """Read a file written by `save`.

        Raises
        ------
        ConfigError: the file is missing, is not JSON, or has another format version.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            if data["format_version"] != FORMAT_VERSION:
                raise ConfigError(f"{path}: format {data['format_version']}; expected {FORMAT_VERSION}: measure again")
            return from_json(cls, data)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: is not a result of `python -m benchmarks run` ({error})") from error
