"""Scratch folders whose paths every tool can handle. Knows nothing of what they are used for.

A folder is locked as long as its process runs. A process that is killed can't remove its folder, so the next scratch
folder that is made beside it does: it removes all folders of this user and this host whose lock no process holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import socket
import stat
import tempfile
from pathlib import Path

from hybridspeech.errors import ConfigError

MAX_PARENT_LENGTH = 20
"""Ray and multiprocessing create sockets below a scratch folder, and the path of a socket has at most 107 characters."""
_PLAIN_PATH = re.compile(r"[A-Za-z0-9._/-]+")
FALLBACK = "/tmp"
PREFIX = "hybridspeech-"
OWNER_NAME = ".owner"
"""File with the name of the host; its lock tells whether the owner runs. Written after it is locked."""


class ScratchFolder(tempfile.TemporaryDirectory[str]):
    """A locked folder with an unpredictable name that only this user can enter; a context manager that removes it."""

    def __init__(self, parent: str) -> None:
        super().__init__(prefix=PREFIX, dir=parent, ignore_cleanup_errors=True)
        self._owner = -1
        try:
            self._owner = os.open(Path(self.name, OWNER_NAME), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            self.cleanup()
            raise
        with contextlib.suppress(OSError):  # a file system without locks: no process removes the folder of another
            fcntl.flock(self._owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(self._owner, socket.gethostname().encode())

    def cleanup(self) -> None:
        """Remove the folder; harmless if it is removed already."""
        super().cleanup()
        if self._owner >= 0:
            os.close(self._owner)
            self._owner = -1


def scratch_folder(*, is_short: bool = False) -> ScratchFolder:
    """Make a folder with an unpredictable name that only this user can enter; a context manager that removes it.

    It is in the system's temporary folder (TMPDIR), or in /tmp if that path has spaces, quotes or letters other than ASCII:
    they break the options of JVMs and the commands of Ray. Folders there of processes that were killed are removed.

    Parameters
    ----------
    is_short : the path must also be short, for sockets

    Raises
    ------
    ConfigError: no temporary folder can be written.
    """
    parent = os.environ.get("TMPDIR", FALLBACK)
    try:
        parent = tempfile.gettempdir()
        if not _PLAIN_PATH.fullmatch(parent) or (is_short and len(parent) > MAX_PARENT_LENGTH):
            parent = FALLBACK
        remove_abandoned(parent)
        return ScratchFolder(parent)
    except OSError as error:
        raise ConfigError(f"{parent}: no temporary folder can be made there: {error.strerror}; set TMPDIR") from error


def remove_abandoned(parent: str) -> None:
    """Remove the scratch folders below `parent` whose processes have ended without removing them."""
    with os.scandir(parent) as entries:
        names = [entry.path for entry in entries if entry.name.startswith(PREFIX)]
    for name in names:
        with contextlib.suppress(OSError):  # of another user, or removed meanwhile
            found = os.lstat(name)
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and _is_abandoned(Path(name)):
                shutil.rmtree(name, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    """Tell whether the owner of a folder has ended; False if it is not known."""
    descriptor = os.open(folder / OWNER_NAME, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.read(descriptor, 1024) == socket.gethostname().encode()
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
