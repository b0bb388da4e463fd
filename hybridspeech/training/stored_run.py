"""A run directory on an object store: a local folder whose files are copied to the store while training writes them.

An object appears whole, and what marks others as complete comes after them: `state.index` of a checkpoint after its data,
the weights of the model after everything else. So whatever is there can be read or resumed at any time. Knows nothing of
TensorFlow.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from hybridspeech.errors import HybridspeechError, StorageError, reason_of
from hybridspeech.processes.periodic import PeriodicCall
from hybridspeech.processes.scratch import scratch_folder
from hybridspeech.storage.copies import fetch_files, upload_files
from hybridspeech.storage.locations import is_url, join
from hybridspeech.storage.objects import FileStat, delete_files, list_files

SYNC_S = 1.0
"""Least time between two copies: a status that is written more often is copied once in this time."""
REPLACED = ("checkpoints/", "model/", "workers/")
"""Folders whose files are removed from the store when they are removed locally."""
WRITTEN = (
    "plan.json",
    "labels.txt",
    "metrics.jsonl",
    "rejects.jsonl",
    "tensorboard/*",
    *(f"{name}*" for name in REPLACED),
)
"""Patterns of the names that a training writes."""
_MARKS = ("state.index", ".weights.h5")
"""Ends of the names that mark other files as complete, in the order in which they are copied."""


class RunCopy:
    """The copy on a store of a local run directory.

    Parameters
    ----------
    location : URL of the run
    folder : the local run directory
    """

    def __init__(self, location: str, folder: Path) -> None:
        self._location, self._folder = location, folder
        self._sent: dict[str, FileStat] = {}
        self._there: set[str] = set()
        self._copying = threading.Lock()

    def fetch(self) -> None:
        """Copy what a resume needs from the store: plan, metrics and complete checkpoints.

        Raises
        ------
        StorageError: the store fails.
        """
        self._there = {stat.name for stat in list_files(self._location)}
        complete = {name.rpartition("/")[0] for name in self._there if name.endswith("/state.index")}
        wanted = [
            name
            for name in sorted(self._there)
            if name in ("plan.json", "labels.txt", "metrics.jsonl") or name.rpartition("/")[0] in complete
        ]
        fetch_files(self._location, wanted, self._folder)
        self._sent = self._local_files()

    def copy(self) -> None:
        """Copy what has changed since the last call, and remove from the store what was removed locally.

        Raises
        ------
        StorageError: the store fails.
        """
        with self._copying:
            local = self._local_files()
            gone = {name for name in self._there if name.startswith(REPLACED) and name not in local}
            for group in _by_mark(gone, marks_first=True):
                delete_files(join(self._location, name) for name in group)
            self._there -= gone
            changed = {name for name, stat in local.items() if self._sent.get(name) != stat}
            for group in _by_mark(changed, marks_first=False):
                self._upload(group, local)

    def keep_local(self) -> str:
        """Move the local run out of the scratch folder, and return how to continue from there."""
        kept = Path(tempfile.mkdtemp(prefix="unsaved-run-"), "run")
        shutil.move(self._folder, kept)
        return f"the whole run is kept in {kept}: copy it to {self._location}, or use it from there"

    def _upload(self, names: list[str], local: dict[str, FileStat]) -> None:
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # training has removed it since it was listed
                upload_files(self._folder, [name], self._location)
                self._sent[name] = local[name]
                self._there.add(name)

    def _local_files(self) -> dict[str, FileStat]:
        """Return the files that are finished: temporary ones begin with a dot, as do their folders."""
        stats = list_files(str(self._folder))
        return {stat.name: stat for stat in stats if not any(part.startswith(".") for part in stat.name.split("/"))}


def _by_mark(names: set[str], *, marks_first: bool) -> list[list[str]]:
    """Group names: those that mark nothing, then each kind of mark; or the other way round."""
    marks = [sorted(name for name in names if name.endswith(end)) for end in _MARKS]
    groups = [sorted(name for name in names if not name.endswith(_MARKS)), *marks]
    return groups[::-1] if marks_first else groups


@contextlib.contextmanager
def local_run(location: str, *, resume: bool) -> Iterator[tuple[Path, RunCopy | None]]:
    """Give a local folder for a run directory, until the context ends; a local location is given as it is.

    For a URL, the caller calls `RunCopy.copy` at the end, and `kept_on_store` copies until then.

    Parameters
    ----------
    resume : get the files that a resume needs from the store first
    """
    if not is_url(location):
        yield Path(location), None
        return
    with scratch_folder() as scratch:
        folder = Path(scratch, "run")
        folder.mkdir()
        copy = RunCopy(location, folder)
        if resume:
            copy.fetch()
        yield folder, copy


@contextlib.contextmanager
def kept_on_store(copy: RunCopy | None, on_kept: Callable[[str], None]) -> Iterator[None]:
    """Copy a run to its store periodically, and whole at the end, also after an error.

    If the last copy fails, the local run is moved to a folder that stays.

    Parameters
    ----------
    on_kept : called with that folder in a sentence if the context ends with an error, which is raised then

    Raises
    ------
    StorageError: the last copy failed, after a context without an error; names the folder.
    """
    if copy is None:
        yield
        return

    def copy_if_possible() -> None:
        with contextlib.suppress(StorageError, OSError):  # `copy` at the end tries again, and raises
            copy.copy()

    copy.copy()
    try:
        with PeriodicCall(copy_if_possible, SYNC_S, "hybridspeech-run-copy"):
            yield
    except BaseException:
        try:
            copy.copy()
        except (HybridspeechError, OSError) as failure:
            on_kept(f"the run could not be copied ({reason_of(failure)}); {copy.keep_local()}")
        raise
    try:
        copy.copy()
    except (HybridspeechError, OSError) as failure:
        raise StorageError(f"{failure}; {copy.keep_local()}") from failure
