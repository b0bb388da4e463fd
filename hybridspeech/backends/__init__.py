"""Training backends by name. A backend decides where the workers run, not what they do."""

from hybridspeech.backends.base import TrainingBackend
from hybridspeech.registry import Entry, Registry

BACKENDS = Registry(
    "backend",
    {
        "local": Entry("hybridspeech.backends.local:LocalBackend"),
        "tfos": Entry("hybridspeech.backends.tfos:TFoSBackend", "tfos"),
        "ray": Entry("hybridspeech.backends.ray:RayBackend", "ray"),
    },
)

__all__ = ["BACKENDS", "TrainingBackend"]
