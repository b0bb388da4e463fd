"""Runs cases: alternates the peers (A B A B), each repeat in a fresh process whose memory is sampled."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import psutil

from benchmarks.environments import PeerEnvironments
from benchmarks.inputs import Inputs
from benchmarks.machine import describe_machine, known_versions
from benchmarks.records import CaseResult, Job, Outcome, PeerResult, Results, Run, number
from benchmarks.registry import CASES, select
from benchmarks.spec import Case, Peer
from hybridspeech.config import OnProgress, Progress, silent
from hybridspeech.errors import ConfigError
from hybridspeech.processes.environment import SINGLE_THREADED, python_path
from hybridspeech.processes.supervision import GuardedProcess
from hybridspeech.records import from_json, to_json

SAMPLE_S = 0.5
SAMPLE_SHARE = 0.02
"""Largest share of a core for sampling the memory: with Ray's fifteen processes, one sample takes 35 ms."""
TERMINATE_S = 5.0
_ONE_THREAD = {**SINGLE_THREADED, "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
_ALWAYS = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of a run.

    Parameters
    ----------
    size : one of SIZES
    data : folder of clips in the layout of Speech Commands; None: synthesized clips
    task : labels: all, 12, or words:a,b,c
    repeats : number of repeats of each peer; None: that of the size
    out : JSON file; written after each case, so that an interrupted run keeps the finished cases
    """

    size: str = "small"
    data: Path | None = None
    task: str = "all"
    repeats: int | None = None
    out: Path | None = None


def run(patterns: Sequence[str] = (), settings: RunSettings | None = None, on_progress: OnProgress = silent) -> Results:
    """Measure the cases and peers that match `patterns` (see `select`).

    Raises
    ------
    ConfigError: a pattern matches nothing, or the size is unknown.
    """
    settings, chosen = settings or RunSettings(), select(patterns)
    size, task = settings.size, settings.task
    if any(size not in CASES[name].sizes for name in chosen):
        raise ConfigError(f"size {size!r} is unknown; choose one of {', '.join(CASES[next(iter(chosen))].sizes)}")
    with tempfile.TemporaryDirectory(prefix="hybridspeech-bench-") as folder:
        inputs = Inputs(Path(folder), settings.data, task)
        date = datetime.now(timezone.utc).isoformat(timespec="seconds")
        results = Results(date=date, size=size, source=inputs.source, task=task, machine=describe_machine())
        environments = PeerEnvironments(Path(folder), on_progress)
        for name, peers in chosen.items():
            measured = run_case(name, peers, size, inputs, settings.repeats, on_progress, environments)
            results = replace(results, cases=(*results.cases, measured))
            results.machine["versions"].update(known_versions(environments.versions))
            if settings.out is not None:
                results.save(settings.out)
    return results


def run_case(
    name: str,
    peers: Sequence[str],
    size: str,
    inputs: Inputs,
    repeats: int | None = None,
    on_progress: OnProgress = silent,
    environments: PeerEnvironments | None = None,
) -> CaseResult:
    """Measure some peers of one case. An interrupt ends the case, and the finished repeats are kept.

    Parameters
    ----------
    environments : makes the environments of peers whose packages are not installed; None: these peers are skipped
    """
    case, work = CASES[name], CASES[name].sizes[size]
    pythons, skipped = interpreters({peer: case.peers[peer] for peer in peers}, environments)
    able = list(pythons)
    source = inputs.get(case.input, work.num_clips) if able else Path()
    environment = _environment(case)
    runs: dict[str, list[Run]] = {peer: [] for peer in able}
    try:
        for repeat in range(repeats or work.repeats):
            for peer in able:
                settings = {**work.settings, **case.peers[peer].settings, **({"seed": repeat} if case.seeded else {})}
                if kind := case.peers[peer].shards:
                    settings["shards"] = str(inputs.get(kind, work.num_clips))
                job = Job(target=case.target, source=str(source), settings=settings)
                runs[peer].append(run_apart(job, inputs.folder, environment, work.timeout_s, pythons[peer]))
                on_progress(Progress(stage=name, message=_line(name, peer, repeat, runs[peer][-1], case.unit)))
    except KeyboardInterrupt:
        if not any(runs.values()):
            raise
        on_progress(Progress(stage=name, message=f"{name}: interrupted; the finished repeats are kept"))
    done = (PeerResult(name=peer, runs=tuple(runs.get(peer, ())), skipped=skipped.get(peer, "")) for peer in peers)
    done = tuple(peer if peer.runs or peer.skipped else replace(peer, skipped="interrupted") for peer in done)
    return CaseResult(name=name, unit=case.unit, better=case.better, num_clips=work.num_clips, peers=_compared(done))


def interpreters(
    peers: Mapping[str, Peer], environments: PeerEnvironments | None
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return the command of the interpreter of each peer, and the reason why others are skipped, by their names."""
    pythons, skipped = dict[str, list[str]](), dict[str, str]()
    for name, peer in peers.items():
        missing = peer.missing()
        if not missing:
            pythons[name] = [sys.executable]
        elif environments is None or not peer.packages:
            skipped[name] = f"{' and '.join(missing)} not installed"
        else:
            try:
                pythons[name] = environments.python(peer.packages)
            except ConfigError as error:
                skipped[name] = f"{' and '.join(missing)} can't be installed: {error}"
    return pythons, skipped


def _compared(peers: Sequence[PeerResult]) -> tuple[PeerResult, ...]:
    """Set the problem of every peer whose output has another digest than that of the first peer."""
    digests = [run.outcome.facts["digest"] for peer in peers for run in peer.runs if "digest" in run.outcome.facts]

    def checked(run: Run) -> Run:
        digest = run.outcome.facts.get("digest", digests[0] if digests else None)
        if run.outcome.problem or not digests or digest == digests[0]:
            return run
        return replace(run, outcome=replace(run.outcome, problem=f"digest {digest}; the first peer's is {digests[0]}"))

    return tuple(replace(peer, runs=tuple(map(checked, peer.runs))) for peer in peers)


def _environment(case: Case) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("TF_CONFIG", "TMPDIR")}
    return {**kept, **_ALWAYS, **(_ONE_THREAD if case.single_threaded else {}), "PYTHONPATH": python_path()}


def run_apart(
    job: Job,
    folder: Path,
    environment: Mapping[str, str],
    timeout_s: float,
    python: Sequence[str] = (sys.executable,),
) -> Run:
    """Run one repeat in a fresh process with files in `folder`. A failure becomes the `problem` of the outcome."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        job_path, outcome_path, log = (Path(scratch, name) for name in ("job.json", "outcome.json", "log"))
        job_path.write_text(json.dumps(to_json(job)), encoding="utf-8")
        command = [*python, "-m", "benchmarks.worker", str(job_path), str(outcome_path)]
        started = time.monotonic()
        with GuardedProcess(command, env=environment, log=log, terminate_s=TERMINATE_S) as process:
            memory = _Memory(process.pid)
            while (code := process.wait(SAMPLE_S)) is None and time.monotonic() - started < timeout_s:
                memory.sample()
        seconds = time.monotonic() - started
        if outcome_path.exists():
            outcome = from_json(Outcome, json.loads(outcome_path.read_text(encoding="utf-8")))
        else:
            reason = f"not finished after {timeout_s:g} s" if code is None else f"exit code {code}"
            outcome = Outcome(value=0.0, problem=f"{reason}: {_last_line(log)}")
    return Run(outcome=outcome, peak_mb=max(memory.peak_mb, outcome.own_mb), seconds=seconds)


@dataclass
class _Memory:
    """Peak memory of all descendants of a process: proportional set size, so that shared pages count once."""

    parent: int
    peak_mb: float = 0.0
    due_at: float = 0.0

    def sample(self) -> None:
        total, began_at = 0, time.monotonic()
        if began_at < self.due_at:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.parent).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    total += process.memory_full_info().pss
        self.peak_mb = max(self.peak_mb, total / 1e6)
        self.due_at = time.monotonic() + (time.monotonic() - began_at) / SAMPLE_SHARE


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "no output"


def _line(case: str, peer: str, repeat: int, run: Run, unit: str) -> str:
    outcome = run.outcome
    text = f"failed: {outcome.problem}" if outcome.problem else f"{number(outcome.value)} {unit}"
    return f"{case}/{peer} [{repeat + 1}]: {text} (start-up {outcome.startup_s:.1f} s, all {run.seconds:.1f} s)"
