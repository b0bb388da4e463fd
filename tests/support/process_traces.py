"""Traces of work in this process: processes, ports, threads, open files, files, alarms, handlers, variables."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

TENSORFLOWS_OWN = "__autograph_generated_file"
"""Code that TensorFlow writes for a function, and removes when the process ends."""


def traces(folder: Path) -> dict[str, Any]:
    """Return the traces of this process now, and the files in `folder`, the folder for temporary files."""
    process = psutil.Process()
    return {
        "processes": sorted(child.pid for child in process.children(recursive=True)),
        "ports": sorted(
            each.laddr.port for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN
        ),
        "threads of Python": sorted(thread.name for thread in threading.enumerate()),
        "open files": process.num_fds(),
        "files": sorted(path.name for path in folder.iterdir() if not path.name.startswith(TENSORFLOWS_OWN)),
        "alarm": signal.getitimer(signal.ITIMER_REAL),
        "handlers": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)],
        "variables": dict(os.environ),
        "working directory": Path.cwd(),
    }


def _is_below(pid: int, ancestors: list[int]) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return any(parent.pid in ancestors for parent in psutil.Process(pid).parents())
    return True


@contextlib.contextmanager
def nothing_is_left() -> Iterator[None]:
    """Check that what happens within leaves no process, port, thread or temporary file.

    Sessions that other tests share may end processes and threads of theirs meanwhile, and start new ones below their own.
    """
    with tempfile.TemporaryDirectory(prefix="t-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        before = traces(Path(folder))
        yield
        after = traces(Path(folder))
        for kind in ("processes", "ports", "threads of Python", "files"):
            left = Counter(after[kind]) - Counter(before[kind])
            assert not left, f"{kind}: {sorted(left)} are left; {before[kind]} were there before"
