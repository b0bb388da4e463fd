"""The command line of the benchmarks: ``python -m benchmarks --help``. Parses, makes one call, prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridspeech.cli import Commands
from hybridspeech.cli.progress import ProgressReporter
from hybridspeech.cli.terminal import print_table, print_text

if TYPE_CHECKING:
    from benchmarks.records import Results

RESULTS = Path("docs/benchmarks.json")
RESULTS_PATTERN = "benchmarks*.json"
DOCUMENT = Path("docs/benchmarks.md")
MODELS, MODELS_DOCUMENT = Path("docs/models.json"), Path("docs/models.md")
FINE_TUNING = Path("docs/models-fine-tuning.json")
OUT_OF_ONE_CASE = {"accuracy": MODELS, "finetune": FINE_TUNING}

app = typer.Typer(
    name="benchmarks",
    cls=Commands,
    help="Measure hybridspeech next to common alternatives, on the same clips.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("list")
def list_command() -> None:
    """List the cases, their peers, and the packages that are not installed."""
    from benchmarks.registry import CASES

    rows = [
        (name, peer, " ".join(case.peers[peer].missing()) or "-") for name, case in CASES.items() for peer in case.peers
    ]
    print_table(("case", "peer", "not installed"), rows)


@app.command()
def run(
    case: Annotated[
        list[str] | None,
        typer.Option("-k", help="Part of the name of a case or of case/peer; may be given several times."),
    ] = None,
    size: Annotated[str, typer.Option(help="tiny (seconds), small (minutes per case), full (hours).")] = "small",
    data: Annotated[Path | None, typer.Option(help="Folder of real clips.  [default: synthesized clips]")] = None,
    task: Annotated[str, typer.Option(help="Labels: all, 12, or words:a,b,c.")] = "all",
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Repeats of each peer.  [default: that of the size]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help=f"JSON file to write.  [default: {RESULTS}; accuracy or finetune alone: {MODELS}, {FINE_TUNING}]"
        ),
    ] = None,
) -> None:
    """Measure. Exit code 1 if a peer failed or its output is wrong. Cases accuracy and finetune also write docs/models.md."""
    from benchmarks.registry import select
    from benchmarks.runner import RunSettings, run

    chosen = [*select(case or ())]
    out = out or (OUT_OF_ONE_CASE.get(chosen[0], RESULTS) if len(chosen) == 1 else RESULTS)
    settings = RunSettings(size=size, data=data, task=task, repeats=repeats, out=out)
    try:
        with ProgressReporter() as report:
            results = run(case or (), settings, report)
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted; the finished cases are in {out}\n")
        raise typer.Exit(130) from None
    print_text(str(out))
    if {"accuracy", "finetune"} & {measured.name for measured in results.cases}:
        _write_models(out, results)
    if any(peer.problem for case in results.cases for peer in case.peers):
        raise typer.Exit(1)


@app.command()
def audit(
    data: Annotated[Path, typer.Option(help="Folder of real clips, one folder per word.")],
    seed: Annotated[
        list[int] | None, typer.Option(help="Seed of the planted faults; may be repeated.  [default: 0]")
    ] = None,
    check_labels: Annotated[bool, typer.Option(help="Measure doubted labels too, which trains networks.")] = True,
    keep: Annotated[
        Path | None, typer.Option(help="Folder for the planted clips and the tables.  [default: a temporary one]")
    ] = None,
) -> None:
    """Plant faults in a copy of real clips, and measure how many of them `inspect --audit` finds."""
    from benchmarks.audit import HEADER, measure_audit
    from hybridspeech.processes.scratch import scratch_folder

    with scratch_folder() as scratch, ProgressReporter() as report:
        scores = measure_audit(data, keep or Path(scratch), seed or [0], check_labels, report)
    print_table(HEADER, [score.row() for score in scores])


@app.command()
def models(
    files: Annotated[list[Path], typer.Argument(help="JSON files of runs with the case accuracy, the earliest first.")],
    out: Annotated[Path, typer.Option(help="JSON file to write; the table is written next to it.")] = MODELS,
) -> None:
    """Write the table of docs/models.md from several runs: of each network, the last one that measured it."""
    from functools import reduce

    from benchmarks.models import merge
    from benchmarks.records import Results

    merged = reduce(merge, map(Results.load, files))
    merged.save(out)
    _write_models(out, merged)


def _write_models(out: Path, results: Results) -> None:
    """Write docs/models.md next to `out`, from results of the cases accuracy and finetune, or else the files there."""
    from benchmarks.models import write_models
    from benchmarks.records import Results

    def of_case(name: str, file: Path) -> Results | None:
        if any(case.name == name for case in results.cases):
            return results
        return Results.load(out.with_name(file.name)) if out.with_name(file.name).exists() else None

    document = out.with_name(MODELS_DOCUMENT.name)
    if accuracy := of_case("accuracy", MODELS):
        write_models(accuracy, document, of_case("finetune", FINE_TUNING))
        print_text(str(document))


@app.command()
def report(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help=f"JSON files of runs.  [default: docs/{RESULTS_PATTERN}]"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Markdown file to write; plots are written to img/ next to it.")] = DOCUMENT,
) -> None:
    """Write the tables and plots of one or more runs."""
    from benchmarks.records import Results
    from benchmarks.report import write_report

    found = files or sorted(RESULTS.parent.glob(RESULTS_PATTERN)) or [RESULTS]
    write_report([Results.load(file) for file in found], out)
    print_text(str(out))


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="JSON file of the earlier run.")],
    after: Annotated[Path, typer.Argument(help="JSON file of the new run.")],
    threshold: Annotated[float, typer.Option(help="Smallest ratio of new to old that is not a regression.")] = 0.9,
) -> None:
    """Show which peers became slower. Exit code 1 if a peer is below the threshold or fails now."""
    from benchmarks.compare import compare
    from benchmarks.records import Results

    result = compare(Results.load(before), Results.load(after), threshold)
    for note in result.notes:
        print_text(note)
    print_table(("case/peer", "before", "after", "ratio", ""), [row.cells() for row in result.rows])
    if result.regressed:
        raise typer.Exit(1)


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
