"""The first seam: who runs the preprocessing. Knows nothing of audio, features or shards.

What crosses the border between processes stands here, for every engine: `attempt` on the worker's side turns a call
into bytes, `open_outcome` on the driver's side turns them into its result or its error.
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
    """A context manager: entering it starts the session, leaving it closes what it started.

    Its class is called with an EngineConfig. ``name`` is its name in ``ENGINES``.
    """

    name: ClassVar[str]

    def __init__(self, config: EngineConfig) -> None: ...

    def __enter__(self) -> Engine: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

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
        on_done : called on the driver, from one thread at a time, once per partition, as soon as its result is known

        Raises
        ------
        HybridspeechError: raised by `function` itself, passed on as it is (its type and message survive the trip).
        EngineError: the engine failed, or `function` raised anything else; the message names the cause.
        """
        ...


def failed_partition(i: int, error: BaseException) -> EngineError:
    """What the caller sees of an exception that is not a HybridspeechError."""
    return EngineError(f"partition {i} failed: {one_line(error)}")


def attempt(function: Callable[[Sequence[T]], R], i: int, partition: Sequence[T]) -> bytes:
    """The outcome of function(partition): its result, or the HybridspeechError that it raised.

    Raises
    ------
    EngineError: it raised anything else, or the result can't be pickled; the message names partition and cause.
    """
    try:
        return bytes(cloudpickle.dumps((function(partition), None)))
    except HybridspeechError as error:
        return pack_error(error)
    except Exception as error:
        raise failed_partition(i, error) from error


def pack_error(error: HybridspeechError) -> bytes:
    """The outcome that raises `error`; its words as an EngineError, if its class does not survive pickling."""
    packed = cloudpickle.dumps((None, error))
    try:
        cloudpickle.loads(packed)
    except Exception:  # noqa: BLE001 - whatever its class does wrong, its message must arrive
        packed = cloudpickle.dumps((None, EngineError(one_line(error))))
    return bytes(packed)


def open_outcome(outcome: bytes) -> Any:
    """The result in what `attempt` returned.

    Raises
    ------
    HybridspeechError: the one that the function raised, as it was.
    """
    result, error = cloudpickle.loads(outcome)
    if error is not None:
        raise error
    return result
