"""Virtual environments of peers whose packages are in no extra and not in the lock, such as torch.

An environment is made when the first peer needs it, and is kept for the rest of the run. Its own packages come first;
behind them, it imports those of this interpreter, so that the output is checked with the same versions everywhere.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hybridspeech.config import OnProgress, Progress, silent
from hybridspeech.errors import ConfigError
from hybridspeech.processes.environment import python_path

INSTALL_TIMEOUT_S = 1_800.0


class PeerEnvironments:
    """Makes each virtual environment in `folder` when it is first requested.

    `versions` are the packages of the environments that were made, by their name.
    """

    def __init__(self, folder: Path, on_progress: OnProgress = silent) -> None:
        self._folder, self._on_progress = folder, on_progress
        self._made: dict[tuple[str, ...], list[str] | ConfigError] = {}
        self.versions: dict[str, str] = {}

    def python(self, requirements: Sequence[str]) -> list[str]:
        """Return the command of an interpreter that has these packages.

        Parameters
        ----------
        requirements : packages, as pip takes them; from the index that pip is configured for

        Raises
        ------
        ConfigError: they can't be installed; the reason is pip's.
        """
        wanted = tuple(requirements)
        if wanted not in self._made:
            self._on_progress(Progress(stage="environment", message=f"installing {', '.join(wanted)}"))
            try:
                self._made[wanted] = self._make(wanted)
            except ConfigError as error:
                self._made[wanted] = error
        made = self._made[wanted]
        if isinstance(made, ConfigError):
            raise made
        return made

    def _make(self, requirements: Sequence[str]) -> list[str]:
        root = self._folder / f"environment-{len(self._made)}"
        _run([sys.executable, "-m", "venv", str(root)])
        python = [
            str(root / "bin" / "python"),
            "-E",
        ]  # -E: PYTHONPATH would come before the packages of the environment
        (packages,) = root.glob("lib/python*/site-packages")
        (packages / "behind.pth").write_text("\n".join(python_path().split(os.pathsep)) + "\n", encoding="utf-8")
        _run([*python, "-m", "pip", "install", "--quiet", "--no-input", *requirements])
        found = importlib.metadata.distributions(path=[str(packages)])
        self.versions |= {distribution.metadata["Name"]: distribution.version for distribution in found}
        return python


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(str(error)) from error
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.startswith("ERROR:")]
        raise ConfigError((lines or ["ERROR: " + " ".join(command[-4:])])[-1].removeprefix("ERROR: "))
