"""Compares an export with its run, before it is published. Knows nothing of how the run was trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hybridspeech.config import FeatureConfig
from hybridspeech.errors import RunError
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.models.export_source import Classify, ExportSource

if TYPE_CHECKING:
    import tf_keras

TOLERANCE = 1e-3
"""Largest allowed difference between a probability of the exported model and of `predict`; not for int8."""
AGREEMENT = 0.99
"""Least share of the calibration clips on which an int8 model must predict the same label as the run (docs/LOG.md)."""
_BATCH_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Largest difference of a probability, and share of the clips with the same predicted label."""

    max_difference: float
    share: float


def compare(source: ExportSource, classify: Classify) -> Agreement:
    """Compare an export with its network on the calibration clips, or on synthetic signals if there are none.

    Parameters
    ----------
    classify : the exported model
    """
    waves = source.waves if len(source.waves) else _signals(source.features)
    return _compare(source.model, classify, source.features, waves)


def check_agreement(agreement: Agreement, format: str, is_quantized: bool, run: Path, num_clips: int) -> None:
    """Check that the predictions of an export are those of its run.

    Raises
    ------
    RunError: they differ.
    """
    if is_quantized and not agreement.share >= AGREEMENT:
        raise RunError(
            f"{run}: the int8 model predicts the same label as the run for {100 * agreement.share:.1f} % of {num_clips} "
            f"training clips; expected at least {100 * AGREEMENT:g} %; nothing was written; export as tflite, in float"
        )
    if not is_quantized and not agreement.max_difference <= TOLERANCE:
        raise RunError(
            f"{run}: the probabilities of the {format} model differ by up to {agreement.max_difference:.2g} from those of the "
            f"run; expected at most {TOLERANCE:g}; nothing was written; export as savedmodel, which computes in double "
            "precision"
        )


def _signals(features: FeatureConfig) -> np.ndarray:
    """Make noise, rising tones and silence: float32 [shape=(8, num_samples)]."""
    generator = np.random.default_rng(0)
    times = np.arange(features.num_samples) / features.sample_rate_hz
    noises = 0.01 * generator.standard_normal((4, times.size))
    sweeps = [0.5 * np.sin(2 * np.pi * pitch_hz * (1 + times) * times) for pitch_hz in (110, 440, 1200)]
    return np.stack([*noises, *sweeps, 0 * times]).astype(np.float32)


def _compare(model: tf_keras.Model, classify: Classify, features: FeatureConfig, waves: np.ndarray) -> Agreement:
    extractor = FeatureExtractor(features)
    differences, same = [], []
    for first in range(0, len(waves), _BATCH_SIZE):
        batch = waves[first : first + _BATCH_SIZE]
        spectrograms = np.stack([extractor(wave).copy() for wave in batch])[..., np.newaxis]
        exported, expected = classify(batch), model.predict_on_batch(spectrograms)
        differences.append(np.abs(exported - expected).max())
        same.append(exported.argmax(axis=1) == expected.argmax(axis=1))
    return Agreement(max_difference=float(np.max(differences)), share=float(np.concatenate(same).mean()))
