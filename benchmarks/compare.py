"""Compares the medians of two runs. A peer that was correct and is now wrong or missing counts as slower."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.records import CaseResult, PeerResult, Results, number, speedup
from hybridspeech.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Row:
    """One peer in both runs; `after` None: it no longer counts, for the reason in `problem`."""

    name: str
    unit: str
    before: float
    after: float | None
    ratio: float
    regressed: bool
    problem: str = ""

    def cells(self) -> tuple[str, str, str, str, str]:
        """Return the cells of a table row."""
        after = "-" if self.after is None else f"{number(self.after)} {self.unit}"
        verdict = self.problem or ("slower" if self.regressed else "")
        return (self.name, f"{number(self.before)} {self.unit}", after, f"{self.ratio:.2f}", verdict)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All peers that counted before; `notes` list differences between the runs that limit the comparison."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def regressed(self) -> bool:
        """Whether a peer is slower than the threshold allows."""
        return any(row.regressed for row in self.rows)


def compare(before: Results, after: Results, threshold: float = 0.9) -> Comparison:
    """Compare the cases that both runs contain.

    Parameters
    ----------
    threshold : smallest ratio of new to old (in the better direction) that is not a regression

    Raises
    ------
    ConfigError: the threshold is not positive, the runs have different sizes, or no case in common.
    """
    if not threshold > 0:
        raise ConfigError(f"threshold is {threshold}; expected more than 0, for example 0.9")
    if before.size != after.size:
        raise ConfigError(f"the runs have the sizes {before.size} and {after.size}; compare runs of the same size")
    cases = {case.name: case for case in after.cases}
    rows = [row for case in before.cases if case.name in cases for row in _rows(case, cases[case.name], threshold)]
    if not rows:
        raise ConfigError("the runs have no measured case in common; run the same cases")
    return Comparison(rows=tuple(rows), notes=tuple(_notes(before, after)))


def _rows(before: CaseResult, after: CaseResult, threshold: float) -> Iterator[Row]:
    now = {peer.name: peer for peer in after.peers}
    for peer in before.peers:
        if not peer.counts:
            continue
        found = now.get(peer.name, PeerResult(name=peer.name, skipped="not measured"))
        ratio = speedup(peer.median, found.median, before.better) if found.counts else 0.0
        yield Row(
            name=f"{before.name}/{peer.name}",
            unit=before.unit,
            before=peer.median,
            after=found.median if found.counts else None,
            ratio=ratio,
            regressed=ratio < threshold,
            problem=found.problem or found.skipped,
        )


def _notes(before: Results, after: Results) -> Iterator[str]:
    for name in ("cpu", "cores"):
        if before.machine.get(name) != after.machine.get(name):
            yield f"note: {name} differs: {before.machine.get(name)} before, {after.machine.get(name)} after"
    if before.source != after.source:
        yield f"note: the clips differ: {before.source} before, {after.source} after"
