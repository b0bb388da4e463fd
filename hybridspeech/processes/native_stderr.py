"""Keeps what native code writes to standard error from the user, unless something goes wrong. Knows nothing of which code."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def native_errors_muted() -> Iterator[None]:
    """Hold back file descriptor 2 while the context lasts; if it ends with an error, what was held back is written.

    For short sections only: Python's own warnings and other threads' lines are held back too.
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
