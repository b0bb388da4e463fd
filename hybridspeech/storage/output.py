"""Who may write into an output folder: not over other people's files, and not two jobs at once.

Knows nothing of what is written there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from hybridspeech.errors import ConfigError, OutputExistsError

LOCK_NAME = "_lock"
EMPTYING_NAME = "_emptying"
"""What the mark of an output is called while that is being emptied, so that it can be done again after a crash."""


@contextlib.contextmanager
def claim_output(out: Path, *, marks: tuple[str, ...], overwrite: bool, resume: bool) -> Iterator[None]:
    """Hold `out` for this job: make it, empty it if asked to, and keep other jobs out until the context ends.

    Parameters
    ----------
    marks : names by which an output of the same verb, whole or unfinished, is known; only such a folder is ever emptied
    overwrite, resume : what to do with an output that is there; without either a non-empty folder is refused

    Raises
    ------
    OutputExistsError: the folder is not empty. ConfigError: it is not ours to empty, not writable, or another job has it.
    """
    if overwrite and resume:
        raise ConfigError("both overwrite and resume were given; choose one")
    with _locked(out):
        try:
            _make_room(out, marks, overwrite, resume)
            yield
        finally:
            (out / LOCK_NAME).unlink(missing_ok=True)


def _locked(out: Path) -> TextIO:
    """The lock's file, open and held until it is closed."""
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
        lock.close()  # a job that ended meanwhile has removed this file: the next one locks another


def _make_room(out: Path, marks: tuple[str, ...], overwrite: bool, resume: bool) -> None:
    there = sorted(path for path in out.iterdir() if path.name != LOCK_NAME)
    mark = next((out / name for name in (EMPTYING_NAME, *marks) if out / name in there), None)
    half_empty = mark is not None and mark.name == EMPTYING_NAME
    if not there or (resume and mark and not half_empty):
        return
    if mark is None and (resume or overwrite):
        raise ConfigError(
            f"{out}: holds {there[0].name!r} but nothing that this command has written (one of {', '.join(marks)}); "
            f"nothing was touched; choose an empty or a new folder"
        )
    if mark is None or not (overwrite or resume):
        raise OutputExistsError(
            f"{out}: is not empty; choose another folder, or add --overwrite (--resume goes on with it)"
        )
    last = mark.rename(out / EMPTYING_NAME)
    for path in (*(path for path in there if path not in (mark, last)), last):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
