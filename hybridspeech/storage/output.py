"""Permission to write an output: never over files of other programs, and only one job at a time.

Knows nothing of what is written there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from hybridspeech.errors import ConfigError, HybridspeechError, OutputExistsError
from hybridspeech.processes.periodic import PeriodicCall
from hybridspeech.storage.locations import is_url, join, matches_any, normalized
from hybridspeech.storage.objects import delete_files, list_files, write_bytes
from hybridspeech.storage.store_lock import LOCK_PREFIX, LockTiming, StoreLock

LOCK_NAME = "_lock"
EMPTYING_NAME = "_emptying"
"""Mark of an output that is being emptied, so that emptying can be repeated after a crash."""

CheckClaim = Callable[[], None]
"""Raises StorageError if the output is no longer this job's; to be called before the output is marked as finished."""


@contextlib.contextmanager
def claim_output(
    out: str | Path,
    *,
    marks: tuple[str, ...],
    ours: tuple[str, ...] = ("*",),
    overwrite: bool,
    resume: bool,
    timing: LockTiming = LockTiming(),  # noqa: B008 - frozen
) -> Iterator[CheckClaim]:
    """Lock `out` for this job: create it, empty it with `overwrite`, and refuse other jobs until the context ends.

    Parameters
    ----------
    marks : names that identify an output of the same verb, complete or unfinished; no other output is ever emptied
    ours : patterns of the names that this verb writes; nothing else is deleted from an object store
    overwrite, resume : what to do with an output that exists; without either, an output that is not empty is refused

    Raises
    ------
    OutputExistsError: the output is not empty. ConfigError: it is not an output of this verb, not writable, or
    locked by another job. StorageError: the store can't be reached, or refuses the request.
    """
    if overwrite and resume:
        raise ConfigError("both overwrite and resume were given; choose one")
    if is_url(out):
        with _store_locked(normalized(out), timing) as check:
            _empty_store(normalized(out), marks, ours, overwrite, resume)
            yield check
        return
    out = Path(out)
    with _locked(out):
        try:
            _empty_folder(out, marks, overwrite, resume)
            yield lambda: None
        finally:
            (out / LOCK_NAME).unlink(missing_ok=True)


@contextlib.contextmanager
def _store_locked(out: str, timing: LockTiming) -> Iterator[CheckClaim]:
    lock = StoreLock(out, timing)

    def renew() -> None:
        with contextlib.suppress(HybridspeechError):  # a lock that is lost for good is noticed by `check`
            lock.renew()

    try:
        lock.acquire()
        with PeriodicCall(renew, timing.heartbeat_s, "hybridspeech-lock"):
            yield lock.check
    finally:
        with contextlib.suppress(HybridspeechError):  # another job takes the lock over after some time
            lock.release()


def _empty_store(out: str, marks: tuple[str, ...], ours: tuple[str, ...], overwrite: bool, resume: bool) -> None:
    there = [stat.name for stat in list_files(out) if not stat.name.startswith(LOCK_PREFIX)]
    tops = {name.partition("/")[0] for name in there}
    mark = next((name for name in (EMPTYING_NAME, *marks) if name in tops), None)
    if not may_write(out, there, mark, marks, overwrite=overwrite, resume=resume):
        deletable = [name for name in there if matches_any(name, ours)]
        write_bytes(join(out, EMPTYING_NAME), b"")
        delete_files(join(out, name) for name in deletable if name != EMPTYING_NAME)
        delete_files([join(out, EMPTYING_NAME)])


def may_write(
    out: str | Path, there: list[str], mark: str | None, marks: tuple[str, ...], *, overwrite: bool, resume: bool
) -> bool:
    """Tell whether a job may write into an output as it is; if not, the output must be emptied first.

    Raises
    ------
    OutputExistsError, ConfigError: as `claim_output`.
    """
    half_empty = mark == EMPTYING_NAME
    if not there or (resume and mark and not half_empty):
        return True
    if mark is None and (resume or overwrite):
        raise ConfigError(
            f"{out}: holds {there[0]!r} but nothing that this command has written (one of {', '.join(marks)}); "
            f"nothing was touched; choose an empty or a new folder"
        )
    if mark is None or not (overwrite or resume):
        raise OutputExistsError(
            f"{out}: is not empty; choose another folder, or add --overwrite (--resume continues it)"
        )
    return False


def _locked(out: Path) -> TextIO:
    """Open and lock the lock file; closing it ends the lock."""
    while True:
        try:
            out.mkdir(parents=True, exist_ok=True)
            lock = (out / LOCK_NAME).open("a")
        except OSError as error:
            raise ConfigError(
                f"{out}: can't write there ({error.strerror}); choose a folder that can be written"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise ConfigError(f"{out}: another job is writing there; wait for it, or choose another folder") from error
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), (out / LOCK_NAME).stat()):
                return lock
        lock.close()  # another job has ended and removed this file since it was opened: try again with the new file


def _empty_folder(out: Path, marks: tuple[str, ...], overwrite: bool, resume: bool) -> None:
    there = sorted(path for path in out.iterdir() if path.name != LOCK_NAME)
    mark = next((out / name for name in (EMPTYING_NAME, *marks) if out / name in there), None)
    names = [path.name for path in there]
    if may_write(out, names, mark.name if mark else None, marks, overwrite=overwrite, resume=resume):
        return
    assert mark is not None
    last = mark.rename(out / EMPTYING_NAME)
    for path in (*(path for path in there if path not in (mark, last)), last):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
