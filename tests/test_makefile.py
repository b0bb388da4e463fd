"""The Makefile uses a separate environment for each version of Python."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def commands_of_setup(folder: Path, *arguments: str) -> str:
    """Return what `make setup` runs in an empty clone."""
    shutil.copyfile(ROOT / "Makefile", folder / "Makefile")
    for name in ("requirements.lock", "pyproject.toml"):
        (folder / name).touch()
    command = ["make", "--dry-run", "setup", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def interpreter(folder: Path, version: str) -> Path:
    """Return an executable that reports this version of Python."""
    path = folder / f"python{version}"
    path.write_text(f"#!/bin/sh\necho {version}\n", encoding="ascii")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("python", "folder"), [("3.11", ".venv/"), ("3.12", ".venv-3.12/"), ("3.13", ".venv-3.13/")])
def test_each_python_version_has_an_environment(tmp_path: Path, python: str, folder: str) -> None:
    default = f"DEFAULT_PYTHON={interpreter(tmp_path, '3.11')}"
    assert f"{folder}bin/python -m uv pip sync" in commands_of_setup(
        tmp_path, default, f"PYTHON={interpreter(tmp_path, python)}"
    )


def test_the_default_python_uses_the_default_environment(tmp_path: Path) -> None:
    default = f"DEFAULT_PYTHON={interpreter(tmp_path, '3.12')}"
    assert ".venv/bin/python -m uv pip sync" in commands_of_setup(tmp_path, default)


@pytest.mark.parametrize(
    ("failing", "code", "said"), [("", 0, ""), ("not cluster", 2, "'not cluster'"), ("cluster", 2, "'cluster'")]
)
def test_both_parts_of_the_tests_run_and_either_may_fail(tmp_path: Path, failing: str, code: int, said: str) -> None:
    """With a pytest that fails for the marker expression `failing`."""
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    pytest_ = tmp_path / "python"
    pytest_.write_text(f'#!/bin/sh\necho "part $4"\ntest "$4" != "{failing}"\n', encoding="ascii")
    pytest_.chmod(0o755)
    command = ["make", "--no-print-directory", "--old-file=setup", "test", f"BIN={tmp_path}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines()[:2] == ["part not cluster", "part cluster"]
    assert (done.returncode, f"error: failed parts: {said}" in done.stdout) == (code, bool(said))
