"""A guarded command and all its descendants end with its owner, also if one of them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from hybridspeech.processes.environment import python_path
from hybridspeech.processes.supervision import GuardedProcess, describe_exit, is_alive, process_tree

# Writes its process id to a file and sleeps, as an orphan in its own session, which is the hardest to find.
ESCAPED = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(f"{os.getpid()}\\n")
        time.sleep(600)
    os._exit(0)
os.wait()
"""


@pytest.fixture
def guarded(tmp_path: Path) -> Callable[..., GuardedProcess]:
    env = {**os.environ, "PYTHONPATH": python_path()}
    return lambda source, *arguments: GuardedProcess(
        [sys.executable, "-c", source, *arguments], env=env, log=tmp_path / "log", terminate_s=0.5
    )


def wait_for(condition: Callable[[], bool], timeout_s: float = 30.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def read_pid(path: Path) -> int:
    assert wait_for(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def test_exit_code_and_output_of_the_command_are_passed_on(guarded, tmp_path):
    with guarded("print('said'); raise SystemExit(3)") as process:
        assert process.wait(30) == 3
    assert (tmp_path / "log").read_text() == "said\n"


def test_the_command_works_in_a_scratch_folder_that_is_removed(guarded, tmp_path):
    source = "import os, sys, tempfile; print(os.getcwd(), tempfile.gettempdir()); open('file', 'w')"
    with guarded(source) as process:
        process.wait(30)
    folder, temporary = (tmp_path / "log").read_text().split()
    assert folder == temporary
    assert not Path(folder).exists()


def test_leaving_the_context_ends_orphans_in_other_sessions(guarded, tmp_path):
    with guarded(f"{ESCAPED}\ntime.sleep(600)", str(tmp_path / "pid")):
        pid = read_pid(tmp_path / "pid")
        assert is_alive(pid)
    assert not is_alive(pid)


def test_the_end_of_the_command_ends_its_descendants(guarded, tmp_path):
    with guarded(ESCAPED, str(tmp_path / "pid")) as process:
        assert process.wait(30) == 0
        assert not is_alive(read_pid(tmp_path / "pid"))


def test_processes_get_time_to_handle_sigterm(guarded, tmp_path):
    source = "import sys, time\ntry: print('ready', flush=True); time.sleep(600)\nfinally: print('tidied up')"
    with guarded(f"import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit())\n{source}"):
        assert wait_for(lambda: "ready" in (tmp_path / "log").read_text())
    assert "tidied up" in (tmp_path / "log").read_text()


def test_processes_that_ignore_sigterm_are_killed(guarded, tmp_path):
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    with guarded(f"{deaf}{ESCAPED}\ntime.sleep(600)", str(tmp_path / "pid")):
        pid = read_pid(tmp_path / "pid")
    assert not is_alive(pid)


OWNER = """
import os, sys, time
from pathlib import Path
from hybridspeech.processes.supervision import GuardedProcess
with GuardedProcess([sys.executable, "-c", *sys.argv[1:]], env=dict(os.environ), log=Path(os.devnull)) as process:
    print(process.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("victim", ["owner", "guardian"])
def test_killing_the_owner_or_the_guardian_ends_the_command(victim, tmp_path):
    source = "import os, sys, time; open(sys.argv[1], 'w').write(f'{os.getpid()}\\n'); time.sleep(600)"
    command = [sys.executable, "-c", OWNER, source, str(tmp_path / "pid")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": python_path()}) as owner:
        assert owner.stdout
        guardian = int(owner.stdout.readline())
        pid = read_pid(tmp_path / "pid")
        os.kill(owner.pid if victim == "owner" else guardian, signal.SIGKILL)
        assert wait_for(lambda: not is_alive(pid))
        owner.kill()


def test_an_interrupt_of_the_owner_ends_the_command(guarded, tmp_path):
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(KeyboardInterrupt), guarded("import time; time.sleep(600)"):
        raise KeyboardInterrupt
    assert set(psutil.Process().children(recursive=True)) <= before


def test_the_process_tree_lists_the_descendants_until_they_end() -> None:
    nested = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", nested], stdin=subprocess.PIPE) as parent:
        while len(process_tree(parent.pid)) < 2:
            assert parent.poll() is None
    assert process_tree(parent.pid) == []


@pytest.mark.parametrize(
    ("code", "description"),
    [(3, "exit code 3"), (-9, "killed by SIGKILL, by the system if memory ran out"), (143, "killed by SIGTERM")],
)
def test_an_exit_code_is_described(code: int, description: str) -> None:
    assert describe_exit(code) == description
