"""What every exported model contains, and how a format is described. Knows nothing of single formats."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError
from hybridspeech.models.frontend import INPUT_NAME

if TYPE_CHECKING:
    import tf_keras

LABELS_NAME, DEPLOYMENT_NAME = "labels.txt", "deployment.json"
OUTPUT_NAME, SIGNATURE, METADATA_SIGNATURE = "probabilities", "serving_default", "metadata"
Classify = Callable[[np.ndarray], np.ndarray]
"""float32 [shape=(batch, num_samples)] -> float32 [shape=(batch, num_labels)]."""


@dataclass(frozen=True, kw_only=True)
class ExportSource:
    """A network, its input features and its labels.

    `waves` are the calibration clips of an int8 format; `thresholds` are those of `evaluate --stream`, in JSON form, or empty.
    """

    model: tf_keras.Model
    features: FeatureConfig
    labels: tuple[str, ...]
    waves: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    thresholds: Mapping[str, Any] = field(default_factory=dict)

    def assets(self, **more: Any) -> dict[str, str]:
        """Return the text files that every format contains, by name; `more` are further settings of deployment.json."""
        deployment = {
            "labels": self.labels,
            "sample_rate_hz": self.features.sample_rate_hz,
            "num_samples": self.features.num_samples,
            "input": INPUT_NAME,
            "output": OUTPUT_NAME,
            **({"listen": dict(self.thresholds)} if self.thresholds else {}),
            **more,
        }
        return {
            LABELS_NAME: "".join(f"{label}\n" for label in self.labels),
            DEPLOYMENT_NAME: json.dumps(deployment, indent=2, ensure_ascii=False) + "\n",
        }


@dataclass(frozen=True)
class ExportFormat:
    """How a format is written and read.

    Parameters
    ----------
    suffix : of the file; '' for a folder
    write : writes the model; returns its own settings in deployment.json, if it has any
    is_quantized : predictions are close to those of the run, not equal within rounding; calibration clips are needed
    is_streaming : the input is the next samples of a stream
    main_file : name of a file that the folder has
    """

    suffix: str
    write: Callable[[ExportSource, Path], dict[str, Any] | None]
    read: Callable[[Path], Classify]
    is_quantized: bool = False
    is_streaming: bool = False
    main_file: str = "saved_model.pb"


def read_deployment(path: Path) -> dict[str, Any]:
    """Return the content of deployment.json in an export: a folder, or a file with a zip archive at its end.

    Raises
    ------
    ConfigError: there is none, or it is damaged.
    """
    try:
        if path.is_dir():
            folder = path / "assets" if (path / "assets").is_dir() else path
            text = (folder / DEPLOYMENT_NAME).read_text(encoding="utf-8")
        else:
            text = zipfile.ZipFile(path).read(DEPLOYMENT_NAME).decode()
        deployment: dict[str, Any] = json.loads(text)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path}: is not an exported model ({error}); expected an export of hybridspeech") from error
    return deployment


def append_assets(path: Path, assets: dict[str, str]) -> None:
    """Add the assets to the zip archive that a .keras file is, or to one at the end of a file, as in TFLite's metadata."""
    with zipfile.ZipFile(path, "a") as archive:
        for name, text in assets.items():
            archive.writestr(name, text)
