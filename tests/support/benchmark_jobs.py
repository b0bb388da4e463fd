"""Jobs for the runner's tests; they run in its fresh processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.records import Outcome


def note(source: Path, scratch: Path, *, log: str, name: str) -> Outcome:
    with Path(log).open("a", encoding="utf-8") as file:
        file.write(f"{name} {os.getpid()} {scratch}\n")
    (scratch / "leftover").write_bytes(bytes(1000))
    return Outcome(value=1.0)


def digest(source: Path, scratch: Path, *, digest: str) -> Outcome:
    return Outcome(value=1.0, facts={"digest": digest})


def fail(source: Path, scratch: Path) -> Outcome:
    raise ValueError("the answer is 42")


def hang(source: Path, scratch: Path, *, pid_file: str) -> Outcome:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(pid_file).write_text(str(child.pid), encoding="ascii")
    child.wait()
    return Outcome(value=1.0)


def take_memory(source: Path, scratch: Path) -> Outcome:
    return Outcome(value=float(len(bytearray(os.urandom(1000)) * 300_000)))


def silence() -> Callable[[np.ndarray], np.ndarray]:
    return lambda wave: np.zeros((1025, 50), np.float32)
