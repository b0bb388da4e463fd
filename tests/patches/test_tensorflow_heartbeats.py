"""The heartbeat time-out of TensorFlow, and what the patch assumes about TensorFlow."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from support.upstream import source_of

from hybridspeech.processes.environment import python_path

WORKER = """
import os, signal, sys
import tensorflow as tf
from hybridspeech.training.tensorflow_setup import make_strategy
strategy = make_strategy(2, heartbeat_timeout_s=float(sys.argv[1]))
def total():
    value = strategy.run(lambda: tf.distribute.get_replica_context().all_reduce("sum", tf.constant(1.0)))
    return float(value)
print("ready", total(), flush=True)
print("end", total() if sys.stdin.readline() else None, flush=True)
"""


def test_the_strategy_keeps_an_existing_configuration_of_the_service() -> None:
    source = source_of("tensorflow.python.distribute.collective_all_reduce_strategy")
    assert "if context.context().coordination_service is None:" in source
    assert "service_type='standalone'" in source
    assert "service_leader=multi_worker_util.coordination_leader(cluster_spec)" in source
    configure = source_of("tensorflow.python.eager.context", "Context.configure_coordination_service")
    assert "heartbeat_timeout_in_ms=0, shutdown_barrier_timeout_in_ms=0, coordinated_jobs=None" in configure


@pytest.mark.slow
def test_the_time_out_reaches_the_configuration() -> None:
    code = """
from tensorflow.python.eager import context
from hybridspeech.patches.tensorflow_heartbeats import set_heartbeat_timeout
set_heartbeat_timeout({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, 120.0)
config = context.context().coordination_service
assert config.heartbeat_timeout_in_ms == config.shutdown_barrier_timeout_in_ms == 120_000
assert config.service_leader == "/job:chief/replica:0/task:0", config.service_leader
assert [(job.name, job.num_tasks) for job in config.coordinated_job_list] == [("chief", 1), ("worker", 2)]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.slow
def test_a_rank_that_is_stopped_briefly_does_not_end_the_others() -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in (first, second)]
    ranks = []
    for index in range(2):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        variables = {**os.environ, "TF_CONFIG": json.dumps(config), "PYTHONPATH": python_path()}
        command = [sys.executable, "-c", WORKER, "120"]
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": variables, "text": True}
        ranks.append(subprocess.Popen(command, **options))
    try:
        assert [rank.stdout.readline() for rank in ranks] == ["ready 2.0\n"] * 2
        ranks[1].send_signal(signal.SIGSTOP)
        time.sleep(18)  # TensorFlow's own time-out is 10 s
        ranks[1].send_signal(signal.SIGCONT)
        for rank in ranks:
            rank.stdin.write("go\n")
            rank.stdin.flush()
        assert [rank.stdout.readline() for rank in ranks] == ["end 2.0\n"] * 2
        assert [rank.wait(60) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()
