"""A driver process that is itself the only worker."""

from __future__ import annotations

import sys

from hybridspeech.backends.base import execute_in_worker_process
from hybridspeech.backends.launch import Job


def call_the_worker(job: Job) -> None:
    """Run the worker of rank 0 in this process."""
    sys.stdout.write("driver is at work\n")
    execute_in_worker_process(job.worker, job.plan, rank=0)
