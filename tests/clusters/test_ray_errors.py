"""Errors of Ray in one sentence, from real objects of its classes."""

from __future__ import annotations

import pytest

from hybridspeech.clusters.ray_errors import ray_cause
from hybridspeech.clusters.spark_errors import spark_cause

exceptions = pytest.importorskip("ray.exceptions")
KILLED = (
    """\
1 worker(s) were killed due to the node running low on memory.
Memory on the node (IP: 10.0.0.7, ID: 5b8e) was 7.21GB used / 7.50GB limit (0.961), which exceeds the memory usage
threshold of 0.95. Ray killed this worker (ID: 77) because it was the most recently scheduled task; to see more
information about memory usage on this node, use `ray logs raylet.out -ip 10.0.0.7`. Top 10 memory users: PID MEM(GB)
"""
    + "1234 0.31 ray::IDLE_SpillWorker\n" * 40
)
EXPECTED = (
    "Ray ended a process because memory ran out on node 10.0.0.7 (7.21 of 7.50 GB used); use fewer workers or executors, "
    "a smaller batch size, or nodes with more memory"
)


def test_out_of_memory_is_one_sentence_also_inside_an_error_of_ray_train() -> None:
    from ray.train.v2.api.exceptions import WorkerGroupError

    killed = exceptions.OutOfMemoryError(KILLED)
    assert ray_cause(killed) == EXPECTED
    assert ray_cause(WorkerGroupError("rank 0 failed", {0: killed})) == EXPECTED
    assert spark_cause(killed) == EXPECTED


def test_out_of_memory_without_a_known_message_is_one_sentence_too() -> None:
    cause = ray_cause(exceptions.OutOfMemoryError("a text of another version " * 60))
    assert cause.startswith("Ray ended a process because memory ran out; use fewer workers")


def test_another_error_of_ray_is_one_line_of_limited_length() -> None:
    cause = ray_cause(exceptions.GetTimeoutError("no answer\n" * 200))
    assert cause.startswith("GetTimeoutError: no answer no answer")
    assert len(cause) == 300
