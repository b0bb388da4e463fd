"""Results with given values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from benchmarks.records import CaseResult, Outcome, PeerResult, Results, Run

MACHINE = {
    "cpu": "AMD EPYC",
    "cores": 2,
    "memory_gb": 25.3,
    "system": "Linux x86_64",
    "load_average": 0.1,
    "revision": "0123456789ab",
    "versions": {"python": "3.11.2", "numpy": "2.4.6"},
}


def peer(name: str, *values: float, problem: str = "", facts: Mapping[str, Any] | None = None) -> PeerResult:
    outcomes = [Outcome(value=value, startup_s=1.5, facts=facts or {}, problem=problem) for value in values]
    return PeerResult(name=name, runs=tuple(Run(outcome=outcome, peak_mb=250.0) for outcome in outcomes))


def results(
    case: str, peers: Sequence[PeerResult], *, better: Literal["higher", "lower"] = "higher", size: str = "small"
) -> Results:
    unit = "clips/s" if better == "higher" else "s"
    measured = CaseResult(name=case, unit=unit, better=better, num_clips=600, peers=tuple(peers))
    return Results(
        date="2026-01-02T03:04:05+00:00",
        size=size,
        source="synthesized with seed 0",
        machine=MACHINE,
        cases=(measured,),
    )
