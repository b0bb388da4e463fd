"""Keeps the bytecode of the modules that AutoGraph generates out of the folder for temporary files.

Written against: tensorflow 2.21.0.

Reason: AutoGraph writes the code of each converted function to a module in the folder for temporary files and removes it
when the process ends. Python writes the bytecode of each of them to `__pycache__` in the same folder, which nobody removes.

Without it: each training, evaluation and export leaves files in TMPDIR. It can go when: AutoGraph removes them, or loads its
modules without writing bytecode.
"""

from __future__ import annotations

import functools
import sys
from typing import Any


def write_no_bytecode() -> None:
    """Load AutoGraph's modules without writing their bytecode; a second call changes nothing."""
    from tensorflow.python.autograph.pyct import loader

    load_source = loader.load_source
    if hasattr(load_source, "__wrapped__"):
        return

    @functools.wraps(load_source)
    def load_without_bytecode(*args: Any, **kwargs: Any) -> Any:
        before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            return load_source(*args, **kwargs)
        finally:
            sys.dont_write_bytecode = before

    loader.load_source = load_without_bytecode
