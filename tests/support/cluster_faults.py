"""Faults of processes: a seed selects the command, the cluster, and the process that is killed or stopped.

`inject` runs the command once with the fault and once more with --resume, and returns what is wrong with the outcome.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from support.process_faults import OPTIONS, Job, command, command_of_training, descendants, job

STALL_S = 20
LIMIT_S = 240.0
"""How long a command may take to end after the fault, on a busy machine."""
LEFT_S = 120.0
"""Two agents of Ray end a minute after their raylet."""
ENGINES: Mapping[str, Sequence[str]] = {
    "local": ("--engine", "local", "--num-executors", "2"),
    "spark": ("--master", "local[2]"),
    "local-cluster": ("--master", "local-cluster[2,1,1024]"),
    "raydp": ("--engine", "raydp", "--num-executors", "2"),
}
TRAINING = (
    *("--num-workers", "2", "--epochs", "3", "--model", "dscnn", "--batch-size", "8", "--threads-per-worker", "1"),
    *("--deterministic", "--checkpoint-steps", "2", "--stall-timeout", str(STALL_S), "--json"),
)


def preprocessing(engine: str, source: Path, out: Path, *more: str) -> list[str]:
    """Return the command line of preprocessing on an engine."""
    return command(source, out, *ENGINES[engine], *OPTIONS, "--stall-timeout", str(STALL_S), *more)


def training(backend: str, shards: Path, run: Path, *more: str) -> list[str]:
    """Return the command line of a training on two workers."""
    return command_of_training(shards, run, "--backend", backend, *TRAINING, *more)


def result_of(arguments: Sequence[str], timeout_s: float = 600.0) -> dict[str, object]:
    """Run a command without a fault; returns its JSON result."""
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr[-2000:]}"
    return dict(json.loads(done.stdout))


def essence(result: Mapping[str, object]) -> object:
    """Return the part of a result that a fault must not change: the digest, or the losses."""
    if "digest" in result:
        return result["digest"]
    history: list[dict[str, float]] = result["history"]  # type: ignore[assignment]
    return [[round(row[name], 5) for name in ("loss", "accuracy", "val_loss", "val_accuracy")] for row in history]


def inject(seed: int, source: Path, shards: Path, expected: Mapping[str, object], folder: Path) -> tuple[str, str]:
    """Inject one fault; returns its description, and what is wrong with the outcome ('' if nothing is).

    Parameters
    ----------
    expected : `essence` of an undisturbed run for "preprocess", "tfos" and "ray"
    """
    draw = random.Random(seed)
    kind = draw.choice([*ENGINES, "tfos", "tfos", "ray", "ray"])
    out = folder / "out"
    if kind in ENGINES:
        arguments, goal = preprocessing(kind, source, out), expected["preprocess"]
    else:
        restarts = ("--max-restarts", "1") if draw.random() < 0.5 else ()
        arguments, goal = training(kind, shards, out, *restarts), expected[kind]
    number = draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP])
    delay_s = draw.uniform(0.5, 30.0 if kind in ("tfos", "ray", "raydp") else 12.0)
    errors = folder / "stderr.txt"
    with job(arguments, errors) as running:
        victim = _send_signal_to_one(running, draw, number, delay_s)
        name = f"{kind} {number.name} after {delay_s:.1f} s of {victim}"
        deadline = time.monotonic() + LIMIT_S
        while running.child.poll() is None and time.monotonic() < deadline:
            if victim == "the command itself" and number == signal.SIGSTOP:
                running.child.kill()
            running.look()
            time.sleep(0.2)
        code = running.child.poll()
        if code is None:
            return name, f"still running {LIMIT_S:.0f} s after the fault: {errors.read_text()[-500:]}"
        left = running.left(LEFT_S)
        if left:
            return name, f"these processes are left: {[_name_of(process) for process in left]}"
    text = errors.read_text(encoding="utf-8", errors="replace")
    is_command = victim == "the command itself"
    if "Traceback" in text or "\x1b[" in text:
        return name, f"code {code}: {text[-1500:]}"
    if not is_command and code not in (0, 1):
        return name, f"exit code {code}: {text[-500:]}"
    last = text.strip().rpartition("\n")[2]
    if code == 1 and not (last.startswith("error: ") and len(last) < 1200):
        return name, f"no sentence: {text[-1500:]}"
    if essence(result_of([*arguments, "--resume"])) != goal:
        return name, "the resumed command ends with another digest or curve"
    return name, ""


def _send_signal_to_one(running: Job, draw: random.Random, number: signal.Signals, delay_s: float) -> str:
    """Send a signal to one process of the job after a delay; returns a description."""
    deadline = time.monotonic() + delay_s
    running.run_until(lambda: time.monotonic() > deadline, timeout_s=delay_s + 60)
    found = sorted([psutil.Process(running.child.pid), *descendants(running.child.pid)], key=lambda each: each.pid)
    if running.child.poll() is not None or not found:
        return "nothing: the command had ended"
    victim = draw.choice(found)
    name = "the command itself" if victim.pid == running.child.pid else _name_of(victim)
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
