"""Folders in /tmp/ray of JVMs that were killed are removed, and those in use are not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hybridspeech.clusters import java_libraries
from hybridspeech.clusters.java_libraries import LIBRARY_NAME, library_folders, remove_abandoned_folders

LOAD = """
import mmap, sys
file = open(sys.argv[1], "r+b")
used = mmap.mmap(file.fileno(), 0)
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(java_libraries, "ROOT", tmp_path / "ray")
    return tmp_path / "ray"


def unpacked(root: Path, name: str, age_s: float = 3600.0) -> Path:
    library = root / name / LIBRARY_NAME
    library.parent.mkdir(parents=True)
    library.write_bytes(b"library")
    changed = library.stat().st_mtime - age_s
    os.utime(library, (changed, changed))
    return library


def test_a_folder_is_removed_when_no_process_uses_its_library(root: Path) -> None:
    used, young, other = unpacked(root, "1"), unpacked(root, "2", age_s=1.0), root / "session_latest"
    unpacked(root, "3")
    other.mkdir()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", LOAD, str(used)], **pipes) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert library_folders([psutil.Process(process.pid)]) == {used.parent}
        remove_abandoned_folders()
        assert set(root.iterdir()) == {used.parent, young.parent, other}
        process.kill()
    remove_abandoned_folders()
    assert set(root.iterdir()) == {young.parent, other}


def test_the_folder_of_all_is_removed_when_it_is_empty(root: Path) -> None:
    unpacked(root, "1")
    remove_abandoned_folders()
    assert not root.exists()
