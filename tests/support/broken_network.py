"""A module of a custom network that can not be imported."""

from __future__ import annotations

SIZE = 1 // 0
