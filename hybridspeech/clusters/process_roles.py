"""Names the processes of Spark and Ray by their command lines, for messages on which of them ended or stopped."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping

import psutil

from hybridspeech.processes.supervision import is_alive, is_stopped, process_tree

_ROLES = (
    ("Spark's driver JVM", re.compile(r"deploy\.SparkSubmit")),
    ("a Spark executor", re.compile(r"CoarseGrainedExecutorBackend|RAYDP_EXECUTOR|-Dray\..*DefaultWorker")),
    ("RayDP's master", re.compile(r"AppMasterEntryPoint|PythonGatewayServer|ray::RayDPSparkMaster")),
    ("the daemon of Spark's Python workers", re.compile(r"pyspark_daemon|pyspark\.daemon")),
    ("Ray's raylet", re.compile(r"^\S*/raylet( |$)")),
    ("Ray's GCS", re.compile(r"^\S*/gcs_server( |$)")),
    ("a worker process", re.compile(r"hybridspeech\.engines\.local")),
)


def cluster_processes(pid: int) -> dict[psutil.Process, str]:
    """Return the descendants of a process that belong to Spark or Ray, with their roles; forks of the daemon are left out."""
    found: dict[psutil.Process, str] = {}
    for process in process_tree(pid)[1:]:
        with contextlib.suppress(psutil.Error):
            line, parent = " ".join(process.cmdline()), process.parent()
            role = next((name for name, pattern in _ROLES if pattern.search(line)), None)
            if role and not (
                parent in found and found[parent] == role
            ):  # e.g. Python workers are forks of their daemon
                found[process] = role
    return found


def describe_stopped(processes: Iterable[psutil.Process], roles: Mapping[psutil.Process, str]) -> str:
    """Return which processes are stopped, as the end of a sentence; "" if none is."""
    return _describe([each for each in processes if is_stopped(each.pid)], roles, "stopped")


def describe_ended(roles: Mapping[psutil.Process, str]) -> str:
    """Return which processes have ended, as the end of a sentence; "" if none has."""
    return _describe(
        [each for each in roles if not (each.is_running() and is_alive(each.pid))], roles, "was killed or ended"
    )


def _describe(processes: list[psutil.Process], roles: Mapping[psutil.Process, str], state: str) -> str:
    names = [f"{roles.get(each, 'a process')} (process {each.pid}) {state}" for each in processes]
    return f": {', '.join(names[:3])}" if names else ""
