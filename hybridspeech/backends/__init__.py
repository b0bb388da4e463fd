"""Training backends by name. A backend decides where the workers run, not what they do."""

from hybridspeech.backends.base import TrainingBackend
from hybridspeech.registry import Entry, Registry

BACKENDS = Registry(
    "backend",
    {
        "local": Entry("hybridspeech.backends.local:LocalBackend", "train", ("tensorflow",)),
        "tfos": Entry("hybridspeech.backends.tfos:TFoSBackend", "tfos", ("pyspark", "tensorflowonspark", "tensorflow")),
        "ray": Entry("hybridspeech.backends.ray:RayBackend", "ray", ("ray", "tensorflow")),
    },
)

__all__ = ["BACKENDS", "TrainingBackend"]
