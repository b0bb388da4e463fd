"""Hides the output of native code on standard error, or captures it. Knows nothing of the code."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import BinaryIO


@contextlib.contextmanager
def native_errors_muted() -> Iterator[None]:
    """Redirect file descriptor 2 to a temporary file, and write its content to standard error if an exception is raised.

    For short sections only: Python's warnings and the output of other threads are hidden too.
    """
    with _redirected() as (held, before):
        try:
            yield
        except BaseException:
            sys.stderr.flush()
            held.seek(0)
            os.write(before, held.read())
            raise


@contextlib.contextmanager
def native_errors_captured() -> Iterator[Callable[[], str]]:
    """Redirect file descriptor 2 to a temporary file; yields a function that returns what was written so far.

    It is written to standard error at the end, unless an exception is raised, which should then give the cause.
    """

    def text() -> str:
        sys.stderr.flush()
        return os.pread(held.fileno(), os.fstat(held.fileno()).st_size, 0).decode(errors="replace")

    with _redirected() as (held, before):
        yield text
        os.write(before, text().encode())


@contextlib.contextmanager
def _redirected() -> Iterator[tuple[BinaryIO, int]]:
    """Redirect file descriptor 2 to a temporary file; yields the file, and a descriptor of standard error."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held, contextlib.ExitStack() as restore:
        before = os.dup(2)
        restore.callback(os.close, before)
        restore.callback(os.dup2, before, 2)
        os.dup2(held.fileno(), 2)
        try:
            yield held, before
        finally:
            sys.stderr.flush()
