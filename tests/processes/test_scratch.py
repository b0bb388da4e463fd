"""Scratch folders, also if the temporary folder has an unusual path or cannot be written."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import pytest

from hybridspeech.errors import ConfigError
from hybridspeech.processes.scratch import scratch_folder


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
