"""Environments of peers whose packages are not installed here."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from benchmarks.environments import PeerEnvironments
from benchmarks.runner import interpreters
from benchmarks.spec import Peer


def wheel(folder: Path) -> Path:
    """Write a wheel with one module, which needs a package that is installed here."""
    path = folder / "only_a_peer-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("only_a_peer.py", "import numpy\n\nANSWER = int(numpy.int64(42))\n")
        file.writestr("only_a_peer-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: only_a_peer\nVersion: 1.0\n")
        file.writestr(
            "only_a_peer-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr("only_a_peer-1.0.dist-info/RECORD", "")
    return path


@pytest.mark.slow
def test_an_environment_has_its_packages_and_those_of_this_interpreter(tmp_path: Path) -> None:
    environments = PeerEnvironments(tmp_path)
    peer = Peer(needs=("only_a_peer",), packages=(str(wheel(tmp_path)),))
    pythons, skipped = interpreters({"a": peer, "b": peer}, environments)
    code = "import benchmarks.worker, only_a_peer; print(only_a_peer.ANSWER)"
    done = subprocess.run([*pythons["a"], "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "42\n"
    assert pythons["b"] == pythons["a"]
    assert skipped == {}
    assert environments.versions["only_a_peer"] == "1.0"


def test_a_peer_is_skipped_if_its_environment_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "environment-0").write_text("a file")
    peers = {"a": Peer(needs=("only_a_peer",), packages=("only_a_peer",)), "b": Peer()}
    pythons, skipped = interpreters(peers, PeerEnvironments(tmp_path))
    assert list(pythons) == ["b"]
    assert skipped["a"].startswith("only_a_peer can't be installed: ")


def test_without_environments_nothing_is_installed() -> None:
    _, skipped = interpreters({"a": Peer(needs=("only_a_peer",), packages=("only_a_peer",))}, None)
    assert skipped == {"a": "only_a_peer not installed"}
