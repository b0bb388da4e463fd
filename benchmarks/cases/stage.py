"""stft-stage and logmel-stage: a folder of clips to features, by whole pipelines."""

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
    pipeline : "module:function", called with the source, an empty output folder and `options`; returns a Stage. The option
        `features` is "stft" (default) or "logmel"
    """
    out = scratch / "out"
    out.mkdir()
    made: Stage = load(pipeline)(source, out, **options)
    facts: dict[str, Any] = {"clip_cpu_ms": made.watch.cpu_s * 1e3 / max(1, made.num_clips)}
    if made.samples is not None:
        errors = (error_db(found, path, options.get("features", "stft")) for path, found in made.samples.items())
        facts["error_db"] = max(errors, default=float("inf"))
    expected = count_clips(source)
    lost = f"{made.num_clips} clips; expected {expected}" if made.num_clips != expected else ""
    written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return Outcome(
        value=made.num_clips / made.watch.work_s,
        startup_s=made.watch.startup_s,
        facts={**facts, "written_mb": written / 1e6, **made.facts},
        problem=made.problem or lost or too_far(facts.get("error_db", 0.0)),
    )
