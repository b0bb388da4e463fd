"""The copy of a run directory on a store, with files as a training writes them."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import pytest

from hybridspeech.errors import RunError, StorageError
from hybridspeech.storage.objects import list_files, read_bytes, write_bytes
from hybridspeech.training import run_copy, stored_run
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.run_copy import RunCopy
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.status_exchange import begin_attempt
from hybridspeech.training.stored_run import driver_copy, driver_folder, rank_copy

EVERYTHING = ("*",)
STATE = ("state.data-00000-of-00001", "state.index")


@pytest.fixture
def location(tmp_path: Path) -> str:
    return f"memory://test/{tmp_path.name}"


@pytest.fixture
def plan(location: str, tmp_path: Path) -> TrainPlan:
    """The plan of a rank whose attempt has begun."""
    plan = TrainPlan(shards="", run=str(tmp_path / "local"), store=location, attempt="a")
    RunDirectory(plan.run).make_folders()
    begin_attempt(plan)
    return plan


def write(folder: str | Path, *names: str) -> None:
    for name in names:
        (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
        (Path(folder) / name).write_text(name)


def checkpoint(epoch: int) -> list[str]:
    return [f"checkpoints/epoch-{epoch:04d}/{name}" for name in STATE]


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def names_at(location: str) -> list[str]:
    return [stat.name for stat in list_files(location)]


def test_own_changes_are_copied_marks_last_and_temporary_files_never(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    upload_files = run_copy.upload_files

    def upload(folder: Path, names: list[str], to: str) -> None:
        order.extend(names)
        upload_files(folder, names, to)

    monkeypatch.setattr(run_copy, "upload_files", upload)
    write(tmp_path, "model/model.weights.h5", "metrics.jsonl", *checkpoint(1), "model/calibration.json", "plan.json")
    write(tmp_path, "checkpoints/.epoch-0002.x.tmp/state.index", "model/.temporary")
    copy = RunCopy(location, tmp_path, ("checkpoints/*", "model/*", "metrics.jsonl"))
    copy.copy()
    assert order[2:] == ["metrics.jsonl", "checkpoints/epoch-0001/state.index", "model/model.weights.h5"]
    assert len(order) == 5
    write(tmp_path, "tensorboard/events")
    (tmp_path / "metrics.jsonl").write_text("changed")
    copy.copy()
    assert order[5:] == ["metrics.jsonl"]


def test_what_training_removes_is_removed_and_a_resume_gets_complete_checkpoints_only(
    plan: TrainPlan, location: str, tmp_path: Path
) -> None:
    write(plan.run, "tensorboard/events", *checkpoint(1), *checkpoint(2))
    with rank_copy(plan, 0) as _:
        pass
    for name in checkpoint(1):
        (Path(plan.run) / name).unlink()
    write_bytes(f"{location}/{checkpoint(3)[0]}", b"the host died before the rest was copied")
    resumed = TrainPlan(shards="", run=str(tmp_path / "other-host"), store=location, attempt="a", resume=True)
    with rank_copy(resumed, 0):
        assert files_in(Path(resumed.run)) == [*checkpoint(1), *checkpoint(2)]
        for name in checkpoint(1):
            (Path(resumed.run) / name).unlink()
    assert names_at(location) == [*checkpoint(2), "tensorboard/events", "workers/attempt"]


def test_the_driver_copies_its_own_files_and_removes_those_of_an_earlier_training(location: str) -> None:
    write_bytes(f"{location}/model/model.weights.h5", b"trained before")
    write_bytes(f"{location}/workers/rank-000.json", b"finished before")
    write_bytes(f"{location}/metrics.jsonl", b"of the chief")
    with driver_folder(location, resume=True) as folder:
        assert files_in(folder) == ["metrics.jsonl"]
        write(folder, "plan.json", "metrics.jsonl", "workers/launcher.log")
        with driver_copy(location, folder):
            assert names_at(location) == ["metrics.jsonl", "plan.json", "workers/launcher.log"]
            write(folder, "rejects.jsonl", "workers/rank-000.json")
            write_bytes(f"{location}/workers/a/rank-000.json", b"a message")
    assert names_at(location) == [
        *("metrics.jsonl", "plan.json", "rejects.jsonl", "workers/launcher.log", "workers/rank-000.json")
    ]
    assert read_bytes(f"{location}/metrics.jsonl") == b"of the chief"


def test_a_rank_of_an_earlier_attempt_can_not_write(plan: TrainPlan, location: str) -> None:
    with pytest.raises(RunError, match="another attempt writes there"), rank_copy(plan, 0):
        begin_attempt(TrainPlan(shards="", run="", store=location, attempt="b"))
        write(plan.run, *checkpoint(1))
    assert names_at(location) == ["workers/attempt"]


def test_a_store_that_fails_meanwhile_is_an_error_only_if_it_still_fails_at_the_end(
    plan: TrainPlan, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_run, "COPY_S", 0.01)
    upload_files = run_copy.upload_files

    def fail(*_: object) -> None:
        raise StorageError("busy")

    with rank_copy(plan, 0):
        monkeypatch.setattr(run_copy, "upload_files", fail)
        write(plan.run, "metrics.jsonl")
        threading.Event().wait(0.1)
        monkeypatch.setattr(run_copy, "upload_files", upload_files)
    assert read_bytes(f"{location}/metrics.jsonl") == b"metrics.jsonl"


@pytest.mark.parametrize("error", [None, RunError("the loss is nan"), KeyboardInterrupt()])
def test_a_run_that_can_not_be_copied_at_the_end_is_kept_and_named(
    error: BaseException | None,
    plan: TrainPlan,
    location: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def fail(*_: object) -> None:
        raise StorageError("busy")

    with pytest.raises(StorageError) as raised, rank_copy(plan, 0):
        monkeypatch.setattr(run_copy, "upload_files", fail)
        write(plan.run, "metrics.jsonl", "workers/rank-000.log", *checkpoint(1))
        if error:
            raise error
    (kept,) = tmp_path.glob("unsaved-run-*")
    assert files_in(kept) == [*checkpoint(1), "metrics.jsonl"]
    sentence = str(raised.value)
    assert sentence.startswith(type(error).__name__ if error else "busy")
    assert f"busy; the run is kept in {kept} on " in sentence
    assert f": copy it to {location}" in sentence
