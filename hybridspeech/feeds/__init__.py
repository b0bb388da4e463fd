"""Backends whose workers are fed by Spark instead of reading shards, by the name of the backend.

A feed connects an engine's session to a backend's workers; only this package knows both.
"""

from hybridspeech.feeds.base import ClipSource
from hybridspeech.registry import Entry, Registry

FEEDS = Registry(
    "backend without shards",
    {
        "tfos": Entry("hybridspeech.feeds.tfos:TFoSFeed", "tfos", ("pyspark", "tensorflowonspark", "tensorflow")),
        "ray": Entry("hybridspeech.feeds.ray:RayFeed", "ray", ("ray", "raydp", "pyspark", "tensorflow")),
    },
)

__all__ = ["FEEDS", "ClipSource"]
