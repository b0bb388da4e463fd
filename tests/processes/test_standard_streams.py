"""A process whose standard streams are closed."""

from __future__ import annotations

import subprocess
import sys


def test_closed_streams_are_opened_so_that_no_other_file_takes_their_place() -> None:
    code = """
import os, sys
from hybridspeech.processes.standard_streams import open_closed_streams
open_closed_streams()
assert os.open(os.devnull, os.O_RDONLY) > 2
print("nowhere"); print("nowhere", file=sys.stderr); sys.stdin.read()
"""
    command = ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, code]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0
