"""Translates errors of writing an output. Knows nothing of what is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hybridspeech.errors import ShardError, remedy_of


@contextmanager
def translate_write_errors(out: str) -> Iterator[None]:
    """Raise ShardError with the output folder, the reason and the remedy if a file of the output can't be written."""
    try:
        yield
    except OSError as error:
        raise write_error(out, error) from error


def write_error(location: str, error: OSError) -> ShardError:
    """Return the error of a file or folder that can't be written: the reason, and the remedy for it."""
    return ShardError(f"{location}: can't be written: {error.strerror or error}; {remedy_of(error)}, then --resume")
