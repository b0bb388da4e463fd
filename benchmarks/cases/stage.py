"""stft-stage: a folder of clips to spectrograms, by whole pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.inputs import count_clips
from benchmarks.peers.pipeline import Stage
from benchmarks.records import Outcome
from benchmarks.reference import error_db, too_far
from benchmarks.worker import load


def measure(source: Path, scratch: Path, *, pipeline: str, **options: Any) -> Outcome:
    """Return the clips per second of a pipeline, from listing the folder to the last byte written.

    Parameters
    ----------
    pipeline : "module:function", called with the source, an empty output folder and `options`; returns a Stage
    """
    out = scratch / "out"
    out.mkdir()
    made: Stage = load(pipeline)(source, out, **options)
    error = max((error_db(found, path) for path, found in made.samples.items()), default=float("inf"))
    expected = count_clips(source)
    lost = f"{made.num_clips} clips; expected {expected}" if made.num_clips != expected else ""
    written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return Outcome(
        value=made.num_clips / made.watch.work_s,
        startup_s=made.watch.startup_s,
        facts={"written_mb": written / 1e6, "error_db": error, **made.facts},
        problem=made.problem or lost or too_far(error),
    )
