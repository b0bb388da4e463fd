"""Every test of a backend ends with the machine as it was: no process more, no file outside its run directory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    children = set(psutil.Process().children(recursive=True))
    with tempfile.TemporaryDirectory(prefix="t-") as folder:  # short: sockets stand below
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield
        assert set(psutil.Process().children(recursive=True)) <= children
        assert list(Path(folder).iterdir()) == []
