"""Runs a program on a pseudo-terminal of a given width."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Mapping, Sequence

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(
    arguments: Sequence[str], columns: int, environment: Mapping[str, str] | None = None
) -> tuple[int, list[str]]:
    """Run ``python ARGUMENTS``; returns exit code and lines: every state of a redrawn line, without escape sequences."""
    child, descriptor = pty.fork()
    if child == 0:
        sized = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        os.execve(sys.executable, [sys.executable, *arguments], {**sized, "TERM": "xterm", **(environment or {})})
    output = b""
    try:
        while block := os.read(descriptor, 65536):
            output += block
    except OSError:  # Linux reports the end of the pseudo-terminal as an error
        pass
    os.close(descriptor)
    _, status = os.waitpid(child, 0)
    text = ESCAPE.sub("", output.decode("utf-8", errors="replace"))
    return os.waitstatus_to_exitcode(status), [line for line in re.split(r"[\r\n]+", text) if line.strip()]
