"""What every exported model contains, and how a format is described. Knows nothing of single formats."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridspeech.config import FeatureConfig
from hybridspeech.models.frontend import INPUT_NAME
from hybridspeech.models.streaming import StreamingNetwork

if TYPE_CHECKING:
    import tf_keras

LABELS_NAME, DEPLOYMENT_NAME = "labels.txt", "deployment.json"
OUTPUT_NAME, SIGNATURE, METADATA_SIGNATURE = "probabilities", "serving_default", "metadata"
Classify = Callable[[np.ndarray], np.ndarray]
"""float32 [shape=(batch, num_samples)] -> float32 [shape=(batch, num_labels)]."""


@dataclass(frozen=True, kw_only=True)
class ExportSource:
    """A network, its input features and its labels; `waves` are the calibration clips of an int8 format."""

    model: tf_keras.Model
    features: FeatureConfig
    labels: tuple[str, ...]
    waves: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def assets(self, **more: Any) -> dict[str, str]:
        """Return the text files that every format contains, by name; `more` are further settings of deployment.json."""
        deployment = {
            "labels": self.labels,
            "sample_rate_hz": self.features.sample_rate_hz,
            "num_samples": self.features.num_samples,
            "input": INPUT_NAME,
            "output": OUTPUT_NAME,
            **more,
        }
        return {
            LABELS_NAME: "".join(f"{label}\n" for label in self.labels),
            DEPLOYMENT_NAME: json.dumps(deployment, indent=2, ensure_ascii=False) + "\n",
        }


@dataclass(frozen=True)
class ExportFormat:
    """How a format is written and read. `suffix` is that of the file, '' for a folder.

    The predictions of a format that `is_quantized` are close to those of the run, not equal within rounding. One that
    `is_streaming` takes the next samples of a stream.
    """

    suffix: str
    write: Callable[[ExportSource, Path], None]
    read: Callable[[Path], Classify]
    is_quantized: bool = False
    is_streaming: bool = False

    def input_shape(self, source: ExportSource) -> tuple[int | None, int]:
        """Return (batch size, number of samples) of the input; None: any batch size."""
        if not self.is_streaming:
            return (None, source.features.num_samples)
        return (
            None if not self.suffix else 1,
            StreamingNetwork(source.model).frames_per_step * source.features.hop_length,
        )


def append_assets(path: Path, assets: dict[str, str]) -> None:
    """Add the assets to the zip archive that a .keras file is, or to one at the end of a file, as in TFLite's metadata."""
    with zipfile.ZipFile(path, "a") as archive:
        for name, text in assets.items():
            archive.writestr(name, text)
