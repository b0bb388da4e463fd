"""read: the training shards of a folder to spectrograms."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.readers import Reader
from benchmarks.records import Outcome
from benchmarks.worker import load
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.tfrecord import decode_example, read_records


def measure(source: Path, scratch: Path, *, reader: str, **options: Any) -> Outcome:
    """Return the records per second of a reader. The first row of each spectrogram is compared with the file.

    Parameters
    ----------
    reader : "module:function" that returns a Reader for the `options`
    """
    paths = [source / shard.name for shard in ShardIndex.load(source).of_split("training")]
    begun = time.perf_counter()
    read: Reader = load(reader)(**options)
    for _ in read(paths[:1]):
        pass
    started = time.perf_counter()
    rows = [np.array(spectrogram[0]) for spectrogram in read(paths)]
    work_s = time.perf_counter() - started
    return Outcome(
        value=len(rows) / work_s,
        startup_s=started - begun,
        facts={"mb_per_s": sum(path.stat().st_size for path in paths) / 1e6 / work_s},
        problem=_problem(paths, rows),
    )


def _problem(paths: list[Path], rows: list[np.ndarray]) -> str:
    expected = []
    for path in paths:
        with path.open("rb") as file:
            values = (np.asarray(decode_example(data)["spectrogram"]) for _, data in read_records(file, path.name))
            expected += [value[: rows[0].size].copy() for value in values]
    if len(rows) != len(expected):
        return f"{len(rows)} records were read; expected {len(expected)}"
    wrong = [i for i, (row, value) in enumerate(zip(rows, expected, strict=True)) if not np.array_equal(row, value)]
    return f"{len(wrong)} records differ from the file; the first is {wrong[0]}" if wrong else ""
