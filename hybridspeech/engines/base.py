"""The seam to preprocessing engines: who runs the work. Knows nothing of audio, features and shards.

Every engine transfers results between processes in the same form: `attempt` on the worker's side turns the result of a call
into bytes, `open_outcome` on the driver's side turns the bytes into the result or the error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, ClassVar, Protocol, TypeVar

import cloudpickle

from hybridspeech.config import EngineConfig
from hybridspeech.errors import EngineError, HybridspeechError, one_line

T = TypeVar("T")
R = TypeVar("R")


class Engine(Protocol):
    """A context manager: entering it starts a session, leaving it ends what was started.

    Its class is called with an EngineConfig. ``name`` is its name in ``ENGINES``.
    """

    name: ClassVar[str]

    def __init__(self, config: EngineConfig) -> None: ...

    def __enter__(self) -> Engine: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def parallelism(self) -> int:
        """Number of partitions that an open engine runs at the same time, as far as it is known."""
        ...

    def map_partitions(
        self,
        function: Callable[[Sequence[T]], R],
        partitions: Sequence[Sequence[T]],
        on_done: Callable[[R], None] | None = None,
    ) -> list[R]:
        """Return ``[function(partition) for partition in partitions]``.

        Parameters
        ----------
        function : picklable by cloudpickle, and idempotent: it may run more than once per partition, even at the same time
        partitions : picklable items; an empty list gives an empty list
        on_done : called on the driver once per partition, when its result is known, from one thread at a time

        Raises
        ------
        HybridspeechError: raised by `function`; class and message are those that it raised.
        EngineError: the engine failed, or `function` raised anything else; the message names the cause.
        """
        ...


def failed_partition(i: int, error: BaseException) -> EngineError:
    """Return the error that the caller gets for an exception that is not a HybridspeechError."""
    return EngineError(f"partition {i} failed: {one_line(error)}")


def stalled(timeout_s: float, details: str) -> EngineError:
    """Return the error for an engine that has finished no partition within the stall time-out.

    Parameters
    ----------
    details : which process is silent, as the end of a sentence that begins with a colon; may be empty
    """
    return EngineError(
        f"no partition was finished for {timeout_s:g} s{details}; raise --stall-timeout if one may take that long"
    )


def attempt(function: Callable[[Sequence[T]], R], i: int, partition: Sequence[T]) -> bytes:
    """Return the pickled outcome of function(partition): its result, or the HybridspeechError that it raised.

    Raises
    ------
    EngineError: it raised another exception, or the result can't be pickled; the message names partition and cause.
    """
    try:
        return bytes(cloudpickle.dumps((function(partition), None)))
    except HybridspeechError as error:
        return pack_error(error)
    except Exception as error:
        raise failed_partition(i, error) from error


def pack_error(error: HybridspeechError) -> bytes:
    """Return the pickled outcome that raises `error`; an EngineError with its message, if its class can't be pickled."""
    packed = cloudpickle.dumps((None, error))
    try:
        cloudpickle.loads(packed)
    except Exception:  # noqa: BLE001 - its message must arrive, whatever is wrong with its class
        packed = cloudpickle.dumps((None, EngineError(one_line(error))))
    return bytes(packed)


def open_outcome(outcome: bytes) -> Any:
    """Return the result in an outcome of `attempt`.

    Raises
    ------
    HybridspeechError: the one that the function raised.
    """
    result, error = cloudpickle.loads(outcome)
    if error is not None:
        raise error
    return result
