"""The copy of a run directory on a store, with files as a training writes them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from hybridspeech.errors import RunError, StorageError
from hybridspeech.storage.objects import list_files, read_bytes, write_bytes
from hybridspeech.training import stored_run
from hybridspeech.training.stored_run import RunCopy, kept_on_store, local_run


@pytest.fixture
def location(tmp_path: Path) -> str:
    return f"memory://test/{tmp_path.name}"


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def refuse(message: str) -> None:
    raise AssertionError(message)


def names_at(location: str) -> list[str]:
    return [stat.name for stat in list_files(location)]


STATE = ("state.data-00000-of-00001", "state.index")


def test_changes_are_copied_marks_last_and_temporary_files_never(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    upload_files = stored_run.upload_files

    def upload(folder: Path, names: list[str], to: str) -> None:
        order.extend(names)
        upload_files(folder, names, to)

    monkeypatch.setattr(stored_run, "upload_files", upload)
    write(tmp_path, "model/model.weights.h5", "plan.json", *(f"checkpoints/epoch-0001/{name}" for name in STATE))
    write(tmp_path, "checkpoints/.epoch-0002.x.tmp/state.index", "workers/.rank.tmp", "model/calibration.json")
    copy = RunCopy(location, tmp_path)
    copy.copy()
    assert order[-2:] == ["checkpoints/epoch-0001/state.index", "model/model.weights.h5"]
    assert len(order) == 5
    write(tmp_path, "metrics.jsonl")
    copy.copy()
    assert order[5:] == ["metrics.jsonl"]


def test_what_training_removes_is_removed_and_a_resume_gets_complete_checkpoints_only(
    location: str, tmp_path: Path
) -> None:
    write(tmp_path, "plan.json", "tensorboard/events", "workers/rank-000.json")
    write(tmp_path, *(f"checkpoints/epoch-000{number}/{name}" for number in (1, 2) for name in STATE))
    copy = RunCopy(location, tmp_path)
    copy.copy()
    for name in STATE:
        (tmp_path / "checkpoints/epoch-0001" / name).unlink()
    copy.copy()
    write_bytes(f"{location}/checkpoints/epoch-0003/{STATE[0]}", b"the host died before the rest was copied")
    with local_run(location, resume=True) as (folder, resumed):
        found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        assert found == [*(f"checkpoints/epoch-0002/{name}" for name in STATE), "plan.json"]
        assert resumed is not None
        resumed.copy()
    assert names_at(location) == [
        *(f"checkpoints/epoch-0002/{name}" for name in STATE),
        "plan.json",
        "tensorboard/events",
    ]


def test_a_store_that_fails_meanwhile_is_an_error_only_if_it_still_fails_at_the_end(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_run, "SYNC_S", 0.01)
    write(tmp_path, "plan.json")
    upload_files = stored_run.upload_files

    def fail(*_: object) -> None:
        raise StorageError("busy")

    with kept_on_store(RunCopy(location, tmp_path), refuse):
        monkeypatch.setattr(stored_run, "upload_files", fail)
        write(tmp_path, "metrics.jsonl")
        stored_run.threading.Event().wait(0.1)
        monkeypatch.setattr(stored_run, "upload_files", upload_files)
    assert read_bytes(f"{location}/metrics.jsonl") == b"metrics.jsonl"


@pytest.mark.parametrize("error", [None, RunError("the loss is nan"), KeyboardInterrupt()])
def test_a_run_that_can_not_be_copied_at_the_end_is_kept_and_named(
    error: BaseException | None, location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, said = tmp_path / "local", list[str]()
    write(folder, "plan.json")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def fail(*_: object) -> None:
        raise StorageError("busy")

    with (
        pytest.raises(type(error) if error else StorageError) as raised,
        kept_on_store(RunCopy(location, folder), said.append),
    ):
        monkeypatch.setattr(stored_run, "upload_files", fail)
        write(folder, "metrics.jsonl")
        if error:
            raise error
    (kept,) = tmp_path.glob("unsaved-run-*/run")
    assert {path.name for path in kept.iterdir()} == {"plan.json", "metrics.jsonl"}
    (sentence,) = said or [str(raised.value)]
    assert "busy" in sentence
    assert f"the whole run is kept in {kept}: copy it to {location}" in sentence
