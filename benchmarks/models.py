"""What the networks learn, as one Markdown table: docs/models.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

from benchmarks.records import CaseResult, PeerResult, Results
from benchmarks.registry import CASES
from hybridspeech.runs import write_atomically

_HEAD = """\
# Models

Made by `python -m benchmarks run -k accuracy --data FOLDER{task}`; do not edit. Each network is trained from waveform shards
by its own recipe (`hybridspeech/recipes.py`, what `hybridspeech train` does unless told otherwise), once for each seed, on one
worker with all cores, and measured on the testing split, whose speakers it has not heard. The spread is the least and the
greatest of the seeds; the interval (95 %) is that of the median seed, by bootstrap over speakers where they are known: it says
how far another group of speakers may lie, where the spread says what luck in training does. Time is that of the whole training,
from the call to the model.

"""
_COLUMNS = (
    "network",
    "features",
    "test accuracy",
    "seeds",
    "95 % interval",
    "training",
    "validation",
    "parameters",
    "epochs",
)


def write_models(results: Results, task: str, path: Path) -> None:
    """Write the table of the case `accuracy` of a run."""
    case = next(case for case in results.cases if case.name == "accuracy")
    write_atomically(path, "\n".join(_lines(case, results, task)) + "\n")


def _lines(case: CaseResult, results: Results, task: str) -> Iterator[str]:
    yield _HEAD.format(task="" if task == "all" else f" --task {task}")
    measured = [peer for peer in case.peers if peer.counts]
    if measured:
        facts = measured[0].runs[0].outcome.facts
        yield (
            f"{len(facts['labels'])} labels ({', '.join(facts['labels'])}) of {results.source}; tested on "
            f"{facts['num_clips']:,} clips of {facts['num_speakers'] or 'unknown'} speakers.\n"
        )
    yield f"| {' | '.join(_COLUMNS)} | time |"
    yield "|---|---|" + "---:|" * (len(_COLUMNS) - 1)
    for peer in case.peers:
        cells = _cells(peer) if peer.counts else [peer.skipped or f"**failed**: {peer.problem.replace('|', '/')}"]
        yield f"| {peer.name} | {CASES['accuracy'].peers[peer.name].settings['features']} | {' | '.join(cells)} |"
    machine = results.machine
    yield (
        f"\nMeasured on {results.date}: {machine['cpu']}, {machine['cores']} cores; load average before: "
        f"{machine['load_average']}; revision {machine['revision']}."
    )


def _cells(peer: PeerResult) -> list[str]:
    runs = sorted(peer.runs, key=lambda run: run.outcome.value)
    middle = runs[len(runs) // 2].outcome.facts
    low, high = middle["interval"]

    def mean(name: str) -> float:
        return statistics.mean(float(run.outcome.facts[name]) for run in runs)

    return [
        f"**{100 * statistics.mean(peer.values):.1f} %** ({100 * min(peer.values):.1f} to {100 * max(peer.values):.1f})",
        f"{len(runs)}",
        f"{100 * low:.1f} to {100 * high:.1f}",
        f"{100 * mean('training_accuracy'):.1f} %",
        f"{100 * mean('validation_accuracy'):.1f} %" if middle["validation_accuracy"] is not None else "",
        f"{middle['num_parameters']:,}",
        f"{middle['epochs']}",
        f"{statistics.median(run.outcome.facts['train_s'] for run in runs) / 60:.1f} min",
    ]
