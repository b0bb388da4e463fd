"""Limits of calls that have no time-out."""

from __future__ import annotations

import threading

import pytest

from hybridspeech.processes.time_limit import finishes_within, time_limit


def test_a_call_that_exceeds_the_time_limit_fails() -> None:
    released = threading.Event()

    def call() -> None:
        assert released.wait(60)
        raise OSError("the process was killed")

    with pytest.raises(TimeoutError, match=r"not finished within 0.05 s"), time_limit(0.05, released.set):
        call()


def test_other_errors_and_results_pass() -> None:
    calls: list[int] = []
    with time_limit(60, lambda: calls.append(1)):
        pass
    with pytest.raises(OSError, match="disk"), time_limit(60, lambda: calls.append(1)):
        raise OSError("disk")
    assert calls == []


def test_finishing_in_time_is_reported() -> None:
    released = threading.Event()
    assert finishes_within(60, lambda: None)
    assert finishes_within(60, lambda: 1 / 0)
    assert not finishes_within(0.05, lambda: released.wait(60))
    released.set()
