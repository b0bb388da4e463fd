"""stft-kernel: waveforms in memory to spectrograms, one clip at a time, on one core."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from benchmarks.records import Outcome
from benchmarks.reference import error_db, read_wave, too_far
from benchmarks.worker import load

MAX_CHECKED = 200


def measure(source: Path, scratch: Path, *, transform: str, dtype: str, seconds: float) -> Outcome:
    """Return the clips per second of a transform, from passes over all clips for at least `seconds` (at least one pass).

    Parameters
    ----------
    transform : "module:function" that returns the function of one waveform
    dtype : dtype of the waveforms [shape=(16000,)]
    """
    paths = sorted(source.glob("[!_]*/*.wav"))
    waves = [read_wave(path).astype(dtype) for path in paths]
    begun = time.perf_counter()
    function = load(transform)()
    function(waves[0])
    started = time.perf_counter()
    passes = 0
    while not passes or time.perf_counter() - started < seconds:
        for wave in waves:
            function(wave)
        passes += 1
    work_s = time.perf_counter() - started
    checked = list(zip(waves, paths, strict=True))[:: max(1, len(paths) // MAX_CHECKED)]
    error = max(error_db(np.asarray(function(wave)), path) for wave, path in checked)
    return Outcome(
        value=passes * len(waves) / work_s,
        startup_s=started - begun,
        facts={"error_db": error},
        problem=too_far(error),
    )
