"""Copies files of a local run directory to a store while training writes them. Knows nothing of TensorFlow.

An object appears whole, and what marks others as complete comes after them: plan and status after other small files, the
metrics of an epoch after the data of its checkpoint, then the `state.index` of the checkpoint, and the weights of the model
after everything else. So whatever is there can be read or resumed at any time.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from hybridspeech.storage.copies import fetch_files, upload_files
from hybridspeech.storage.locations import join, matches_any
from hybridspeech.storage.objects import FileStat, delete_files, list_files

REPLACED = ("checkpoints/", "model/")
"""Folders whose files are removed from the store when they are removed locally."""
_MARKS = (".json", "metrics.jsonl", "state.index", ".weights.h5")
"""Ends of the names that mark other files as complete, in the order in which they are copied."""


class RunCopy:
    """The files of a local folder that one process keeps on a store.

    Parameters
    ----------
    location : URL of the run
    folder : the local run directory
    owned : patterns of the names that this process writes; no other name is copied or removed
    check : called before files are copied; raises if this process must not write any more
    """

    def __init__(
        self, location: str, folder: Path, owned: Sequence[str], check: Callable[[], None] = lambda: None
    ) -> None:
        self._location, self._folder, self._owned, self._check = location, folder, owned, check
        self._sent: dict[str, FileStat] = {}
        self._there: set[str] = set()
        self._copying = threading.Lock()

    def fetch(self, patterns: Sequence[str]) -> None:
        """Copy files from the store whose names match one of the patterns; of checkpoints only complete ones.

        Raises
        ------
        StorageError: the store fails.
        """
        there = {stat.name for stat in list_files(self._location)}
        complete = {name.rpartition("/")[0] for name in there if name.endswith("/state.index")}
        names = sorted(
            name
            for name in there
            if matches_any(name, patterns)
            and (not name.startswith("checkpoints/") or name.rpartition("/")[0] in complete)
        )
        fetch_files(self._location, names, self._folder)
        local = self._local_files()
        self._there = {name for name in there if matches_any(name, self._owned)}
        self._sent = {name: local[name] for name in names if name in local}

    def copy(self) -> None:
        """Copy what has changed since the last call, and remove from the store what was removed locally.

        Raises
        ------
        StorageError: the store fails. Errors of `check`.
        """
        with self._copying:
            local = self._local_files()
            gone = {name for name in self._there if name.startswith(REPLACED) and name not in local}
            changed = {name for name, stat in local.items() if self._sent.get(name) != stat}
            if gone or changed:
                self._check()
            for group in _by_mark(gone, marks_first=True):
                delete_files(join(self._location, name) for name in group)
            self._there -= gone
            for group in _by_mark(changed, marks_first=False):
                self._upload(group, local)

    def wait(self) -> None:
        """Wait for a copy that another thread is making."""
        with self._copying:
            pass

    def keep_local(self) -> str:
        """Move the run out of its local folder, without messages and logs, and return a sentence with its place."""
        kept = Path(tempfile.mkdtemp(prefix="unsaved-run-"))
        for path in self._folder.iterdir():
            if path.name != "workers":
                shutil.move(path, kept / path.name)
        return f"the run is kept in {kept} on {socket.gethostname()}: copy it to {self._location}"

    def _upload(self, names: list[str], local: dict[str, FileStat]) -> None:
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # training has removed it since it was listed
                upload_files(self._folder, [name], self._location)
                self._sent[name] = local[name]
                self._there.add(name)

    def _local_files(self) -> dict[str, FileStat]:
        """Return the own files that are finished: temporary ones begin with a dot, as do their folders."""
        return {
            stat.name: stat
            for stat in list_files(str(self._folder))
            if matches_any(stat.name, self._owned) and not any(part.startswith(".") for part in stat.name.split("/"))
        }


def _by_mark(names: set[str], *, marks_first: bool) -> list[list[str]]:
    """Group names: those that mark nothing, then each kind of mark; or the other way round."""
    marks = [sorted(name for name in names if name.endswith(end)) for end in _MARKS]
    groups = [sorted(name for name in names if not name.endswith(_MARKS)), *marks]
    return groups[::-1] if marks_first else groups
