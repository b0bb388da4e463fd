"""Hides the output of native code on standard error unless an exception is raised. Knows nothing of the code."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def native_errors_muted() -> Iterator[None]:
    """Redirect file descriptor 2 to a temporary file, and write its content to standard error if an exception is raised.

    For short sections only: Python's warnings and the output of other threads are hidden too.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held, contextlib.ExitStack() as restore:
        before = os.dup(2)
        restore.callback(os.close, before)
        restore.callback(os.dup2, before, 2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            sys.stderr.flush()
            held.seek(0)
            os.write(before, held.read())
            raise
        finally:
            sys.stderr.flush()
