"""Scratch folders with short paths. Knows nothing of what they are used for."""

from __future__ import annotations

import tempfile

MAX_PARENT_LENGTH = 20
"""Ray and multiprocessing create sockets below a scratch folder, and the path of a socket has at most 107 characters."""


def short_scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder with a short, unpredictable path that only this user can enter; a context manager that removes it."""
    parent = None if len(tempfile.gettempdir()) <= MAX_PARENT_LENGTH else "/tmp"
    return tempfile.TemporaryDirectory(prefix="hybridspeech-", dir=parent, ignore_cleanup_errors=True)
