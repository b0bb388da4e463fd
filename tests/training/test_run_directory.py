"""Content of a run directory."""

from __future__ import annotations

from pathlib import Path

from hybridspeech.config import ClusterConfig
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.run_directory import RunDirectory


def test_secrets_of_spark_are_not_written_to_the_plan(tmp_path: Path) -> None:
    conf = {"spark.authenticate.secret": "hidden", "spark.hadoop.fs.s3a.access.key": "hidden", "spark.x": "shown"}
    run = RunDirectory(tmp_path / "run")
    run.create(TrainPlan(shards="", run=str(run.path), cluster=ClusterConfig(conf=conf)))
    assert "hidden" not in run.plan_path.read_text()
    assert run.read_plan().cluster.conf == {"spark.x": "shown"}
