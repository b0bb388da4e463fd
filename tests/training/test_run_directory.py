"""Content of a run directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridspeech.config import ClusterConfig
from hybridspeech.errors import RunError
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.run_directory import RunDirectory


def test_secrets_of_spark_are_not_written_to_the_plan(tmp_path: Path) -> None:
    conf = {"spark.authenticate.secret": "hidden", "spark.hadoop.fs.s3a.access.key": "hidden", "spark.x": "shown"}
    run = RunDirectory(tmp_path / "run")
    run.create(TrainPlan(shards="", run=str(run.path), cluster=ClusterConfig(conf=conf)))
    assert "hidden" not in run.plan_path.read_text()
    assert run.read_plan().cluster.conf == {"spark.x": "shown"}


def test_a_folder_at_the_place_of_a_file_is_one_sentence(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.labels_path.mkdir(parents=True)
    with pytest.raises(RunError, match=r"labels.txt: can't be written: Is a directory; remove it, or choose another"):
        run.create(TrainPlan(shards="", run=str(run.path)))


def test_a_file_at_the_place_of_a_folder_is_one_sentence(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    run.checkpoints_dir.write_text("")
    with pytest.raises(RunError, match=r"checkpoints: can't be written: .*; remove it, or choose another"):
        run.create(TrainPlan(shards="", run=str(run.path)))
