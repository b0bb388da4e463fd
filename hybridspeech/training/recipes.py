"""Which network suits which features, and how each is trained unless told otherwise. Figures: docs/models.md.

The command line quotes these settings in its help, so that nothing but the standard library is imported for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridspeech.config import ON_SPECTROGRAMS, AugmentConfig, FeatureConfig
from hybridspeech.errors import ConfigError
from hybridspeech.models.config import ModelConfig
from hybridspeech.training.config import FitConfig

if TYPE_CHECKING:
    from hybridspeech.shards.index import ShardIndex

SOUND = AugmentConfig(background_volume=0.1, background_frequency=0.8, time_shift_ms=100, gain_db=6, speed_percent=10)
"""Volume, frequency and shift of the noise are those of TensorFlow's speech_commands example."""

COMPACT = FitConfig(
    epochs=60,
    batch_size=64,
    learning_rate=3e-3,
    learning_rate_batch=64,
    optimizer="adamw",
    weight_decay=1e-2,
    schedule="cosine",
    warmup_epochs=2,
    label_smoothing=0.1,
    augment=replace(SOUND, time_masks=2, frequency_masks=2, mask_fraction=0.15, mixup_alpha=0.2),
)
SMALLEST = replace(
    COMPACT, learning_rate=1e-2, augment=replace(COMPACT.augment, time_masks=1, frequency_masks=1, mixup_alpha=0.0)
)
"""For networks that do not learn a training set by heart: it takes less to keep them from it (docs/LOG.md)."""
RECIPES: Mapping[str, FitConfig] = {"cnn": FitConfig(), "dscnn": COMPACT, "bcresnet": SMALLEST}
DROPOUTS: Mapping[str, float] = {"bcresnet": 0.1}
"""Where it is not ModelConfig's: the paper's."""
MODEL_OF: Mapping[str, str] = {"stft": "cnn", "logmel": "dscnn"}
"""By the features that a network takes."""

_AUGMENTS = {item.name for item in fields(AugmentConfig)}
_OF_SOUND = _AUGMENTS - set(ON_SPECTROGRAMS)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that `train` needs to know of one kind of training."""

    features: FeatureConfig
    model: ModelConfig
    fit: FitConfig


def recipe_for(
    shards: str | Path | ShardIndex,
    *,
    features: str | None = None,
    model: str | None = None,
    dropout: float | None = None,
    width: float | None = None,
    **overrides: Any,
) -> Recipe:
    """The usual training on these shards, with the overrides that are not None.

    What only a waveform can have done to it is left out where the shards hold spectrograms, and background noise where they
    have none.

    Parameters
    ----------
    features : stft or logmel, for shards of waveforms; None: logmel
    model : name of a network; None: the one for the features
    overrides : fields of FitConfig and of AugmentConfig

    Raises
    ------
    ShardError: these are no shards. ConfigError: a value can't be, or an override asks for what the shards can't give.
    """
    from hybridspeech.features.clip_transform import view_of
    from hybridspeech.shards.index import ShardIndex

    index = shards if isinstance(shards, ShardIndex) else ShardIndex.load(shards)
    view = view_of(index.features, features)
    name = model or MODEL_OF[view.kind]
    usual = RECIPES.get(name, COMPACT)
    given = {key: value for key, value in overrides.items() if value is not None}
    augment = _possible(usual.augment, index)
    augment = replace(augment, **{key: value for key, value in given.items() if key in _AUGMENTS})
    if impossible := [
        key for key in sorted(_OF_SOUND & set(given)) if given[key] and _possible(augment, index) != augment
    ]:
        raise ConfigError(f"{impossible[0]} is {given[impossible[0]]}; {why_not(augment, index)}")
    fit = {key: value for key, value in given.items() if key not in _AUGMENTS}
    network: dict[str, Any] = {"dropout": DROPOUTS.get(name) if dropout is None else dropout, "width": width}
    network = {key: value for key, value in network.items() if value is not None}
    return Recipe(features=view, model=ModelConfig(name=name, **network), fit=replace(usual, **fit, augment=augment))


def varied(**overrides: float | None) -> AugmentConfig | None:
    """SOUND with the overrides that are not None; None if there are no such."""
    given: dict[str, Any] = {name: value for name, value in overrides.items() if value is not None}
    return replace(SOUND, **given) if given else None


def _possible(augment: AugmentConfig, index: ShardIndex) -> AugmentConfig:
    if index.features.kind != "waveform":
        return augment.of_spectrograms
    has_noise = any("training" in noise.splits for noise in index.noises)
    return augment if has_noise else replace(augment, background_volume=0.0, background_frequency=0.0)


def why_not(augment: AugmentConfig, index: ShardIndex) -> str:
    """Why these shards can't be varied so, and what to do; empty if they can."""
    if _possible(augment, index) == augment:
        return ""
    if index.features.kind != "waveform":
        return (
            f"the shards hold {index.features.kind} spectrograms, whose sound can't be varied any more; preprocess with "
            "--features waveform, or with --augment-copies"
        )
    return (
        "the shards bring no background noise for training; put recordings into SOURCE/_background_noise_ and preprocess "
        "again, or set background_frequency to 0"
    )
