"""Trainings whose last rank fails at a given phase and step, in its own process."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hybridspeech.backends import BACKENDS
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.worker import Worker, WorkerContext


class FaultyBackend:
    """A backend whose last rank calls a fault when it first reports a step of a phase."""

    def __init__(
        self, backend: str, step: int, marker: Path, fault: Callable[[], None], *, phase: str = "step"
    ) -> None:
        self.name, self.step, self.marker, self.fault, self.phase = backend, step, marker, fault, phase

    def run(self, plan: TrainPlan, worker: Worker) -> list[WorkerReport]:
        step, marker, fault, fault_phase = self.step, self.marker, self.fault, self.phase

        @dataclass(frozen=True, kw_only=True)
        class FaultyContext(WorkerContext):
            def report(self, phase: str, step_: int = 0) -> None:
                super().report(phase, step_)
                last = self.rank == self.num_workers - 1
                if last and phase == fault_phase and step_ >= step and not marker.exists():
                    marker.touch()
                    fault()

        def faulty(plan: TrainPlan, context: WorkerContext) -> WorkerReport:
            return worker(plan, FaultyContext(rank=context.rank, num_workers=context.num_workers, run=context.run))

        return BACKENDS.load(self.name)().run(plan, faulty)


def power_cut() -> None:
    """Raise."""
    raise RuntimeError("power cut")


def interrupt() -> None:
    """Raise KeyboardInterrupt."""
    raise KeyboardInterrupt


def kill_process() -> None:
    """End the process without an error."""
    os.kill(os.getpid(), signal.SIGKILL)


def stop_process() -> None:
    """Wait for ever with all connections open."""
    os.kill(os.getpid(), signal.SIGSTOP)


def fill(ballast: Path) -> None:
    """Fill the disk of this file."""
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b" " * size)
