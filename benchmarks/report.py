"""Writes runs as Markdown tables and plots. Numbers come from the JSON files, texts from the registry."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.plot import plot_case
from benchmarks.records import CaseResult, PeerResult, Results, number
from benchmarks.registry import CASES
from benchmarks.spec import SIZES, Case, Target
from hybridspeech.storage.small_files import write_atomically

_INTRODUCTION = """\
# Benchmarks

This page is written by `python -m benchmarks report`; do not edit it. Each repeat runs in a fresh process, the peers
alternate, and a value counts only if the output is correct. Values are medians, with minimum and maximum in brackets; a
ratio is the median over the ratios of the repeats. Start-up is not included. CPU is the CPU time per clip of all
processes of a peer. Memory is the peak of all processes of a peer (proportional set size, sampled twice per second, or
less often where sampling needed more than 2 % of a core), in MB of 10^6 bytes. The [2020 report's
pipeline](index.md#the-2020-report) is the peer `original`. To measure again:

{commands}
"""
_FACTS = {
    "clips": ("clips", "{:,.0f}"),
    "shards": ("shards", "{:,.0f}"),
    "plan_s": ("time", "{:,.1f} s"),
    "plan_cpu_s": ("CPU", "{:,.1f} s"),
    "peak_mb": ("peak", "{:,.0f} MB"),
    "task_bytes_per_clip": ("task per clip", "{:,.0f} B"),
    "wrote": ("written", "{:,.0f} MB/s"),
    "listing": ("listing", "{:.1%}"),
    "driver_mb": ("driver", "{:,.0f} MB"),
    "worker_mb": ("worker", "{:,.0f} MB"),
    "clip_cpu_ms": ("CPU", "{:.2f} ms"),
    "store_cpu_ms": ("store", "{:.2f} ms"),
    "cores": ("cores", "{:g}"),
    "error_db": ("error", "{:.2g} dB"),
    "written_mb": ("written", "{:,.0f} MB"),
    "bytes_per_clip": ("bytes per clip", "{:,.0f}"),
    "mb_per_s": ("read", "{:,.0f} MB/s"),
    "loss": ("last loss", "{:.3f}"),
    "val_loss": ("validation loss", "{:.3f}"),
    "shutdown_s": ("shut-down", "{:.1f} s"),
}


def write_report(runs: Sequence[Results], path: Path) -> None:
    """Write the Markdown file, and a plot of each case to ``img/benchmark-CASE.png`` next to it.

    The latest run by date is used for each case and size; larger sizes follow under their name. The order of `runs` does
    not matter.
    """
    by_date = sorted(runs, key=lambda run: run.date)
    last = {(case.name, run.size): (case, run) for run in by_date for case in run.cases if case.name != "accuracy"}
    measured = [last[name, size] for name in CASES for size in SIZES if (name, size) in last]
    sections = [_INTRODUCTION.format(commands=_commands(measured))]
    shown: set[str] = set()
    for case, run in measured:
        size = run.size if case.name in shown else ""
        shown.add(case.name)
        image = path.parent / "img" / f"benchmark-{case.name}{size and f'-{size}'}.png"
        plotted = plot_case(case, CASES[case.name].title, image)
        sections.append("\n".join(_section(case, run, size, f"img/{image.name}" if plotted else None)))
    sections += ["## Machine and versions\n", *(_machine(run) for run in _used(measured))]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "\n".join(sections))


def _commands(measured: Sequence[tuple[CaseResult, Results]]) -> str:
    """Return the commands of the runs; cases are named if not all cases come from one run."""
    lines = []
    for run in _used(measured):
        names = [case.name for case, taken_from in measured if taken_from is run]
        chosen = "" if set(names) >= set(CASES) - {"accuracy"} else "".join(f" -k {name}" for name in names)
        lines.append(f"    python -m benchmarks run --size {run.size}{run.data_options}{chosen}")
    return "\n".join([*lines, "    python -m benchmarks report"])


def _used(measured: Sequence[tuple[CaseResult, Results]]) -> list[Results]:
    return list({id(run): run for _, run in measured}.values())


def _machine(run: Results) -> str:
    machine = run.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"Run of {run.date} (size {run.size}, clips {run.source}): {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['system']}; load average at the start: {machine['load_average']}; revision "
        f"{machine['revision']}. Versions: {versions}.\n"
    )


def _section(case: CaseResult, run: Results, size: str, image: str | None) -> Iterator[str]:
    spec = CASES[case.name]
    yield f"## {spec.title}{size and f' (size {size})'}\n"
    yield f"`{case.name}`, {case.num_clips:,} clips. {spec.about}\n"
    yield from _table(case, spec)
    yield ""
    for target in spec.targets:
        ratio = case.ratio(target.peer, target.baseline, target.fact)
        if ratio is not None:
            measure = f" in {_FACTS[target.fact][0]} time" if target.fact else ""
            verdict = _verdict(case, target, ratio)
            yield f"- `{target.peer}` at least {target.ratio:g} x `{target.baseline}`{measure}: {verdict}."
    if any(case.ratio(target.peer, target.baseline, target.fact) is not None for target in spec.targets):
        yield ""
    if image:
        yield f"![{spec.title}, in {case.unit}]({image})\n"


def _verdict(case: CaseResult, target: Target, ratio: float) -> str:
    if ratio >= target.ratio:
        return f"{ratio:.2f} x, reached"
    bound = case.ratio(target.bound, target.baseline, target.fact) if target.bound else None
    reach = "" if bound is None else f" (`{target.bound}`, an upper limit, is {bound:.2f} x)"
    reason = target.reason and f": {target.reason}"
    return f"{ratio:.2f} x, **not reached**{reach}{reason}"


def _table(case: CaseResult, spec: Case) -> Iterator[str]:
    baselines = [name for name in spec.baselines or (next(iter(spec.peers)),) if case.peer(name)]
    facts = [name for name in _FACTS if any(name in run.outcome.facts for peer in case.peers for run in peer.runs)]
    header = [
        "peer",
        case.unit,
        *(f"x {name}" for name in baselines),
        "start-up",
        "memory",
        *(_FACTS[name][0] for name in facts),
    ]
    yield f"| {' | '.join(header)} |"
    yield f"|---|{'---:|' * (len(header) - 1)}"
    for peer in case.peers:
        cells = _cells(case, peer, baselines, facts) if peer.counts else [_reason(peer), *[""] * (len(header) - 2)]
        yield f"| {' | '.join([peer.name, *cells])} |"


def _cells(case: CaseResult, peer: PeerResult, baselines: Sequence[str], facts: Sequence[str]) -> list[str]:
    startup = sorted(run.outcome.startup_s for run in peer.runs)[len(peer.runs) // 2]
    return [
        f"{number(peer.median)} ({number(min(peer.values))} to {number(max(peer.values))})",
        *(f"{case.ratio(peer.name, name):.2f}" for name in baselines),
        f"{startup:.1f} s",
        f"{max(run.peak_mb for run in peer.runs):,.0f} MB",
        *(_FACTS[name][1].format(statistics.median(peer.facts(name))) if peer.facts(name) else "" for name in facts),
    ]


def _reason(peer: PeerResult) -> str:
    return f"skipped: {peer.skipped}" if peer.skipped else f"**failed**: {peer.problem.replace('|', '/')}"
