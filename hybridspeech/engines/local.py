"""The reference engine: this process, or several on this machine. The other engines must write the same bytes.

Worker processes are plain interpreters that are connected by a socket pair. They import nothing of the caller's script, the
end of one closes its connection, and they end with the driver, however that ends. Knows nothing of Spark and Ray.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import ClassVar, TypeVar

import cloudpickle

from hybridspeech.config import EngineConfig
from hybridspeech.engines.base import attempt, failed_partition, open_outcome, pack_error, stalled
from hybridspeech.errors import EngineError, HybridspeechError, one_line
from hybridspeech.processes.environment import SINGLE_THREADED, python_path
from hybridspeech.processes.supervision import describe_exit, is_stopped

T = TypeVar("T")
R = TypeVar("R")

_SERVE = "import sys; from hybridspeech.engines.local import serve; serve(int(sys.argv[1]))"


class LocalEngine:
    """Runs partitions one after the other in this process or, with more than one executor core, in as many processes.

    Its number of processes is num_executors x executor_cores of the EngineConfig (None counts as 1).
    """

    name: ClassVar[str] = "local"

    def __init__(self, config: EngineConfig) -> None:
        self._num_processes = (config.num_executors or 1) * (config.executor_cores or 1)
        self._stall_timeout_s = config.stall_timeout_s
        self._workers: list[_Worker] = []

    def __enter__(self) -> LocalEngine:
        self._start_workers()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_workers()

    @property
    def parallelism(self) -> int:
        """See `Engine.parallelism`."""
        return self._num_processes

    def map_partitions(
        self,
        function: Callable[[Sequence[T]], R],
        partitions: Sequence[Sequence[T]],
        on_done: Callable[[R], None] | None = None,
    ) -> list[R]:
        """See `Engine.map_partitions`."""
        run = self._run_here if self._num_processes == 1 else self._run_in_processes
        results: dict[int, R] = {}
        with contextlib.closing(run(function, partitions)) as finished:
            for i, result in finished:
                results[i] = result
                if on_done is not None:
                    on_done(result)
        return [results[i] for i in range(len(partitions))]

    def _run_here(
        self, function: Callable[[Sequence[T]], R], partitions: Sequence[Sequence[T]]
    ) -> Generator[tuple[int, R], None, None]:
        for i, partition in enumerate(partitions):
            try:
                result = function(partition)
            except HybridspeechError:
                raise
            except Exception as error:
                raise failed_partition(i, error) from error
            yield i, result

    def _run_in_processes(
        self, function: Callable[[Sequence[T]], R], partitions: Sequence[Sequence[T]]
    ) -> Generator[tuple[int, R], None, None]:
        self._start_workers()
        waiting = deque(enumerate(partitions))
        busy: dict[object, tuple[_Worker, int]] = {}

        def send_next(worker: _Worker) -> None:
            if waiting:
                i, partition = waiting.popleft()
                worker.send(function, i, partition)
                busy[worker.connection] = (worker, i)

        try:
            for worker in self._workers:
                send_next(worker)
            while busy:
                ready = wait([worker.connection for worker, _ in busy.values()], self._stall_timeout_s)
                if not ready:
                    raise stalled(self._stall_timeout_s, _describe(list(busy.values())))
                for connection in ready:
                    worker, i = busy.pop(connection)
                    outcome = worker.receive(i)
                    send_next(worker)
                    yield i, open_outcome(outcome)
        except BaseException:  # an error or Ctrl-C: the results of what still runs are not needed, and it may hang
            self._stop_workers()
            raise

    def _start_workers(self) -> None:
        if self._num_processes > 1 and not self._workers:
            self._workers = [_Worker.start() for _ in range(self._num_processes)]

    def _stop_workers(self) -> None:
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.connection.close()
            worker.process.kill()  # a stopped process would not act on SIGTERM
        for worker in workers:
            worker.process.wait(timeout=30)


def _describe(busy: Sequence[tuple[_Worker, int]]) -> str:
    """Return which partitions are not finished, as the end of a sentence; the processes that are stopped come first."""
    states = [("stopped" if is_stopped(worker.process.pid) else "running", worker.process.pid, i) for worker, i in busy]
    states.sort(key=lambda each: each[0] != "stopped")
    return ": " + ", ".join(f"partition {i} in worker process {pid} ({state})" for state, pid, i in states[:3])


@dataclass(frozen=True)
class _Worker:
    """A worker process, and the driver's end of the connection to it."""

    process: subprocess.Popen[bytes]
    connection: Connection

    @classmethod
    def start(cls) -> _Worker:
        own, other = socket.socketpair()
        with other:
            process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(other.fileno())],
                pass_fds=[other.fileno()],
                env={**os.environ, **SINGLE_THREADED, "PYTHONPATH": python_path()},
                stdin=subprocess.DEVNULL,
                stdout=2,  # standard error: the driver's standard output is for results
            )
        return cls(process, Connection(own.detach()))

    def send(self, function: Callable[[Sequence[T]], R], i: int, partition: Sequence[T]) -> None:
        request = cloudpickle.dumps((function, i, partition))
        with contextlib.suppress(OSError):  # the process has ended: `receive` raises the error
            self.connection.send_bytes(request)

    def receive(self, i: int) -> bytes:
        try:
            return self.connection.recv_bytes()
        except (EOFError, OSError) as error:
            how = describe_exit(self.process.wait(timeout=30))
            raise EngineError(
                f"partition {i} failed: its worker process ended ({how}); if memory ran out, try with fewer processes"
            ) from error


def serve(descriptor: int) -> None:
    """Run a worker process: answer requests with outcomes until the driver closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of the terminal; the driver handles it
    with Connection(descriptor) as connection, contextlib.suppress(EOFError, OSError):
        while True:
            request = connection.recv_bytes()
            connection.send_bytes(_outcome(request))


def _outcome(request: bytes) -> bytes:
    try:
        return attempt(*cloudpickle.loads(request))
    except EngineError as error:
        return pack_error(error)
    except Exception as error:  # noqa: BLE001 - the request can't be unpickled here; the driver raises it
        return pack_error(EngineError(f"the function can't run in a worker process: {one_line(error)}"))
