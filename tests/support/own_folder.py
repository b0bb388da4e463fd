"""Processes that see an empty folder in place of a real one, as on a host that does not share it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def own_folder(folder: Path, hostname: str) -> list[str]:
    """Return the prefix of a command that runs with its own mounts and host name; skip the test where that is not allowed."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (util-linux)")
    script = f'mount -t tmpfs none {folder} && hostname {hostname} && exec "$@"'
    prefix = ["unshare", "--mount", "--uts", "--", "sh", "-c", script, "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    return prefix
