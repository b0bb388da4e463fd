"""What a measurement, a case and a whole run leave behind. Frozen records that go through JSON and back."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hybridspeech.config import from_json, to_json
from hybridspeech.errors import ConfigError
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
    """What a case's function returns.

    Parameters
    ----------
    value : steady state, in the unit of the case
    startup_s : what passed before, such as imports, compilation, the start of a cluster
    facts : further numbers and words, such as error_db or bytes_per_clip
    problem : what is wrong with the peer's output; empty if it is right. A value with a problem does not count
    own_mb : peak memory of the process itself, filled in by the worker
    """

    value: float
    startup_s: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    own_mb: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Run:
    """One repeat as seen from outside. `peak_mb` is of the whole process tree, in MB (10^6 bytes).

    `seconds` is all of it, from the start of the process to its end.
    """

    outcome: Outcome
    peak_mb: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PeerResult:
    """The repeats of one peer, in order; `skipped` says why there are none."""

    name: str
    runs: tuple[Run, ...] = ()
    skipped: str = ""

    @property
    def problem(self) -> str:
        """What is wrong with the first repeat that went wrong; empty if all are right."""
        return next((run.outcome.problem for run in self.runs if run.outcome.problem), "")

    @property
    def counts(self) -> bool:
        """Whether it was measured, and its output was right each time."""
        return bool(self.runs) and not self.problem

    @property
    def values(self) -> list[float]:
        """The value of each repeat."""
        return [run.outcome.value for run in self.runs]

    @property
    def median(self) -> float:
        """Median of the values."""
        return statistics.median(self.values)


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """One case. `num_clips` are those of its input; `better` says in which direction values are better."""

    name: str
    unit: str
    better: Literal["higher", "lower"]
    num_clips: int
    peers: tuple[PeerResult, ...] = ()

    def peer(self, name: str) -> PeerResult | None:
        """The peer of this name, if it was measured and its output was right."""
        return next((peer for peer in self.peers if peer.name == name and peer.counts), None)

    def ratio(self, name: str, baseline: str) -> float | None:
        """How many times better one peer is than another: the median of the repeats' own ratios.

        The peers of one repeat ran within minutes of each other, on a machine that was about as busy. None if either does
        not count.
        """
        ours, theirs = self.peer(name), self.peer(baseline)
        if ours is None or theirs is None:
            return None
        pairs = zip(theirs.values, ours.values, strict=False)  # of the repeats that both have
        return statistics.median(speedup(before, after, self.better) for before, after in pairs)


def number(value: float) -> str:
    """For people: three digits at least, no more than the value has a use for."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def speedup(before: float, after: float, better: str) -> float:
    """How many times better `after` is than `before`; more than 1 is better, in either direction of the unit."""
    return after / before if better == "higher" else before / after


@dataclass(frozen=True, kw_only=True)
class Results:
    """One call of `run`. `source` says what the clips are, `task` which of their words; `machine` what measured them."""

    format_version: int = FORMAT_VERSION
    date: str
    size: str
    source: str
    task: str = "all"
    machine: Mapping[str, Any]
    cases: tuple[CaseResult, ...] = ()

    @property
    def data_options(self) -> str:
        """What the command line is told of the clips, to measure again."""
        folder = " --data FOLDER" if self.source.startswith("folder") else ""
        return folder + ("" if self.task == "all" else f" --task {self.task}")

    def save(self, path: str | Path) -> None:
        """Write as JSON, at once."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(to_json(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """Read what `save` wrote.

        Raises
        ------
        ConfigError: the file is missing, no JSON, or of another version.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            if data["format_version"] != FORMAT_VERSION:
                raise ConfigError(f"{path}: format {data['format_version']}; expected {FORMAT_VERSION}; measure again")
            return from_json(cls, data)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: is no result of `python -m benchmarks run` ({error})") from error
