"""Scratch folders whose paths every tool can handle. Knows nothing of what they are used for."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from hybridspeech.errors import ConfigError

MAX_PARENT_LENGTH = 20
"""Ray and multiprocessing create sockets below a scratch folder, and the path of a socket has at most 107 characters."""
_PLAIN_PATH = re.compile(r"[A-Za-z0-9._/-]+")
FALLBACK = "/tmp"


def scratch_folder(*, is_short: bool = False) -> tempfile.TemporaryDirectory[str]:
    """Make a folder with an unpredictable name that only this user can enter; a context manager that removes it.

    It is in the system's temporary folder (TMPDIR), or in /tmp if that path has spaces, quotes or letters other than ASCII:
    they break the options of JVMs and the commands of Ray.

    Parameters
    ----------
    is_short : the path must also be short, for sockets

    Raises
    ------
    ConfigError: no temporary folder can be written.
    """
    try:
        parent = tempfile.gettempdir()
        if not _PLAIN_PATH.fullmatch(parent) or (is_short and len(parent) > MAX_PARENT_LENGTH):
            parent = FALLBACK
        return tempfile.TemporaryDirectory(prefix="hybridspeech-", dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        folder = Path(error.filename or os.environ.get("TMPDIR", FALLBACK)).parent
        raise ConfigError(f"{folder}: no temporary folder can be made there: {error.strerror}; set TMPDIR") from error
