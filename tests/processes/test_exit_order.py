"""The order in which processes end."""

from __future__ import annotations

import subprocess

import psutil

from hybridspeech.processes.exit_order import ExitOrder


def test_processes_that_ended_between_two_looks_are_listed_in_the_order_of_their_end() -> None:
    sleepers = [subprocess.Popen(["sleep", "600"]) for _ in range(3)]
    pids = [each.pid for each in sleepers]
    before = psutil.Process().num_fds()
    order = ExitOrder()
    for pid in [*pids, *pids]:
        order.add(pid)
    assert order.ended() == []
    for number in (2, 0):
        sleepers[number].kill()
        sleepers[number].wait()
    assert order.ended() == [pids[2], pids[0]]
    sleepers[1].kill()
    sleepers[1].wait()
    assert order.ended() == [pids[2], pids[0], pids[1]]
    order.close()
    assert psutil.Process().num_fds() == before


def test_a_process_that_has_ended_before_is_not_listed() -> None:
    with subprocess.Popen(["true"]) as process:
        pass
    order = ExitOrder()
    order.add(process.pid)
    assert order.ended() == []
    order.close()
