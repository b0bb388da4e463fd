from __future__ import annotations

import subprocess
import sys

from benchmarks.cpu_time import cpu_s

SPIN = "import time\nwhile time.process_time() < 0.3: pass\n"


def test_children_that_have_ended_and_those_that_run_are_counted() -> None:
    before_s = cpu_s()
    subprocess.run([sys.executable, "-c", SPIN], check=True)
    assert cpu_s() - before_s >= 0.25
    command = [sys.executable, "-c", SPIN + "print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert cpu_s() - before_s >= 0.5
        child.communicate(b"\n")


def test_the_cpu_time_of_other_processes_is_counted_by_their_ids() -> None:
    command = [sys.executable, "-c", SPIN + "print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert 0.25 <= cpu_s([child.pid]) < cpu_s()
        child.communicate(b"\n")
    assert cpu_s([]) == 0
