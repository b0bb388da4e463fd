"""The monitor reports whether a long step waits for its batch, although the step runs in native code."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.stall_monitor import StallMonitor
from hybridspeech.training.worker import WorkerContext


def await_word(run: RunDirectory, waits: str) -> None:
    deadline = time.monotonic() + 60
    while run.status.read(0).get("waits") != waits:
        assert time.monotonic() < deadline, run.status.read(0)
        time.sleep(0.01)


def test_a_long_step_reports_whether_it_waits_for_data(tmp_path: Path) -> None:
    import numpy as np
    import tensorflow as tf

    run, released = RunDirectory(tmp_path), threading.Event()
    run.status.clear(1)
    context = WorkerContext(rank=0, num_workers=1, run=run)
    context.report("step", 7)
    said_at = run.status.read(0)["at"]

    def read(number: np.int64) -> np.int64:
        assert released.wait(60)
        return number

    stuck = tf.data.Dataset.range(2).map(lambda number: tf.numpy_function(read, [number], tf.int64))
    with StallMonitor(context, quiet_s=0.05) as monitor:
        batches = iter(monitor.count_batches(stuck))
        reader = threading.Thread(target=next, args=(batches,), daemon=True)
        reader.start()
        await_word(run, "data")
        released.set()
        reader.join(60)
        await_word(run, "step")
        for _ in range(2):  # TensorFlow has fetched the second one ahead
            monitor.end_step()
        await_word(run, "data")
        monitor.end_epoch()
    assert (run.status.read(0)["phase"], run.status.read(0)["at"]) == ("step", said_at)
