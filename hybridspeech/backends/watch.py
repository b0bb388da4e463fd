"""The driver's eye on the ranks of one run: who has started, failed, vanished, got stuck. Reads status files and pids.

Knows neither Spark nor Ray, which notice a failure late, blame the survivor, or wait for ever for one that is stuck.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field
from typing import Any

from hybridspeech.backends.base import first_failure
from hybridspeech.config import TrainPlan
from hybridspeech.errors import BackendError, WorkerError
from hybridspeech.processes import is_alive
from hybridspeech.runs import RunDirectory

GRACE_S = 1.0
"""After a failure is seen, how long to wait for the word of a rank that failed earlier but writes later."""


@dataclass
class _Seen:
    status: dict[str, Any] = field(default_factory=dict)
    changed_at: float = 0.0  # monotonic clock of the driver: clocks of other hosts may differ
    alive_at: float = 0.0  # seconds since the epoch; ranks on this host only


class Watch:
    """Looks at the ranks again and again.

    Parameters
    ----------
    advice : what to do if too few workers start, for the message
    """

    def __init__(self, plan: TrainPlan, advice: str) -> None:
        self.plan = plan
        self.advice = advice
        self.run = RunDirectory(plan.run)
        self.started_at = self.complete_at = time.monotonic()
        self.failed_at: float | None = None
        self.seen = [_Seen() for _ in range(plan.cluster.num_workers)]
        self.lost: dict[int, float] = {}

    def look(self) -> bool:
        """Whether all ranks have finished.

        Raises
        ------
        WorkerError: a rank has failed, vanished or got stuck. BackendError: the ranks have not started in time.
        """
        now = time.monotonic()
        for rank in range(len(self.seen)):
            self._read(rank, now)
        states = [seen.status.get("state") for seen in self.seen]
        if self.lost or "failed" in states:
            self.failed_at = self.failed_at or now
            if now - self.failed_at >= GRACE_S or (None not in states and "running" not in states):
                self.conclude()
        elif None in states:
            self.complete_at = now
            self._check_start(len(states) - states.count(None), now)
        elif "running" in states:
            self._check_progress(now)
        return all(state == "finished" for state in states)

    def conclude(self) -> None:
        """Raise the earliest failure known by now, if any: WorkerError."""
        failure = first_failure(self.plan, self.lost)
        if failure:
            raise failure

    def _read(self, rank: int, now: float) -> None:
        seen = self.seen[rank]
        status = self.run.read_status(rank)
        if status.get("state") == "running" and status["host"] == socket.gethostname():
            if is_alive(status["pid"]):
                seen.alive_at = time.time()
            else:
                status = self.run.read_status(rank)  # it may have written its report and ended since
                if status["state"] == "running":
                    self.lost.setdefault(rank, seen.alive_at or status["at"])
        if status != seen.status:
            seen.status, seen.changed_at = status, now

    def _check_start(self, started: int, now: float) -> None:
        limit_s = self.plan.cluster.start_timeout_s
        if now - self.started_at > limit_s:
            raise BackendError(f"{started} of {len(self.seen)} workers started within {limit_s:g} s; {self.advice}")

    def _check_progress(self, now: float) -> None:
        """Of several silent ranks, the one that spoke last longest ago is stuck, and the others wait for it."""
        limit_s = self.plan.cluster.stall_timeout_s
        running = [seen for seen in self.seen if seen.status["state"] == "running"]
        silent = [seen.status for seen in running if now - max(seen.changed_at, self.complete_at) > limit_s]
        if silent:
            status = min(silent, key=lambda status: float(status["at"]))
            raise WorkerError(
                status["rank"],
                f"no sign of life for {limit_s:g} s, stuck in phase {status['phase']!r} at step {status['step']} "
                f"(process {status['pid']} on {status['host']}, output in {self.run.log_path(status['rank'])}); raise "
                "the stall time-out if one step may take that long",
            )
