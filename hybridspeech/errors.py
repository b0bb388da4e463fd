"""The exception tree. Everything that hybridspeech raises on purpose derives from HybridspeechError.

    HybridspeechError                 exit code 1
    |-- ConfigError                   a setting or argument that can't work; exit code 2
    |   |-- MissingExtraError         a package of an optional extra is not installed
    |   `-- OutputExistsError         the output is there already, and neither --overwrite nor --resume was given
    |-- ManifestError                 the source folder or table is not what was promised
    |-- AudioError                    one clip can't be used; has a `reason`, a short stable word
    |-- TooManyRejectsError           more clips were rejected than --max-rejects allows
    |-- DownloadError                 a published set could not be fetched, or is not what was published
    |-- StorageError                  an object store could not be reached, or refused a request
    |-- ShardError                    a shard or an index is missing, damaged or of another kind
    |-- RunError                      a run directory is missing, incomplete or of another kind
    |-- EngineError                   a preprocessing engine could not start, or lost its work
    |   `-- JavaError                 no Java that Spark can use
    `-- BackendError                  a training backend could not start or reach its workers
        `-- WorkerError               a training worker failed; has `rank` and `cause`

A message is one sentence or a few: what was given, what was expected, what to do. Errors of other libraries are
translated once, where the library is called, with ``raise ... from``. Knows nothing of anything else in the package.
"""

from __future__ import annotations

import errno

_REMEDIES = {
    errno.ENOENT: "the folder does not exist (any more): create it again",
    errno.ENOTDIR: "a part of this path is not a folder: choose another location",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "change the permissions",
    errno.EPERM: "change the permissions",
}


class HybridspeechError(Exception):
    """Base of all errors of this package; `exit_code` is what the command line ends with."""

    exit_code = 1


def remedy_of(error: OSError) -> str:
    """Return what to do about a file that can't be written."""
    return _REMEDIES.get(error.errno or 0, "free space there")


def reason_of(error: BaseException) -> str:
    """Return the message of an error in one line of at most 300 characters, for another message."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:297]}..."


def one_line(error: BaseException) -> str:
    """Kind and message of an error, e.g. ``ValueError: loss is nan at step 12``: one line of at most 1,000 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:1000]


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, e.g. "1 worker" and "2,000 workers"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


class ConfigError(HybridspeechError):
    """A setting or argument that can't work."""

    exit_code = 2


class MissingExtraError(ConfigError):
    """A package of an optional extra is not installed."""


class OutputExistsError(ConfigError):
    """The output is there already, and neither overwriting nor resuming was requested."""


class ManifestError(HybridspeechError):
    """The source folder or table is not what was promised."""


class AudioError(HybridspeechError):
    """One clip can't be used.

    Parameters
    ----------
    reason : a short stable word for tables, e.g. ``unreadable``, ``empty``, ``not-finite``, ``too-long``
    detail : what was given and what was expected
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[AudioError], tuple[str, str]]:
        return (AudioError, (self.reason, self.detail))


class TooManyRejectsError(HybridspeechError):
    """More clips were rejected than ``max_rejects`` allows."""


class DownloadError(HybridspeechError):
    """A file could not be fetched, is not the one that was promised, or is an archive that may not be unpacked."""


class StorageError(HybridspeechError):
    """An object store could not be reached, or refused a request."""


class ShardError(HybridspeechError):
    """A shard or an index is missing, damaged or of another kind."""


class RunError(HybridspeechError):
    """A run directory is missing, incomplete or of another kind."""


class EngineError(HybridspeechError):
    """A preprocessing engine could not start, or lost its work."""


class JavaError(EngineError):
    """No Java that Spark can use."""


class BackendError(HybridspeechError):
    """A training backend could not start or reach its workers."""


class WorkerError(BackendError):
    """A training worker failed: the earliest failure of all ranks.

    Parameters
    ----------
    rank : which worker, counted from 0
    cause : one line, e.g. ``ValueError: loss is nan at step 12``
    """

    def __init__(self, rank: int, cause: str) -> None:
        super().__init__(f"worker {rank} failed: {cause}")
        self.rank = rank
        self.cause = cause

    def __reduce__(self) -> tuple[type[WorkerError], tuple[int, str]]:
        return (WorkerError, (self.rank, self.cause))
