"""Backends whose workers are fed by Spark instead of reading shards: the table of them, by the backend's name.

A feed joins an engine's session to a backend's workers, so this is the one place that knows both.
"""

from hybridspeech.feeds.base import ClipSource
from hybridspeech.registry import Entry, Registry

FEEDS = Registry(
    "backend without shards",
    {
        "tfos": Entry("hybridspeech.feeds.tfos:TFoSFeed", "tfos"),
        "ray": Entry("hybridspeech.feeds.ray:RayFeed", "ray"),
    },
)

__all__ = ["FEEDS", "ClipSource"]
