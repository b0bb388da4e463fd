"""Faults of processes: a seed selects the command, the cluster, and the process that is killed or stopped.

`inject` runs the command once with the fault and, if it has not finished, once more with --resume. It returns what is wrong
with the outcome: the result, the message, processes that remain, and temporary files that remain.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from hybridspeech.clusters.java_libraries import ROOT, library_folders, remove_abandoned_folders
from hybridspeech.processes.scratch import remove_abandoned
from support.process_faults import OPTIONS, Job, command, command_of_training, descendants, job, write_clips

COMMAND = "the command itself"
STALL_S = 20
START_S = 100
"""For the workers of a training: two attempts fit into LIMIT_S."""
LONG_STALL_S = 300
"""Without a fault: TensorFlow's import alone takes 20 s on a busy machine."""
LIMIT_S = 240.0
"""How long a command may take to end after the fault, on a busy machine."""
LEFT_S = 120.0
"""Two agents of Ray end a minute after their raylet."""
ENGINES: Mapping[str, Sequence[str]] = {
    "local": ("--engine", "local", "--num-executors", "2"),
    "spark": ("--master", "local[2]"),
    "local-cluster": ("--master", "local-cluster[2,1,1024]"),
    "raydp": ("--engine", "raydp", "--num-executors", "1"),
}
BACKENDS = ("tfos", "ray")
USUAL_S = {"local": 4.0, "spark": 12.0, "local-cluster": 18.0, "raydp": 30.0, "tfos": 30.0, "ray": 30.0}
"""Usual time of a command without a fault; the signal is sent within this time."""
TRAINING = (
    *("--num-workers", "2", "--epochs", "2", "--model", "dscnn", "--batch-size", "8", "--threads-per-worker", "1"),
    *("--deterministic", "--checkpoint-steps", "2", "--json"),
)


@dataclass(frozen=True)
class Scene:
    """Inputs of the commands, and their results without a fault.

    Parameters
    ----------
    source, shards : clips, and their shards
    expected : `essence` of a run without a fault for "preprocess", "tfos" and "ray"
    """

    source: Path
    shards: Path
    expected: Mapping[str, object]


def make_scene(folder: Path) -> Scene:
    """Make the inputs in a folder, or read them if they are complete there: ranges of seeds can share them."""
    source, shards, results = folder / "source", folder / "shards", folder / "expected.json"
    if not results.exists():
        shutil.rmtree(folder, ignore_errors=True)
        write_clips(source, num_speakers=60)
        expected = {"preprocess": essence(result_of(preprocessing("local", source, shards)))}
        for backend in BACKENDS:
            expected[backend] = essence(result_of(training(backend, shards, folder / f"run-{backend}")))
        results.write_text(json.dumps(expected), encoding="utf-8")
    return Scene(source, shards, json.loads(results.read_text(encoding="utf-8")))


def preprocessing(engine: str, source: Path, out: Path, *more: str) -> list[str]:
    """Return the command line of preprocessing on an engine."""
    return command(source, out, *ENGINES[engine], *OPTIONS, *more)


def training(backend: str, shards: Path, run: Path, *more: str) -> list[str]:
    """Return the command line of a training on two workers."""
    return command_of_training(shards, run, "--backend", backend, *TRAINING, *more)


def result_of(arguments: Sequence[str], temporary: Path | None = None) -> dict[str, object]:
    """Run a command without a fault; returns its JSON result."""
    arguments = [*arguments, "--stall-timeout", str(LONG_STALL_S)]
    variables = {**os.environ, **({"TMPDIR": str(temporary)} if temporary else {})}
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=600, env=variables)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr[-2000:]}"
    return dict(json.loads(done.stdout))


def essence(result: Mapping[str, object]) -> object:
    """Return the part of a result that a fault must not change: the digest, or the losses."""
    if "digest" in result:
        return result["digest"]
    history: list[dict[str, float]] = result["history"]  # type: ignore[assignment]
    return [[round(row[name], 5) for name in ("loss", "accuracy", "val_loss", "val_accuracy")] for row in history]


def inject(seed: int, scene: Scene, folder: Path) -> tuple[str, str]:
    """Inject one fault in an empty folder; returns its description, and what is wrong with the outcome ('' if nothing is)."""
    temporary = Path(tempfile.mkdtemp(prefix="hsf", dir="/tmp"))  # short: sockets of Ray are below it
    libraries = set(ROOT.glob("*"))
    try:
        name, problem = _inject(random.Random(seed), scene, folder, temporary)
        remove_abandoned(str(temporary))  # as the next start does
        remove_abandoned_folders(min_age_s=5.0)
        unpacked: set[Path] = set()
        if name.startswith("raydp"):  # other jobs of this machine may use other folders there
            unpacked = set(ROOT.glob("*")) - libraries - library_folders(psutil.process_iter())
        files = [*temporary.iterdir(), *unpacked]
        return name, problem or (f"files are left: {[str(path) for path in files]}" if files else "")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _inject(draw: random.Random, scene: Scene, folder: Path, temporary: Path) -> tuple[str, str]:
    kind = draw.choice([*ENGINES, "tfos", "tfos", "ray", "ray"])
    out = folder / "out"
    if kind in ENGINES:
        arguments = again = preprocessing(kind, scene.source, out)
        if kind == "raydp":
            again = preprocessing("local", scene.source, out)  # starts in a second
    else:
        restarts = ("--max-restarts", "1") if draw.random() < 0.5 else ()
        arguments = again = training(kind, scene.shards, out, *restarts, "--start-timeout", str(START_S))
    number = draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP])
    delay_s = draw.uniform(0.5, USUAL_S[kind])
    output, errors = folder / "stdout.txt", folder / "stderr.txt"
    with job([*arguments, "--stall-timeout", str(STALL_S)], errors, output, {"TMPDIR": str(temporary)}) as running:
        victim = _send_signal_to_one(running, draw, number, delay_s)
        name = f"{kind} {number.name} after {delay_s:.1f} s of {victim}"
        code = _end_of(running, is_stopped=victim == COMMAND and number == signal.SIGSTOP)
        text = errors.read_text(encoding="utf-8", errors="replace")
        problem = _problem_of(code, text, is_command=victim == COMMAND)
        if not problem:
            try:
                result = json.loads(output.read_text()) if code == 0 else result_of([*again, "--resume"], temporary)
                if essence(result) != scene.expected["preprocess" if kind in ENGINES else kind]:
                    problem = f"code {code}, then another digest or curve"
            except (AssertionError, subprocess.TimeoutExpired) as error:
                problem = f"code {code}, then a resume that fails: {error}"
        left = running.left(LEFT_S)
        if left and not problem:
            problem = f"these processes are left: {[_name_of(process) for process in left]}"
    return f"{name}, code {code}", problem


def _end_of(running: Job, is_stopped: bool) -> int | None:
    """Wait for the end of the command; returns its exit code, or None if it does not end in time."""
    deadline = time.monotonic() + LIMIT_S
    while running.child.poll() is None and time.monotonic() < deadline:
        if is_stopped:
            running.child.kill()
        running.look()
        time.sleep(0.2)
    return running.child.poll()


def _problem_of(code: int | None, text: str, is_command: bool) -> str:
    """Return what is wrong with the end of a command: it must be success, or one sentence and exit code 1."""
    if code is None:
        return f"still running {LIMIT_S:.0f} s after the fault: {text[-500:]}"
    if "Traceback" in text or "\x1b[" in text:
        return f"code {code}: {text[-1500:]}"
    if not is_command and code not in (0, 1):
        return f"exit code {code}: {text[-500:]}"
    last = text.strip().rpartition("\n")[2]
    if code == 1 and not (last.startswith("error: ") and len(last) < 1200):
        return f"no sentence: {text[-1500:]}"
    return ""


def _send_signal_to_one(running: Job, draw: random.Random, number: signal.Signals, delay_s: float) -> str:
    """Send a signal to one process of the job after a delay; returns a description."""
    deadline = time.monotonic() + delay_s
    running.run_until(lambda: time.monotonic() > deadline, timeout_s=delay_s + 60)
    found = sorted([psutil.Process(running.child.pid), *descendants(running.child.pid)], key=lambda each: each.pid)
    if running.child.poll() is not None or not found:
        return "nothing: the command had ended"
    victim = draw.choice(found)
    name = COMMAND if victim.pid == running.child.pid else _name_of(victim)
    try:
        victim.send_signal(number)
    except psutil.NoSuchProcess:
        return "nothing: the process had ended"
    return name


def _name_of(process: psutil.Process) -> str:
    try:
        line = process.cmdline()
    except psutil.Error:
        return "a process that has ended"
    words = [word for word in line if "." in word and "/" not in word and "=" not in word]
    return f"{line[0].rpartition('/')[2] if line else '?'} {words[-1] if words else ''} ({process.pid})"
