"""Translates errors of writing an output. Knows nothing of what is written."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from hybridspeech.errors import ShardError

_REMEDIES = {
    errno.ENOENT: "the folder does not exist (any more); create it again",
    errno.ENOTDIR: "it is not a folder; choose another output",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "change its permissions",
    errno.EPERM: "change its permissions",
}


@contextmanager
def translate_write_errors(out: str) -> Iterator[None]:
    """Raise ShardError with the output folder, the reason and the remedy if a file of the output can't be written."""
    try:
        yield
    except OSError as error:
        raise write_error(out, error) from error


def write_error(location: str, error: OSError) -> ShardError:
    """Return the error of a file or folder that can't be written: the reason, and the remedy for it."""
    remedy = _REMEDIES.get(error.errno or 0, "free space there")
    return ShardError(f"{location}: can't be written: {error.strerror or error}; {remedy}, then --resume")
