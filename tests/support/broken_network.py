"""A module of a custom network whose import fails."""

from __future__ import annotations

SIZE = 1 // 0
