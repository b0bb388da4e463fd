"""Monitors the ranks of one run from the driver: which have started, failed, vanished or stalled.

It reads status files and process ids. If the run is on a store, it exchanges the files with the ranks. Knows nothing of Spark
and Ray, which notice a failure late, name the wrong rank, or wait for ever for a rank that has stalled.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hybridspeech.backends.base import first_failure
from hybridspeech.errors import BackendError, WorkerError
from hybridspeech.processes.exit_order import ExitOrder
from hybridspeech.processes.supervision import is_alive, is_stopped
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.status_exchange import EXCHANGE_S, DriverExchange

FAILURE_DELAY_S = 1.0
"""How long to wait after a failure for the record of a rank that failed earlier but writes later."""
HEARTBEATS = "stopped sending heartbeats"
"""TensorFlow's message on the other ranks when the process of one does not run."""
CONSEQUENCES = (
    *("AbortedError", "CancelledError", "DeadlineExceededError", "FailedPreconditionError", "InternalError"),
    *("UnavailableError", "UnknownError", "ConnectionError", "ConnectionResetError", "ConnectionRefusedError"),
    *("BrokenPipeError", "EOFError", "TimeoutError", "SystemExit", "KeyboardInterrupt"),
)
"""Error classes that the end of another rank may cause: of TensorFlow's collectives, connections, and termination."""


@dataclass
class _RankState:
    status: dict[str, Any] = field(default_factory=dict)
    changed_at: float = 0.0  # by the driver's monotonic clock: the clocks of other hosts may differ
    alive_at: float = 0.0  # Unix time; only for ranks on this host


class RankMonitor:
    """Polls the status of all ranks.

    Parameters
    ----------
    advice : what to do if too few workers start, for the message
    """

    def __init__(self, plan: TrainPlan, advice: str) -> None:
        self.plan = plan
        self.advice = advice
        self.run = RunDirectory(plan.run)
        self._exchange = DriverExchange(plan) if plan.store else None
        self.ranks = [_RankState() for _ in range(plan.cluster.num_workers)]
        self._started_at = self._complete_at = time.monotonic()
        self._failed_at: float | None = None
        self._lost: dict[int, tuple[float, float]] = {}  # Unix times: last seen alive, first seen gone
        self._exits = ExitOrder()
        self._feed = _RankState()

    def poll(self, *, newest: bool = False) -> bool:
        """Return whether all ranks have finished.

        Parameters
        ----------
        newest : read the newest status of all ranks, also if their store was asked a moment ago

        Raises
        ------
        WorkerError: a rank has failed, vanished or stalled. BackendError: the ranks have not started in time.
        StorageError: the store of the run has failed for longer than the stall time-out.
        """
        self._receive(newest=newest)
        now = time.monotonic()
        for rank in range(len(self.ranks)):
            self._read(rank, now)
        states = [rank.status.get("state") for rank in self.ranks]
        if self._lost or "failed" in states:
            self._failed_at = self._failed_at or now
            delay_s = FAILURE_DELAY_S + (3 * EXCHANGE_S if self._exchange else 0.0)
            if now - self._failed_at >= delay_s or (None not in states and "running" not in states):
                self.raise_failure()
        elif self._is_fed(now):
            self._started_at = self._complete_at = now  # until the feed ends, workers wait or have not started
        elif None in states:
            self._complete_at = now
            self._check_start(len(states) - states.count(None), now)
        elif "running" in states:
            self._check_progress(now)
        return all(state == "finished" for state in states)

    def raise_failure(self) -> None:
        """Raise the earliest failure that is known, if there is one.

        TensorFlow notices after some 10 s that a process does not run, and ends the others: they are not the cause.

        Raises
        ------
        WorkerError: a rank has failed.
        """
        failure = first_failure(self.plan, self._lost_at())
        if failure and HEARTBEATS in failure.cause:
            running = [rank for rank in self.ranks if rank.status.get("state") == "running"]
            if running:
                stalled = min(running, key=lambda rank: _stall_order(rank.status))
                raise self._stalled(stalled.status, time.monotonic() - stalled.changed_at) from failure
        if failure:
            raise self._with_silent_ranks(failure)

    def _with_silent_ranks(self, failure: WorkerError) -> WorkerError:
        """Add the ranks on other hosts that have not reported their end, if one of them may be the cause of a failure.

        A process on another host can't be looked at. If it is lost, with its host or alone, only the others report a failure.
        """
        if _is_own(failure.cause):
            return failure
        silent = [
            f"worker {status['rank']} (process {status['pid']} on {status['host']})"
            for status in (rank.status for rank in self.ranks)
            if status.get("state") == "running" and status["host"] != socket.gethostname()
        ]
        if not silent:
            return failure
        return WorkerError(
            failure.rank,
            f"{failure.cause}; this may follow from the loss of {', '.join(silent)}, which {'have' if silent[1:] else 'has'} "
            "not reported an error: look whether the host still runs",
        )

    def _receive(self, *, newest: bool) -> None:
        """Exchange messages with the ranks, if they do not share the folder of the driver."""
        if self._exchange:
            self._exchange.exchange(newest=newest)

    def _read(self, rank: int, now: float) -> None:
        state = self.ranks[rank]
        status = self.run.status.read(rank)
        if status.get("state") == "running" and status["host"] == socket.gethostname():
            self._exits.add(status["pid"])
            if is_alive(status["pid"]):
                state.alive_at = time.time()
            elif rank not in self._lost:
                self._receive(newest=True)
                status = self.run.status.read(rank)  # it may have written its report and ended meanwhile
                if status["state"] == "running":
                    self._lost.setdefault(rank, (state.alive_at or status["at"], time.time()))
        if {**status, "waits": None} != {**state.status, "waits": None}:  # a change of `waits` is not progress
            state.changed_at = now
        state.status = status

    def _lost_at(self) -> dict[int, float]:
        """Return the Unix times at which ranks were lost, in the order in which their processes ended.

        The last time at which a process was seen counts. If another rank failed between that time and the first poll
        without the process, that failure counts as the earlier one, unless the end of a rank may have caused it.
        """
        ended = self._exits.ended()
        order = sorted(self._lost, key=lambda rank: _position(self.ranks[rank].status.get("pid"), ended))
        failures = [rank.status for rank in self.ranks if rank.status.get("state") == "failed"]
        own = [each["failed_at"] for each in failures if _is_own(each["cause"])]
        times: dict[int, float] = {}
        for position, rank in enumerate(order):
            alive_at = min(self._lost[each][0] for each in order[position:])
            gone_at = self._lost[rank][1]
            times[rank] = (gone_at if any(alive_at <= at <= gone_at for at in own) else alive_at) + position * 1e-6
        return times

    def close(self) -> None:
        """Release the file descriptors of the ranks' processes."""
        self._exits.close()

    def _is_fed(self, now: float) -> bool:
        """Return whether features are still on their way to the workers.

        Raises
        ------
        BackendError: neither the feed nor a rank has made progress for longer than the stall time-out.
        """
        status, limit_s = self.run.status.read_feed(), self.plan.cluster.stall_timeout_s
        if status.get("state") != "running":
            return False
        if status != self._feed.status:
            self._feed.status, self._feed.changed_at = status, now
        progress_at = max([self._feed.changed_at, *(rank.changed_at for rank in self.ranks)])
        if now - progress_at > limit_s:
            raise BackendError(
                f"no features for {limit_s:g} s, stalled at clip {status['done']:,} of {status['total']:,}; raise the "
                "stall time-out if so few clips may take that long"
            )
        return True

    def _check_start(self, started: int, now: float) -> None:
        limit_s = self.plan.cluster.start_timeout_s
        if now - self._started_at > limit_s:
            absent = ", ".join(str(rank) for rank, state in enumerate(self.ranks) if not state.status)
            raise BackendError(
                f"{started} of {len(self.ranks)} workers started within {limit_s:g} s; the others wait in phase "
                f"'reservation' for resources or for each other: {absent}; {self.advice}"
            )

    def _check_progress(self, now: float) -> None:
        """Raise the error of the stalled rank, if no rank has made progress for too long; the other ranks wait for it."""
        limit_s = self.plan.cluster.stall_timeout_s
        running = [rank for rank in self.ranks if rank.status["state"] == "running"]
        silence_s = [now - max(rank.changed_at, self._complete_at) for rank in running]
        if max(silence_s) > limit_s:
            silent = [rank.status for rank, silent_s in zip(running, silence_s, strict=True) if silent_s > limit_s / 2]
            raise self._stalled(min(silent, key=_stall_order), limit_s)

    def _stalled(self, status: Mapping[str, Any], silent_s: float) -> WorkerError:
        stopped = ", its process is stopped" if _is_stopped(status) else ""
        return WorkerError(
            status["rank"],
            f"no progress for {silent_s:.3g} s, stalled in phase {(status.get('waits') or status['phase'])!r} at step "
            f"{status['step']}{stopped} (process {status['pid']} on {status['host']}, output in "
            f"{self.run.log_path(status['rank'])}); raise the stall time-out if one step may take that long",
        )


def _is_own(cause: str) -> bool:
    """Return whether a rank failed by itself: the end of another rank does not cause such an error."""
    return cause.partition(":")[0] not in CONSEQUENCES


def _position(pid: int | None, ended: list[int]) -> int:
    """Return the position of a process among those that have ended; after them if its end was not observed."""
    return ended.index(pid) if pid in ended else len(ended)


def _is_stopped(status: Mapping[str, Any]) -> bool:
    """Return whether the rank's process is on this host and was stopped (SIGSTOP, a debugger)."""
    return bool(status["host"] == socket.gethostname() and is_stopped(status["pid"]))


def _stall_order(status: Mapping[str, Any]) -> tuple[int, float]:
    """Sort key; the lowest is the rank that the others wait for: a stopped one, one that waits for data, or unknown.

    A rank that waits in a step is likely to wait for the others. Of equal ranks, the one with the oldest status is first.
    """
    waits = ("data", None, "step").index(status.get("waits"))
    return (-1 if _is_stopped(status) else waits, float(status["at"]))
