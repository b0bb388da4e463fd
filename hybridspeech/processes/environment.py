"""Environment variables of this process and of its children. Knows nothing of Spark, Ray and TensorFlow."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

SINGLE_THREADED: Mapping[str, str] = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
"""For worker processes of which one runs per core: numeric libraries would start one thread per core in each of them."""


def python_path() -> str:
    """Return the import path of this process as a PYTHONPATH, so that workers on this machine import the same code."""
    entries = (Path(entry or ".").absolute() for entry in sys.path)
    return os.pathsep.join(dict.fromkeys(str(entry) for entry in entries if entry.exists()))


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables of this process, and restore the previous values afterwards."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
