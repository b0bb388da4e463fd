"""The backend `tfos`: settings and errors before a cluster starts."""

from __future__ import annotations

import pytest

from hybridspeech.backends.tfos import TFoSBackend, spark_conf
from hybridspeech.config import ClusterConfig
from hybridspeech.errors import ConfigError
from hybridspeech.training.plan import TrainPlan, WorkerReport


def test_each_executor_has_one_slot_whatever_the_caller_sets(tmp_path):
    cluster = ClusterConfig(
        num_workers=3,
        master="spark://10.0.0.1:7077",
        threads_per_worker=4,
        conf={"spark.task.maxFailures": "9", "spark.executor.memory": "8g"},
    )
    conf = spark_conf(cluster, tmp_path)
    assert (conf["spark.executor.cores"], conf["spark.task.cpus"], conf["spark.cores.max"]) == ("4", "4", "12")
    assert (conf["spark.task.maxFailures"], conf["spark.executor.memory"]) == ("1", "8g")
    assert "spark.driver.host" not in conf


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"executor_memory": "much"}, "executor memory is 'much'; expected a number and a unit"),
        ({"executor_memory": "300m"}, "executor memory is '300m'; expected 450m or more, such as 2g"),
        ({"num_workers": 2, "master": "local[2]"}, r"'local\[2\]' is one process"),
    ],
)
def test_invalid_settings_are_refused_before_a_cluster_starts(settings, message, tmp_path):
    plan = TrainPlan(shards="", run=str(tmp_path / "run"), cluster=ClusterConfig(**settings))
    with pytest.raises(ConfigError, match=message):
        TFoSBackend().run(plan, lambda plan, context: WorkerReport(rank=0))
    assert not (tmp_path / "run").exists()
