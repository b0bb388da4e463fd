"""write: spectrograms in memory to one TFRecord file."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from benchmarks.peers.pipeline import list_clips
from benchmarks.peers.transforms import fast
from benchmarks.peers.writers import Writer
from benchmarks.records import Outcome
from benchmarks.reference import read_wave
from benchmarks.worker import load
from hybridspeech.shards.tfrecord import decode_example, read_records

MAX_SPECTROGRAMS = 64  # 13 MB: more would measure the memory bandwidth


def measure(source: Path, scratch: Path, *, writer: str, num_records: int) -> Outcome:
    """Return the records per second of a writer, with fsync at the end. Every record is read back and compared.

    Parameters
    ----------
    writer : "module:function" that returns a Writer
    """
    transform = fast()
    waves = (read_wave(path).astype(np.float32) for path in list_clips(source)[:MAX_SPECTROGRAMS])
    spectrograms = [transform(wave).copy() for wave in waves]
    path = scratch / "training-00000-of-00001.tfrecord"
    begun = time.perf_counter()
    write: Writer = load(writer)()
    started = time.perf_counter()
    write(path, (spectrograms[i % len(spectrograms)] for i in range(num_records)))
    work_s = time.perf_counter() - started
    return Outcome(
        value=num_records / work_s,
        startup_s=started - begun,
        facts={"bytes_per_clip": path.stat().st_size / num_records},
        problem=_problem(path, spectrograms, num_records),
    )


def _problem(path: Path, spectrograms: list[np.ndarray], num_records: int) -> str:
    count = 0
    with path.open("rb") as file:
        for _, data in read_records(file, path.name):
            stored = decode_example(data)["spectrogram"]
            values = np.frombuffer(stored, "<f4") if isinstance(stored, bytes) else np.asarray(stored)
            if not np.array_equal(values, spectrograms[count % len(spectrograms)].ravel()):
                return f"record {count} holds other values than were given"
            count += 1
    return "" if count == num_records else f"{count} records were written; expected {num_records}"
