"""Preprocessing engines by name. An engine decides where the work runs, not what the work is."""

from hybridspeech.engines.base import Engine
from hybridspeech.registry import Entry, Registry

ENGINES = Registry(
    "engine",
    {
        "local": Entry("hybridspeech.engines.local:LocalEngine"),
        "spark": Entry("hybridspeech.engines.spark:SparkEngine", "spark"),
        "raydp": Entry("hybridspeech.engines.raydp:RayDPEngine", "ray"),
    },
)

__all__ = ["ENGINES", "Engine"]
