"""The reference engine: this process, or a few of them on this machine. The other engines must give the same bytes.

Worker processes are plain interpreters that talk over a socket pair: nothing of the caller's script is imported in
them, one that dies is seen at once as the end of its line, and they end with the driver, however that ends.
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
from hybridspeech.engines.base import attempt, failed_partition, open_outcome, pack_error
from hybridspeech.errors import EngineError, HybridspeechError, one_line
from hybridspeech.processes.environment import SINGLE_THREADED, python_path

T = TypeVar("T")
R = TypeVar("R")

_SERVE = "import sys; from hybridspeech.engines.local import serve; serve(int(sys.argv[1]))"


class LocalEngine:
    """Runs partitions one after the other in this process; with more than one executor core, in as many processes.

    Its number of processes is num_executors x executor_cores of the EngineConfig (None counts as 1).
    """

    name: ClassVar[str] = "local"

    def __init__(self, config: EngineConfig) -> None:
        self._num_processes = (config.num_executors or 1) * (config.executor_cores or 1)
        self._workers: list[_Worker] = []

    def __enter__(self) -> LocalEngine:
        self._start_workers()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_workers()

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

        def give_work(worker: _Worker) -> None:
            if waiting:
                i, partition = waiting.popleft()
                worker.ask(function, i, partition)
                busy[worker.line] = (worker, i)

        try:
            for worker in self._workers:
                give_work(worker)
            while busy:
                for line in wait([worker.line for worker, _ in busy.values()]):
                    worker, i = busy.pop(line)
                    outcome = worker.answer(i)
                    give_work(worker)
                    yield i, open_outcome(outcome)
        except BaseException:  # an error or an interrupt: what still runs is of no use, and may hang
            self._stop_workers()
            raise

    def _start_workers(self) -> None:
        if self._num_processes > 1 and not self._workers:
            self._workers = [_Worker.start() for _ in range(self._num_processes)]

    def _stop_workers(self) -> None:
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.line.close()
            worker.process.terminate()
        for worker in workers:
            worker.process.wait(timeout=30)


@dataclass(frozen=True)
class _Worker:
    """One process, and the driver's end of the line to it."""

    process: subprocess.Popen[bytes]
    line: Connection

    @classmethod
    def start(cls) -> _Worker:
        here, there = socket.socketpair()
        with there:
            process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(there.fileno())],
                pass_fds=[there.fileno()],
                env={**os.environ, **SINGLE_THREADED, "PYTHONPATH": python_path()},
                stdin=subprocess.DEVNULL,
                stdout=2,  # to standard error: the driver's standard output is for results
            )
        return cls(process, Connection(here.detach()))

    def ask(self, function: Callable[[Sequence[T]], R], i: int, partition: Sequence[T]) -> None:
        request = cloudpickle.dumps((function, i, partition))
        with contextlib.suppress(OSError):  # the process has ended: `answer` says so
            self.line.send_bytes(request)

    def answer(self, i: int) -> bytes:
        try:
            return self.line.recv_bytes()
        except (EOFError, OSError) as error:
            code = self.process.wait(timeout=30)
            how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
            raise EngineError(
                f"partition {i} failed: its worker process ended ({how}); if memory ran out, try with fewer processes"
            ) from error


def serve(descriptor: int) -> None:
    """Life of a worker process: outcomes for requests, until the driver closes the line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the driver decides
    with Connection(descriptor) as line, contextlib.suppress(EOFError, OSError):
        while True:
            request = line.recv_bytes()
            line.send_bytes(_outcome(request))


def _outcome(request: bytes) -> bytes:
    try:
        return attempt(*cloudpickle.loads(request))
    except EngineError as error:
        return pack_error(error)
    except Exception as error:  # noqa: BLE001 - a request that can't be unpickled here; the driver raises it
        return pack_error(EngineError(f"the function can't run in a worker process: {one_line(error)}"))
