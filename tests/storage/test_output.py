from __future__ import annotations

from pathlib import Path

import pytest

from hybridspeech.errors import ConfigError, OutputExistsError
from hybridspeech.storage.output import claim_output


def claim(out: Path, *, overwrite: bool = False, resume: bool = False):  # type: ignore[no-untyped-def]
    return claim_output(out, marks=("index.json",), overwrite=overwrite, resume=resume)


def test_a_new_folder_is_created_and_the_lock_is_removed(tmp_path: Path) -> None:
    with claim(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.json").touch()
    with pytest.raises(OutputExistsError, match="add --overwrite"), claim(tmp_path):
        pass
    assert (tmp_path / "index.json").exists()


def test_overwrite_empties_an_output_of_this_verb(tmp_path: Path) -> None:
    (tmp_path / "index.json").touch()
    (tmp_path / "deep").mkdir()
    with claim(tmp_path, overwrite=True):
        assert [path.name for path in tmp_path.iterdir()] == ["_lock"]


def test_overwrite_never_empties_a_foreign_folder(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(ConfigError, match=r"'thesis.doc'.*nothing was touched"), claim(tmp_path, overwrite=True):
        pass
    assert (tmp_path / "thesis.doc").exists()


def test_a_second_job_on_one_output_is_refused(tmp_path: Path) -> None:
    with claim(tmp_path), pytest.raises(ConfigError, match="another job is writing there"), claim(tmp_path):
        pass


def test_a_file_at_the_place_of_the_output_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(ConfigError, match="can't write there"), claim(tmp_path / "out"):
        pass
