"""Child processes that end with their owner, with all their descendants and files.

    owner (GuardedProcess) --pipe--> guardian (python -m hybridspeech.processes.supervision) --> command --> JVMs, workers, ...

When the owner writes to the pipe, or the pipe closes because the owner was killed, the guardian ends the command and all
its descendants, also those in separate sessions or without a parent (the guardian is a subreaper), and removes their
scratch folder. On other systems than Linux, orphans of the command may survive. Knows nothing of Spark, Ray and training.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType

import psutil

from hybridspeech.processes.scratch import scratch_folder

POLL_S = 0.1
KILL_S = 5.0
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(AttributeError, OSError):  # not Linux
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def is_alive(pid: int) -> bool:
    """Return whether a process of this machine runs; a zombie does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def is_stopped(pid: int) -> bool:
    """Return whether a process of this machine exists and is stopped (SIGSTOP, a debugger)."""
    try:
        return bool(psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP))
    except psutil.NoSuchProcess:
        return False


def describe_exit(code: int) -> str:
    """Describe an exit code: of `subprocess` (-9) or of a shell or a guardian (137) for a process that was killed."""
    number = -code if code < 0 else code - 128
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"exit code {code}"
    return f"killed by {name}" + (", by the system if memory ran out" if number == signal.SIGKILL else "")


def end_all(processes: Sequence[psutil.Process], terminate_s: float = 0.0) -> None:
    """Send SIGTERM, wait at most `terminate_s`, then send SIGKILL to the rest; with 0, send SIGKILL immediately."""
    alive = list(processes)
    if terminate_s:
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        _, alive = psutil.wait_procs(alive, timeout=terminate_s)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=KILL_S)


def process_tree(pid: int) -> list[psutil.Process]:
    """List a process and all its descendants; empty if it has ended. Call it before it ends: orphans are not found."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


class GuardedProcess:
    """A command under a guardian; a context manager that ends the command and all its descendants.

    The command runs in its own scratch folder (working directory and TMPDIR), without standard input and in a
    separate session, so that Ctrl-C reaches only its owner.

    Parameters
    ----------
    command : program and arguments
    env : the complete environment; Python must be able to import this package with it
    log : file that the output of all processes is appended to
    terminate_s : time between SIGTERM and SIGKILL; 0 sends SIGKILL immediately
    """

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], log: Path, terminate_s: float = 0.0) -> None:
        self._terminate_s = terminate_s
        with log.open("ab") as output:
            self._guardian = subprocess.Popen(
                [sys.executable, "-m", "hybridspeech.processes.supervision", str(terminate_s), *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd="/",  # `python -m` imports from the working directory first
                start_new_session=True,
            )

    def __enter__(self) -> GuardedProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """Process id of the guardian; all other processes are its descendants."""
        return self._guardian.pid

    def poll(self) -> int | None:
        """Return the exit code of the command; None while it or a descendant runs."""
        return self._guardian.poll()

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the command to end; return its exit code, or None after the time-out."""
        try:
            return self._guardian.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """End the command with all its descendants, and wait for it; harmless if it has ended."""
        members = process_tree(self.pid)[1:]
        if self._guardian.stdin and not self._guardian.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._guardian.stdin.write(
                    b"end"
                )  # closing is not enough: a fork of this process may hold the pipe open
                self._guardian.stdin.close()
        if self.wait(self._terminate_s + 3 * KILL_S) is None:  # the guardian itself hangs
            self._guardian.kill()
            self._guardian.wait(KILL_S)
        end_all([process for process in members if process.is_running() and is_alive(process.pid)])


class _Released(Exception):
    """The owner has requested the end, or was killed."""


def _release(number: int, frame: FrameType | None) -> None:
    raise _Released


def _watch(command: subprocess.Popen[bytes]) -> int:
    """Wait for the command to end, and return its exit code (128 + signal if it was killed); reaps its orphans meanwhile.

    Raises
    ------
    _Released: the owner has requested the end, or was killed.
    """
    while True:
        ready, _, _ = select.select([sys.stdin.fileno()], [], [], POLL_S)
        if ready:
            raise _Released
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == command.pid:
                    command.returncode = os.waitstatus_to_exitcode(ended[1])
                    return command.returncode if command.returncode >= 0 else 128 - command.returncode


def _end_descendants(terminate_s: float) -> None:
    deadline = time.monotonic() + terminate_s + KILL_S
    end_all(process_tree(os.getpid())[1:], terminate_s)
    while (found := process_tree(os.getpid())[1:]) and time.monotonic() < deadline:  # started meanwhile
        end_all(found)


def guard(command: Sequence[str], terminate_s: float) -> int:
    """Run a command as its guardian, until it ends or the owner releases it; return the exit code of the command."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _release)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with scratch_folder(is_short=True) as scratch:
        try:
            return _watch(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    cwd=scratch,
                    env={**os.environ, "TMPDIR": scratch},
                    preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),  # if the guardian itself is killed
                )
            )
        except _Released:
            return 128 + signal.SIGTERM
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            _end_descendants(terminate_s)


if __name__ == "__main__":
    sys.exit(guard(sys.argv[2:], terminate_s=float(sys.argv[1])))
