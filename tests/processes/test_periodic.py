"""Periodic calls in a background thread."""

from __future__ import annotations

import threading

from hybridspeech.processes.periodic import PeriodicCall


def test_the_function_is_called_while_the_context_lasts_and_once_when_it_ends() -> None:
    calls, called_thrice = list[bool](), threading.Event()
    is_ending = False

    def function() -> None:
        calls.append(is_ending)
        if len(calls) == 3:
            called_thrice.set()

    with PeriodicCall(function, 0.001, "calls"):
        assert called_thrice.wait(10)
        is_ending = True
    assert len(calls) > 3
    assert calls[-1]
    assert all(thread.name != "calls" for thread in threading.enumerate())


def test_a_short_context_has_one_call() -> None:
    calls = list[int]()
    with PeriodicCall(lambda: calls.append(1), 3600, "calls"):
        pass
    assert calls == [1]
