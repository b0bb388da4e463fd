"""Scratch folders, also if the temporary folder has an unusual path or cannot be written."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hybridspeech.errors import ConfigError
from hybridspeech.processes.scratch import OWNER_NAME, scratch_folder

MAKE_ONE = """
import os, sys
from hybridspeech.processes.scratch import scratch_folder
folder = scratch_folder()
open(os.path.join(folder.name, "big"), "wb").close()
print(folder.name, flush=True)
sys.stdin.read()
"""


def test_a_scratch_folder_is_private_and_has_an_unpredictable_name() -> None:
    with scratch_folder() as first, scratch_folder() as second:
        assert stat.S_IMODE(Path(first).stat().st_mode) == 0o700
        assert first != second
    assert not Path(first).exists()


@pytest.mark.parametrize("name", ["with space", "it's", 'quo"te', "größe", "x" * 40])
def test_an_unusual_temporary_folder_is_not_used(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    with scratch_folder(is_short=True) as folder:
        assert Path(folder).parent == Path("/tmp")


def test_a_temporary_folder_that_is_missing_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    with pytest.raises(ConfigError, match=r"^/nonexistent: no temporary folder can be made there: .*; set TMPDIR$"):
        scratch_folder()


def test_the_folder_of_a_process_that_was_killed_is_removed_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(
        [sys.executable, "-c", MAKE_ONE], env={**os.environ, "TMPDIR": str(tmp_path)}, text=True, **pipes
    ) as owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        owner.send_signal(signal.SIGSTOP)
        with scratch_folder():
            assert (folder / "big").exists()
        owner.kill()
    assert folder.exists()
    with scratch_folder() as other:
        assert list(tmp_path.iterdir()) == [Path(other)]


@pytest.mark.parametrize("owner", [None, "", "another-host"])
def test_a_folder_whose_owner_is_unknown_is_left_alone(
    owner: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / "hybridspeech-x"
    folder.mkdir()
    if owner is not None:
        (folder / OWNER_NAME).write_text(owner)
    with scratch_folder():
        pass
    assert folder.exists()


def test_no_folder_remains_where_its_owner_can_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_file = os.open

    def no_space(path: str | Path, *arguments: int, **options: int) -> int:
        if Path(path).name == OWNER_NAME and arguments[0] & os.O_CREAT:
            raise OSError(28, "No space left on device")
        return open_file(path, *arguments, **options)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "open", no_space)
    with pytest.raises(
        ConfigError, match=rf"^{tmp_path}: no temporary folder .*: No space left on device; set TMPDIR$"
    ):
        scratch_folder()
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
