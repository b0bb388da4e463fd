"""The folders in /tmp/ray into which Ray's Java unpacks its library (41 MB); no setting moves them, and Ray never removes them.

Their names are times, so only the memory maps of processes tell whose they are. Knows nothing of Spark and of sessions.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

LIBRARY_NAME = "libcore_worker_library_java.so"
ROOT = Path("/tmp/ray")
MIN_AGE_S = 60.0
"""A younger folder may belong to a JVM that is about to load the library."""


def library_folders(processes: Iterable[psutil.Process]) -> set[Path]:
    """Find the folders outside of Ray's session whose library one of the processes has loaded."""
    folders = set()
    for process in processes:
        with contextlib.suppress(psutil.Error, AttributeError):  # not every system lists mapped files
            mapped = {Path(each.path) for each in process.memory_maps()}
            folders |= {path.parent for path in mapped if path.name == LIBRARY_NAME and path.parent.parent == ROOT}
    return folders


def remove_folders(folders: Iterable[Path]) -> None:
    """Remove folders, and the one that holds them if it is empty then."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        ROOT.rmdir()


def remove_abandoned_folders(min_age_s: float = MIN_AGE_S) -> None:
    """Remove the folders of this user that no process uses: their JVMs were killed, or their driver was."""
    candidates = set()
    for library in ROOT.glob(f"*/{LIBRARY_NAME}"):
        with contextlib.suppress(OSError):  # removed meanwhile
            found = library.lstat()
            if found.st_uid == os.geteuid() and time.time() - found.st_mtime > min_age_s:
                candidates.add(library.parent)
    if candidates:
        remove_folders(candidates - library_folders(psutil.process_iter()))
