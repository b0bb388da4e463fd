"""Unusual environments: paths, users, limits, locales and streams. Commands work, or end with one sentence."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.memory_limit import memory_limit
from support.process_faults import OPTIONS, Undisturbed, command

import hybridspeech

LOCAL = ("--engine", "local", "--num-executors", "2")
IN_PROCESS = ("--engine", "local")
SPARK = ("--engine", "spark", "--master", "local[1]")
CLUSTER = ("--engine", "spark", "--master", "local-cluster[1,1,512]", "--executor-memory", "512m")
RAYDP = ("--engine", "raydp", "--num-executors", "1")
NOBODY = 12345
"""A user without an entry in the table of users, as containers have them."""

REOPEN = """
base=$0; kept=$1; closed=$2; shift 2
mount --bind "$base" "$kept"
mount -t tmpfs -o mode=755 tmpfs "$closed"
mkdir -p "$base"
mount --bind "$kept" "$base"
cd /
exec "$@"
"""
"""Make the interpreter readable for other users, in this mount namespace only, if it is in a private folder."""


OBJECTS_IN_RAY = """
from pathlib import Path
import numpy as np
from hybridspeech.backends.ray import OBJECT_STORE_BYTES
from hybridspeech.clusters.ray_session import RaySettings, ray_session
from hybridspeech.errors import BackendError
from hybridspeech.processes.scratch import scratch_folder

settings = RaySettings(
    address=None, num_cpus=1, object_store_bytes=OBJECT_STORE_BYTES, answer_timeout_s=240, verbose=False, error=BackendError
)
with scratch_folder(is_short=True) as folder, ray_session(settings, Path(folder)):
    import ray
    objects = [ray.put(np.zeros(30_000_000, np.uint8)) for _ in range(4)]
    print(sum(ray.get(each).size for each in objects))
"""
"""More data than fit into /dev/shm."""


def engines(*options: tuple[str, ...], soak: tuple[tuple[str, ...], ...] = ()) -> pytest.MarkDecorator:
    """Run a test on these engines, and on those of `soak` in ``make soak`` only."""
    params = [
        pytest.param(
            each,
            id=each[1] + each[-1],
            marks=[
                pytest.mark.slow if each[1] == "local" else pytest.mark.cluster,
                *([pytest.mark.soak] * (each in soak)),
            ],
        )
        for each in (*options, *soak)
    ]
    return pytest.mark.parametrize("engine", params)


def run(
    arguments: list[str],
    preexec_fn: Callable[[], None] | None = None,
    cwd: Path | None = None,
    **variables: str | None,
) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in {**os.environ, **variables}.items() if value is not None}
    return subprocess.run(
        arguments, capture_output=True, text=True, timeout=300, env=env, preexec_fn=preexec_fn, cwd=cwd, check=False
    )


def check(done: subprocess.CompletedProcess[str], undisturbed: Undisturbed) -> None:
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["digest"] == undisturbed.digest
    assert "Traceback" not in done.stderr


@engines(LOCAL, CLUSTER, RAYDP, soak=(SPARK,))
def test_an_installation_a_temporary_folder_and_a_home_with_an_unusual_path_work(
    engine: tuple[str, ...], clips: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    folder = tmp_path / 'it\'s a "größe"'
    shutil.copytree(Path(hybridspeech.__file__).parent, folder / "code" / "hybridspeech")
    out = folder / "out"
    variables = {"TMPDIR": str(folder), "HOME": str(folder), "PYTHONPATH": str(folder / "code")}
    done = run(command(clips, out, *engine, *OPTIONS), cwd=folder, **variables)
    check(done, undisturbed)
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {"code", "out"}


@engines(LOCAL, SPARK, soak=(RAYDP,))
def test_locale_c_without_a_home_works(
    engine: tuple[str, ...], clips: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    variables = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "HOME": None}
    check(run(command(clips, tmp_path / "out", *engine, *OPTIONS), **variables), undisturbed)


@engines(LOCAL, soak=(SPARK,))
def test_closed_standard_streams_work(
    engine: tuple[str, ...], clips: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    done = run([*shell, *command(clips, tmp_path / "out", *engine, *OPTIONS)])
    assert done.returncode == 0
    assert json.loads((tmp_path / "out/index.json").read_text())["digest"] == undisturbed.digest


def limit_open_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


@engines(LOCAL)
def test_64_open_files_are_enough_for_one_process(
    engine: tuple[str, ...], clips: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    check(run(command(clips, tmp_path / "out", *engine, *OPTIONS), limit_open_files), undisturbed)


@engines(SPARK, RAYDP)
def test_64_open_files_are_too_few_for_a_cluster(engine: tuple[str, ...], clips: Path, tmp_path: Path) -> None:
    done = run(command(clips, tmp_path / "out", *engine, *OPTIONS), limit_open_files)
    assert done.returncode == 2
    assert re.search(
        r"^error: a process may open 64 files, and (Spark|Ray) needs 512; raise", done.stderr, re.MULTILINE
    )
    assert "Traceback" not in done.stderr


@engines(IN_PROCESS, SPARK)  # each process compiles the kernel: no cache folder is writable
def test_an_unprivileged_user_with_a_read_only_installation_can_preprocess(
    engine: tuple[str, ...], clips: Path, undisturbed: Undisturbed
) -> None:
    if os.getuid() or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("only root can become another user and open the interpreter's folder to it")
    with tempfile.TemporaryDirectory() as name:  # other users cannot enter the folders of pytest
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(clips, folder / "clips").chmod(0o755)
        (folder / "python").mkdir()
        (folder / "out").mkdir()
        shutil.chown(folder / "out", NOBODY, NOBODY)
        base = Path(sys.base_prefix)
        closed = next((each for each in reversed(base.parents) if not each.stat().st_mode & 0o001), None)
        user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        arguments = [*user, *command(folder / "clips", folder / "out", *engine, *OPTIONS)]
        if closed:
            mounts = ["unshare", "--mount", "sh", "-ec", REOPEN, str(base), str(folder / "python"), str(closed)]
            arguments = [*mounts, *arguments]
        done = run(arguments, HOME="/nonexistent", USER=None, LOGNAME=None)
        if engine is IN_PROCESS:
            return check(done, undisturbed)
        assert done.returncode == 1
        assert "this user has no entry in the table of users (/etc/passwd), which Spark's login needs" in done.stderr
        return None


@pytest.fixture
def little_shared_memory() -> list[str]:
    """Prefix of a command that has 64 MiB in /dev/shm, as in a container."""
    prefix = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"', "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mount namespaces are not allowed here")
    return prefix


@pytest.mark.cluster
def test_little_shared_memory_is_enough_for_ray(little_shared_memory: list[str]) -> None:
    done = run([*little_shared_memory, sys.executable, "-c", OBJECTS_IN_RAY])
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "120000000\n"


@pytest.mark.soak
@engines(RAYDP)
def test_little_shared_memory_is_enough_for_raydp(
    engine: tuple[str, ...], little_shared_memory: list[str], clips: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    check(run([*little_shared_memory, *command(clips, tmp_path / "out", *engine, *OPTIONS)]), undisturbed)


@engines(LOCAL, SPARK)
def test_two_gigabytes_of_memory_are_enough(
    engine: tuple[str, ...], clips: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    with memory_limit(2 * 10**9) as limited:
        check(run([*limited, *command(clips, tmp_path / "out", *engine, *OPTIONS)]), undisturbed)
