"""The command line: parse, one library call, print. No logic.

Results are printed on stdout, progress and errors on stderr. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted,
143 terminated. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

from hybridspeech.cli import data, demo, deployment, listen, preprocess, results, train  # noqa: F401
from hybridspeech.cli.app import Commands, app, main

__all__ = ["Commands", "app", "main"]
