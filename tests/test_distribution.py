"""The wheel and the source distribution: their content, and that the wheel works without the sources."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import hybridspeech

ROOT = Path(__file__).parents[1]
SOURCES = (
    *("hybridspeech", "benchmarks", "deploy", "docs", "tests", ".ci"),
    *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in", "Makefile", "README.md"),
    *("mkdocs.yml", "pyproject.toml", "requirements.lock", "setup.py"),
)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel and a source distribution, built from a copy of the sources."""
    copy, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, copy / name)
    for build in ("build_sdist", "build_wheel"):
        code = f"from setuptools import build_meta; build_meta.{build}({str(out)!r})"
        subprocess.run([sys.executable, "-c", code], cwd=copy, check=True, capture_output=True, timeout=120)
    return out


@pytest.fixture(scope="module")
def wheel(dist: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(dist.glob("*.whl")))


def test_wheel_holds_one_top_level_package(wheel: zipfile.ZipFile) -> None:
    metadata = f"hybridspeech-{hybridspeech.__version__}.dist-info"
    assert {name.partition("/")[0] for name in wheel.namelist()} == {"hybridspeech", metadata}


def test_wheel_holds_every_module(wheel: zipfile.ZipFile) -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "hybridspeech").rglob("*.py")}
    assert {name for name in wheel.namelist() if name.endswith(".py")} == modules
    assert "hybridspeech/py.typed" in wheel.namelist()


def test_wheel_starts_without_the_sources(dist: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as archive:
        archive.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    for arguments, expected in ((["--version"], hybridspeech.__version__), (["--help"], "preprocess")):
        command = [sys.executable, "-m", "hybridspeech", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
    code = "import hybridspeech; print(hybridspeech.__file__)"
    where = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert where.stdout.startswith(str(tmp_path / "site"))


def test_metadata_has_no_relative_link_and_names_the_pythons_that_were_run(wheel: zipfile.ZipFile) -> None:
    metadata = email.message_from_bytes(wheel.read(f"hybridspeech-{hybridspeech.__version__}.dist-info/METADATA"))
    text = metadata.get_payload()
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "](docs/" not in text and "](CHANGELOG" not in text
    assert "# hybridspeech" in text
    pythons = [line.rpartition(" ")[2] for line in metadata.get_all("Classifier", []) if " :: 3." in line]
    assert pythons == ["3.10", "3.11", "3.12", "3.13"]
    assert metadata.get_all("Project-URL") is None


def test_the_source_distribution_has_the_files_of_a_clone(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = {
        str(path.relative_to(ROOT))
        for name in SOURCES
        for path in ((ROOT / name).rglob("*") if (ROOT / name).is_dir() else [ROOT / name])
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected <= names
