"""Processes whose memory is limited by a control group of their own."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.cpu_limit import remove_group

VERSIONS = ((Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"), (Path("/sys/fs/cgroup"), "memory.max"))
"""Parent of new groups, and the file with the limit: of version 1 and of version 2."""


@contextlib.contextmanager
def memory_limit(num_bytes: int) -> Iterator[list[str]]:
    """Yield the prefix of a command that runs with limited memory; skips the test if that is not allowed."""
    for parent, limit in VERSIONS:
        group = parent / f"hybridspeech-{uuid.uuid4().hex[:8]}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / limit).exists():
                (group / limit).write_text(str(num_bytes))
                yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
                return
        finally:
            remove_group(group, timeout_s=30.0)
    pytest.skip("control groups for memory can not be made here")
