"""The process of one repeat: reads a Job, calls its function, writes the Outcome.

The working directory is its scratch folder; the supervising process removes it.

``python -m benchmarks.worker JOB.json OUTCOME.json``
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.records import Job, Outcome
from hybridspeech.records import from_json, to_json
from hybridspeech.storage.small_files import write_atomically


def load(target: str) -> Any:
    """Import "module:name"."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def main(job_path: Path, outcome_path: Path) -> None:
    """Run one job."""
    job = from_json(Job, json.loads(job_path.read_text(encoding="utf-8")))
    outcome: Outcome = load(job.target)(Path(job.source), Path.cwd(), **job.settings)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write_atomically(outcome_path, json.dumps(to_json(replace(outcome, own_mb=peak_kib * 1024 / 1e6))))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
