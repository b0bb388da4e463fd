"""After each test of a backend, no process and no file outside its run directory may be left."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    children = set(psutil.Process().children(recursive=True))
    with tempfile.TemporaryDirectory(prefix="t-") as folder:  # short: sockets are created below it
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield
        assert set(psutil.Process().children(recursive=True)) <= children
        assert list(Path(folder).iterdir()) == []
