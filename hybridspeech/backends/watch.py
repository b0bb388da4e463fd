"""The driver's eye on the ranks of one run: who has started, failed, vanished, got stuck. Reads status files and pids.

Knows neither Spark nor Ray, which notice a failure late, blame the survivor, or wait for ever for one that is stuck.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hybridspeech.backends.base import first_failure
from hybridspeech.errors import BackendError, WorkerError
from hybridspeech.processes.supervision import is_alive, is_stopped
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.run_directory import RunDirectory

GRACE_S = 1.0
"""After a failure is seen, how long to wait for the word of a rank that failed earlier but writes later."""

HEARTBEATS = "stopped sending heartbeats"
"""What TensorFlow says on the other ranks when the process of one stands still."""


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
        self.feed = _Seen()

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
        elif self._is_fed(now):
            self.started_at = self.complete_at = now  # until then workers wait, or are not there yet
        elif None in states:
            self.complete_at = now
            self._check_start(len(states) - states.count(None), now)
        elif "running" in states:
            self._check_progress(now)
        return all(state == "finished" for state in states)

    def conclude(self) -> None:
        """Raise the earliest failure known by now, if any: WorkerError.

        TensorFlow notices after some 10 s that a process stands still, and ends the others: these are not to blame.
        """
        failure = first_failure(self.plan, self.lost)
        if failure and HEARTBEATS in failure.cause:
            seen = [each for each in self.seen if each.status.get("state") == "running"]
            if seen:
                stuck = min(seen, key=lambda each: _innocence(each.status))
                raise self._stuck(stuck.status, time.monotonic() - stuck.changed_at) from failure
        if failure:
            raise failure

    def _read(self, rank: int, now: float) -> None:
        seen = self.seen[rank]
        status = self.run.status.read(rank)
        if status.get("state") == "running" and status["host"] == socket.gethostname():
            if is_alive(status["pid"]):
                seen.alive_at = time.time()
            else:
                status = self.run.status.read(rank)  # it may have written its report and ended since
                if status["state"] == "running":
                    self.lost.setdefault(rank, seen.alive_at or status["at"])
        if {**status, "waits": None} != {**seen.status, "waits": None}:  # what it waits in is no sign of life
            seen.changed_at = now
        seen.status = status

    def _is_fed(self, now: float) -> bool:
        """Whether features are still on their way to the workers; what moves is the feed, or any rank.

        Raises
        ------
        BackendError: nothing has moved for longer than the stall time-out.
        """
        status, limit_s = self.run.status.read_feed(), self.plan.cluster.stall_timeout_s
        if status.get("state") != "running":
            return False
        if status != self.feed.status:
            self.feed.status, self.feed.changed_at = status, now
        moved_at = max([self.feed.changed_at, *(seen.changed_at for seen in self.seen)])
        if now - moved_at > limit_s:
            raise BackendError(
                f"no features for {limit_s:g} s, stuck at clip {status['done']:,} of {status['total']:,}; raise the stall "
                "time-out if so few clips may take that long"
            )
        return True

    def _check_start(self, started: int, now: float) -> None:
        limit_s = self.plan.cluster.start_timeout_s
        if now - self.started_at > limit_s:
            absent = ", ".join(str(rank) for rank, seen in enumerate(self.seen) if not seen.status)
            raise BackendError(
                f"{started} of {len(self.seen)} workers started within {limit_s:g} s; stuck in phase 'reservation', "
                f"waiting for room or for each other: {absent}; {self.advice}"
            )

    def _check_progress(self, now: float) -> None:
        """Of several silent ranks one is stuck, and the others, which spoke at about the same time, wait for it."""
        limit_s = self.plan.cluster.stall_timeout_s
        running = [seen for seen in self.seen if seen.status["state"] == "running"]
        silence_s = [now - max(seen.changed_at, self.complete_at) for seen in running]
        if max(silence_s) > limit_s:
            silent = [seen.status for seen, silent_s in zip(running, silence_s, strict=True) if silent_s > limit_s / 2]
            raise self._stuck(min(silent, key=_innocence), limit_s)

    def _stuck(self, status: Mapping[str, Any], silent_s: float) -> WorkerError:
        stopped = ", its process is stopped" if _is_stopped(status) else ""
        return WorkerError(
            status["rank"],
            f"no sign of life for {silent_s:.3g} s, stuck in phase {(status.get('waits') or status['phase'])!r} at step "
            f"{status['step']}{stopped} (process {status['pid']} on {status['host']}, output in "
            f"{self.run.log_path(status['rank'])}); raise the stall time-out if one step may take that long",
        )


def _is_stopped(status: Mapping[str, Any]) -> bool:
    """Whether the rank's process is on this host, and was stopped (SIGSTOP, a debugger)."""
    return bool(status["host"] == socket.gethostname() and is_stopped(status["pid"]))


def _innocence(status: Mapping[str, Any]) -> tuple[int, float]:
    """Least for the silent rank that the others wait for: stopped, else waiting for data, else nobody knows what for.

    One that waits in a step is likely to wait for the others. Of equals, the one that spoke last longest ago.
    """
    waits = ("data", None, "step").index(status.get("waits"))
    return (-1 if _is_stopped(status) else waits, float(status["at"]))
