"""Messages between the hosts of a run on a store: the files of `worker_status`, exchanged at most once a second.

    URL/workers/attempt          name of the attempt that trains now; the driver writes it
    URL/workers/ATTEMPT/...      messages of an attempt

Driver and ranks read and write messages in their own folders; the objects connect the folders. Each attempt has its own
objects, because a rank of an earlier one may still run on a host that was cut off. Knows nothing of TensorFlow, Spark and Ray.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from hybridspeech.errors import HybridspeechError, RunError, StorageError, reason_of
from hybridspeech.processes.periodic import PeriodicCall
from hybridspeech.storage.locations import join, matches_any
from hybridspeech.storage.objects import FileStat, delete_files, list_files, read_bytes, write_bytes
from hybridspeech.storage.parallel_reads import read_many
from hybridspeech.storage.small_files import write_atomically
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.run_copy import RunCopy
from hybridspeech.training.run_directory import RunDirectory

EXCHANGE_S = 1.0
"""Least time between two requests for the same object."""
ATTEMPT_NAME = "workers/attempt"


def messages_of(plan: TrainPlan) -> str:
    """Return the location of the messages of an attempt: a folder that all ranks share, or a URL."""
    return join(plan.store, "workers", plan.attempt) if plan.store else str(RunDirectory(plan.run).workers_dir)


def begin_attempt(plan: TrainPlan) -> None:
    """Name the attempt that trains from now on, and remove the messages of others.

    Raises
    ------
    StorageError: the store fails.
    """
    remove_messages(plan.store)
    write_bytes(join(plan.store, ATTEMPT_NAME), plan.attempt)


def remove_messages(store: str) -> None:
    """Remove the messages of all attempts; a rank that still runs can not write to the run any more."""
    names = [stat.name for stat in list_files(join(store, "workers"))]
    delete_files(join(store, "workers", name) for name in names if "/" in name)
    delete_files([join(store, ATTEMPT_NAME)])


def check_attempt(plan: TrainPlan) -> None:
    """Check that no other attempt has begun.

    Raises
    ------
    RunError: another one has, or the driver has ended. StorageError: the store fails.
    """
    if not _is_current(plan):
        raise RunError(f"{plan.store}: another attempt writes there, or the driver has ended; this rank may not write")


def store_problem(plan: TrainPlan) -> str:
    """Read from this host what the driver has written to the store, and write an answer; return what fails, or ''."""
    host = socket.gethostname()
    try:
        if not _is_current(plan):
            return f"{host}: it does not see there what the driver has written"
        write_bytes(join(messages_of(plan), f"host-{host}"), plan.attempt)
    except (HybridspeechError, OSError) as error:
        return f"{host}: {reason_of(error)}"
    return ""


def _is_current(plan: TrainPlan) -> bool:
    try:
        return read_bytes(join(plan.store, ATTEMPT_NAME)).decode() == plan.attempt
    except FileNotFoundError:
        return False


class StatusExchange:
    """The messages that one process sends, and those that it receives.

    Parameters
    ----------
    plan : `run` is the local folder of this process
    sent, received : patterns of names in RUN/workers
    """

    def __init__(self, plan: TrainPlan, *, sent: Sequence[str], received: Sequence[str]) -> None:
        folder = RunDirectory(plan.run).workers_dir
        self._sent = RunCopy(messages_of(plan), folder, sent)
        self._received = Inbox(messages_of(plan), folder, received)

    def exchange(self) -> None:
        """Receive what is new, and send what has changed.

        Raises
        ------
        StorageError: the store fails.
        """
        self._received.fetch()
        self._sent.copy()


class Inbox:
    """Files of other processes on a store, which are fetched when they have changed.

    Parameters
    ----------
    location : URL of their folder
    folder : local folder for their copies
    patterns : of their names
    prefix : beginning of their names, directly in the folder; only such names are listed
    """

    def __init__(self, location: str, folder: Path, patterns: Sequence[str], prefix: str = "") -> None:
        self._location, self._folder, self._patterns, self._prefix = location, folder, patterns, prefix
        self._fetched: dict[str, FileStat] = {}

    def fetch(self) -> None:
        """Fetch what has changed since the last call.

        Raises
        ------
        StorageError: the store fails.
        """
        found = [
            stat
            for stat in list_files(self._location, self._prefix)
            if self._fetched.get(stat.name) != stat and matches_any(stat.name, self._patterns)
        ]
        contents = read_many(join(self._location, stat.name) for stat in found)
        for stat, content in zip(found, contents, strict=True):
            if isinstance(content, FileNotFoundError):
                continue
            if isinstance(content, Exception):
                raise content
            write_atomically(self._folder / stat.name, content)
            self._fetched[stat.name] = stat


@contextlib.contextmanager
def rank_exchange(plan: TrainPlan, rank: int) -> Iterator[None]:
    """Exchange the messages of a rank in a background thread until the context ends.

    A rank answers a stop order as soon as it is in its folder. A store that fails is tried again: the driver decides when
    to give up.
    """
    status, name = RunDirectory(plan.run).status, f"rank-{rank:03d}"
    own = (f"{name}.json", f"{name}.last")
    if rank == 0:
        exchange = StatusExchange(plan, sent=(*own, "stop-at"), received=("stop", "rank-*.answer"))
    else:
        exchange = StatusExchange(plan, sent=(*own, f"{name}.answer"), received=("stop-at",))

    def call() -> None:
        with contextlib.suppress(StorageError, OSError):
            exchange.exchange()
            if rank and status.stop_order() is not None and not status.has_answered(rank):
                status.answer(rank)
                exchange.exchange()

    with PeriodicCall(call, EXCHANGE_S, "hybridspeech-status"):
        yield


class DriverExchange:
    """The driver's side: it receives the messages of all ranks and the metrics, and sends its request to stop."""

    def __init__(self, plan: TrainPlan) -> None:
        self._messages = StatusExchange(plan, sent=("stop",), received=("rank-*",))
        metrics = RunDirectory(plan.run).metrics_path
        self._metrics = Inbox(plan.store, metrics.parent, (metrics.name,), prefix=metrics.name)
        self._limit_s = plan.cluster.stall_timeout_s
        self._called_at = float("-inf")
        self._succeeded_at = time.monotonic()

    def exchange(self, *, newest: bool = False) -> None:
        """Exchange, if the last call was long enough ago or with `newest`.

        Raises
        ------
        StorageError: the store has failed for longer than the stall time-out.
        """
        if not newest and time.monotonic() - self._called_at < EXCHANGE_S:
            return
        try:
            self._messages.exchange()
            self._metrics.fetch()
            self._succeeded_at = time.monotonic()
        except (StorageError, OSError) as error:
            if time.monotonic() - self._succeeded_at > self._limit_s:
                raise StorageError(
                    f"{reason_of(error)}; the states of the workers could not be read for {self._limit_s:g} s; --resume "
                    "continues"
                ) from error
        self._called_at = time.monotonic()
