"""A Spark standalone cluster from the installed pyspark: one master and its workers, on loopback."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from hybridspeech.clusters.addresses import LOOPBACK
from hybridspeech.clusters.java import LIGHT_JVM
from hybridspeech.clusters.spark_settings import find_spark, spark_environment
from hybridspeech.processes.supervision import end_all, process_tree
from support.own_folder import own_folder

DEPLOY = "org.apache.spark.deploy"


@contextlib.contextmanager
def standalone_cluster(
    folder: Path, num_workers: int = 2, private: Path | None = None, hidden: Sequence[Path] = ()
) -> Iterator[str]:
    """Start a master and workers with one core and 1 GiB each; yields its URL. All processes have ended afterwards.

    Parameters
    ----------
    private : a folder that each worker does not share: it sees an empty folder instead; needs root
    hidden : folders that are empty for the workers and their executors, except Spark and Java; needs root
    """
    prefix = own_folder(private, hostname="elsewhere") if private else []
    started: list[subprocess.Popen[bytes]] = []
    listen = ["--host", LOOPBACK, "--port", "0", "--webui-port", "0"]
    try:
        started.append(_start(f"{DEPLOY}.master.Master", listen, folder / "master.log"))
        url = wait_for(r"Starting Spark master at (spark://\S+)", folder / "master.log")
        logs = [folder / f"worker-{i}.log" for i in range(num_workers)]
        resources = ["--cores", "1", "--memory", "1G", "--work-dir", str(folder / "work")]
        started += [_start(f"{DEPLOY}.worker.Worker", [*listen, *resources, url], log, prefix, hidden) for log in logs]
        for log in logs:
            wait_for(r"(Successfully registered with master)", log)
        yield url
    finally:
        processes = [process for parent in started for process in process_tree(parent.pid)]
        end_all(processes, terminate_s=10)


def _start(
    daemon: str, arguments: list[str], log: Path, prefix: Sequence[str] = (), hidden: Sequence[Path] = ()
) -> subprocess.Popen[bytes]:
    variables = {**os.environ, **spark_environment(log.parent), "SPARK_DAEMON_JAVA_OPTS": LIGHT_JVM}
    command = [*prefix, str(find_spark() / "bin" / "spark-class"), daemon, *arguments]
    if hidden:
        variables.pop("PYTHONPATH", None)
        command = _without_folders(hidden, log.with_suffix(""), variables, [daemon, *arguments])
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _without_folders(
    hidden: Sequence[Path], folder: Path, variables: dict[str, str], arguments: list[str]
) -> list[str]:
    """Return a command that starts a daemon with empty `hidden` folders, and with Spark and Java in `folder`."""
    script = []
    for name, variable in (("spark", "SPARK_HOME"), ("java", "JAVA_HOME")):
        (folder / name).mkdir(parents=True)
        script.append(f"mount --bind {shlex.quote(variables[variable])} {shlex.quote(str(folder / name))}")
        variables[variable] = str(folder / name)
    (folder / "empty").mkdir()
    script += [f"mount --bind {shlex.quote(str(folder / 'empty'))} {shlex.quote(str(path))}" for path in hidden]
    script.append("cd / && exec " + shlex.join([str(folder / "spark" / "bin" / "spark-class"), *arguments]))
    return ["unshare", "--mount", "sh", "-ec", "\n".join(script)]


def wait_for(pattern: str, log: Path, timeout_s: float = 120.0) -> str:
    """Wait until a log matches `pattern`; returns the first group."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = re.search(pattern, log.read_text(encoding="utf-8"))
        if found:
            return found.group(1)
        time.sleep(0.1)
    raise TimeoutError(f"{pattern!r} did not appear within {timeout_s:.0f} s in {log}:\n{log.read_text()[-2000:]}")


def listening_addresses(pid: int) -> set[str]:
    """IP addresses on which a process and its descendants accept connections."""
    return {ip for ip, _ in listening_sockets(pid)}


def listening_sockets(pid: int) -> set[tuple[str, int]]:
    """(IP, port) of every TCP socket on which a process and its descendants accept connections."""
    found = set()
    for process in process_tree(pid):
        with contextlib.suppress(psutil.Error):
            sockets = process.net_connections("tcp")
            found |= {(each.laddr.ip, each.laddr.port) for each in sockets if each.status == psutil.CONN_LISTEN}
    return found
