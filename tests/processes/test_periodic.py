"""A look beside other work."""

from __future__ import annotations

import threading

from hybridspeech.processes.periodic import Polled


def test_looks_are_taken_while_it_lasts_and_once_when_it_ends() -> None:
    looks, seen = list[bool](), threading.Event()
    over = False

    def look() -> None:
        looks.append(over)
        if len(looks) == 3:
            seen.set()

    with Polled(look, 0.001, "looks"):
        assert seen.wait(10)
        over = True
    assert len(looks) > 3
    assert looks[-1]
    assert all(thread.name != "looks" for thread in threading.enumerate())


def test_what_ends_at_once_is_looked_at_once() -> None:
    looks = list[int]()
    with Polled(lambda: looks.append(1), 3600, "looks"):
        pass
    assert looks == [1]
