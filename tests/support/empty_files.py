"""Folders of empty files, for tests of functions that read only names."""

from __future__ import annotations

from pathlib import Path


def tree(root: Path, *names: str) -> Path:
    """Create empty files under `root`, and return it."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root
