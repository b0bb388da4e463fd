"""Description of the machine: processor, memory, versions, revision. Contains no host names and no paths."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from hybridspeech.processes.resources import num_cores

PACKAGES = (
    *("hybridspeech", "numpy", "scipy", "numba", "librosa", "soundfile", "google-crc32c", "pyarrow"),
    *("pyspark", "ray", "raydp", "tensorflow", "tf-keras", "tensorflowonspark", "tfrecord", "datasets"),
    *("torch", "lhotse", "lilcom"),
)


def describe_machine() -> dict[str, Any]:
    """Return JSON-able values; the load average shows whether the machine was idle at the start."""
    return {
        "cpu": _cpu_model(),
        "cores": num_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": round(os.getloadavg()[0], 2),
        "revision": _revision(),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def known_versions(versions: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of those packages that the description lists."""
    return {name: version for name, version in versions.items() if name in PACKAGES}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _revision() -> str:
    """Return the commit of the sources, with a + if they have changed since; "unknown" outside a Git working tree."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
