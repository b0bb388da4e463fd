"""The repository comes first on the path: pytest puts ``tests`` there, whose folder ``benchmarks`` is no package."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
