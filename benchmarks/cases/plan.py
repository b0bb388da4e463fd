"""plan-scale: a table of many clips to a manifest and shards, without audio."""

from __future__ import annotations

import hashlib
import os
import pickle
import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet

from benchmarks.inputs import FIRST
from benchmarks.records import Outcome
from hybridspeech.config import FeatureConfig
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.manifest.tasks import select_task
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.plan import ShardTask, choose_num_shards, group_tasks, plan_shards

BATCH_ROWS = 1 << 16
SAMPLED = 20


def measure(source: Path, scratch: Path, *, share: float, columns: Sequence[str]) -> Outcome:
    """Return the clips per second from a Parquet table to groups of shards, on one core.

    Parameters
    ----------
    share : how much of the table is used
    columns : of the table
    """
    table = _part(source / "clips.parquet", scratch, share, columns)
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    config, shards = ManifestConfig(), ShardConfig().for_features("stft")
    started, started_cpu = time.perf_counter(), time.process_time()
    found = select_task(read_manifest(table, config), config, ())
    number = choose_num_shards(found, FeatureConfig(), shards)
    tasks = plan_shards(found.clips, replace(shards, num_shards=number))
    group_tasks(tasks, parallelism=64)
    work_s, cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    sampled = tasks[:: max(1, len(tasks) // SAMPLED)]
    sizes = [len(pickle.dumps(task)) / len(task.clips) for task in sampled]
    expected = pyarrow.parquet.read_metadata(table).num_rows
    return Outcome(
        value=expected / work_s,
        startup_s=0.0,
        facts={
            "clips": expected,
            "shards": len(tasks),
            "plan_s": work_s,
            "plan_cpu_s": cpu_s,
            "peak_mb": peak_mb,
            "task_bytes_per_clip": statistics.median(sizes),
        },
        problem=_problem(tasks, sampled, expected),
    )


def _part(table: Path, scratch: Path, share: float, columns: Sequence[str]) -> Path:
    """Copy the first rows of a table, in small batches: the memory of this process is measured."""
    part = scratch / "clips.parquet"
    with pyarrow.parquet.ParquetFile(table) as file:
        left = max(1, round(share * file.metadata.num_rows))
        schema = pyarrow.schema([file.schema_arrow.field(name) for name in columns])
        with pyarrow.parquet.ParquetWriter(part, schema) as writer:
            for batch in file.iter_batches(BATCH_ROWS, columns=list(columns)):
                writer.write_batch(batch.slice(0, left))
                left -= min(left, batch.num_rows)
                if not left:
                    break
    (scratch / FIRST).parent.mkdir()
    (scratch / FIRST).touch()
    return part


def _problem(tasks: Sequence[ShardTask], sampled: Sequence[ShardTask], expected: int) -> str:
    planned = sum(len(task.clips) for task in tasks)
    if planned != expected:
        return f"{planned} clips are in the shards; expected {expected}"
    for task in sampled:
        digests = [hashlib.sha256(f"0\0{clip_id}".encode()).digest() for clip_id in task.clips.column("clip_id")]
        if digests != sorted(digests):
            return f"{task.name} is not in the order of the hashes of its ids"
    return ""
