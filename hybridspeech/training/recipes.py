"""Recipes: the default network for each kind of features, and the default settings of its training.

`resolve` and `resolve_sound` are the only functions that fill the fields that a user left as None. The command line quotes
the recipes in its help, so that this module imports nothing but the standard library. Figures: docs/models.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hybridspeech.config import NO_AUGMENTATION, WHILE_TRAINING, AugmentConfig, FeatureConfig
from hybridspeech.errors import ConfigError
from hybridspeech.models.config import ModelConfig
from hybridspeech.records import check_choice, given_fields, override
from hybridspeech.training.config import FitConfig

if TYPE_CHECKING:
    from hybridspeech.shards.index import ShardIndex

SOUND = replace(
    NO_AUGMENTATION,
    background_volume=0.1,
    background_frequency=0.8,
    time_shift_ms=100,
    gain_db=6,
    speed_percent=10,
)
"""Augmentation of the sound. Volume and frequency of the noise, and the shift, are those of TensorFlow's speech_commands
example."""

REPORT = FitConfig(
    epochs=8,
    batch_size=16,
    learning_rate=1e-3,
    learning_rate_batch=0,
    optimizer="adam",
    weight_decay=0.0,
    schedule="constant",
    warmup_epochs=0.0,
    label_smoothing=0.0,
    class_weights=False,
    early_stopping=0,
    augment=NO_AUGMENTATION,
    negatives_percentage=0.0,
    seed=0,
    deterministic=False,
    shuffle_buffer=1024,
    keep_checkpoints=2,
    checkpoint_steps=0,
)
"""Settings of the 2020 student report whose network is `cnn`."""

COMPACT = replace(
    REPORT,
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
"""For networks that are too small to overfit: they need less regularization (docs/LOG.md)."""

WIDE = replace(
    COMPACT,
    epochs=40,
    batch_size=32,
    learning_rate=1e-3,
    learning_rate_batch=32,
    weight_decay=5e-2,
    augment=replace(COMPACT.augment, frequency_warp_percent=20, shift_frames=5, mixup_alpha=0.0),
)
"""For `cnn`: 96 % of its parameters are in the first dense layer, which learns pitch and position (docs/LOG.md)."""

RECIPES: Mapping[str, FitConfig] = {"cnn": WIDE, "dscnn": COMPACT, "bcresnet": SMALLEST}
"""Of the recipe "default", by network; other networks have COMPACT. The recipe "report" is REPORT, for any network."""
RECIPE_NAMES = ("default", "report")
FINE_TUNING_RATE = 1 / 3
"""Factor of the learning rate of a recipe, for a training that starts from the weights of a run."""
FINE_TUNING_EPOCHS, FINE_TUNING_BATCH = 30, 16
"""Most epochs, and largest batch size: a few recordings would be two batches of 64, and an epoch two steps."""
RIR_FREQUENCY = 0.3
"""Share of the clips that are reverberated if there are room impulse responses. It was chosen, not tuned."""
NEGATIVES_PERCENTAGE = 25.0
"""Negatives in each batch, in percent of the batch size, if there are some. It was chosen, not tuned."""
MODEL_OF: Mapping[str, str] = {"stft": "cnn", "logmel": "dscnn"}
"""Default network of each kind of features."""
USUAL_MODEL = ModelConfig(dropout=0.2, width=1.0, standardize="none", causal=False)
MODELS: Mapping[str, ModelConfig] = {
    "cnn": replace(USUAL_MODEL, dropout=0.1, standardize="clip"),
    "bcresnet": replace(USUAL_MODEL, dropout=0.1),
}
"""By network; other networks have USUAL_MODEL. The dropout rate of bcresnet is the paper's."""


@dataclass(frozen=True, kw_only=True)
class DataSummary:
    """What the data of a training offer.

    Parameters
    ----------
    features : settings of the stored features
    has_noise : whether there is background noise for training
    has_responses : whether there are room impulse responses
    has_negatives : whether there is sound without the words, for negatives
    """

    features: FeatureConfig
    has_noise: bool = False
    has_responses: bool = False
    has_negatives: bool = False


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of a training that depend on the kind of the data; no field is None except in a `model`'s sizes."""

    features: FeatureConfig
    model: ModelConfig
    fit: FitConfig


def summary_of(index: ShardIndex) -> DataSummary:
    """Return what finished shards offer."""
    has_noise = any("training" in noise.splits for noise in index.noises)
    return DataSummary(features=index.features, has_noise=has_noise)


def resolve(
    data: DataSummary,
    *,
    features: FeatureConfig | None = None,
    model: ModelConfig | None = None,
    fit: FitConfig | None = None,
    name: str = "default",
    is_fine_tuning: bool = False,
) -> Recipe:
    """Return the settings of a training on `data`: those given, and the recipe's for each field that is None.

    The recipe's augmentation is reduced to what the data allow.

    Parameters
    ----------
    features : features that the network takes, for waveform shards; None: log-mel (recipe "report": STFT), or the stored
        features
    name : one of RECIPE_NAMES
    is_fine_tuning : training starts from the weights of a run: the recipe "default" is changed for it

    Raises
    ------
    ConfigError: the name is unknown; the data can not give the features or the requested augmentation.
    """
    from hybridspeech.features.clip_transform import view_of

    check_choice("recipe", name, RECIPE_NAMES)
    of_report = name == "report"
    if of_report and data.features.kind == "waveform":
        features = features or FeatureConfig(kind="stft")
    model, fit = model or ModelConfig(), fit or FitConfig()
    features = view_of(data.features, features, causal=bool(model.causal))
    network = model.name or ("cnn" if of_report else MODEL_OF[features.kind])
    usual_model = USUAL_MODEL if of_report else MODELS.get(network, USUAL_MODEL)
    if model.causal:
        usual_model = replace(usual_model, standardize="none")
    usual = REPORT if of_report else RECIPES.get(network, COMPACT)
    if is_fine_tuning and not of_report:
        usual = _for_fine_tuning(usual)
    if data.has_responses:
        usual = replace(usual, augment=replace(usual.augment, rir_frequency=RIR_FREQUENCY))
    if data.has_negatives:
        usual = replace(usual, negatives_percentage=NEGATIVES_PERCENTAGE)
    settings = override(replace(usual, augment=_possible(usual.augment, data)), fit)
    _check_possible(settings.augment, fit.augment, data)
    _check_negatives(settings, data)
    return Recipe(features=features, model=override(replace(usual_model, name=network), model), fit=settings)


def resolve_sound(augment: AugmentConfig | None, has_noise: bool) -> AugmentConfig:
    """Return the augmentation of the copies that `preprocess` makes: the fields given, and SOUND for those that are None.

    Raises
    ------
    ConfigError: a given field needs noise, and there is none; or it works on spectrograms, during training.
    """
    augment = augment or AugmentConfig()
    for name in WHILE_TRAINING:
        value = getattr(augment, name)
        if value and value != getattr(NO_AUGMENTATION, name):
            raise ConfigError(f"{name} is {value}, which copies can not have: give {name} to train instead")
    data = DataSummary(features=FeatureConfig(kind="waveform"), has_noise=has_noise)
    settings = override(_possible(SOUND, data), augment)
    _check_possible(settings, augment, data)
    return settings.of_sound


def _for_fine_tuning(fit: FitConfig) -> FitConfig:
    """Return the settings of a recipe for a training that starts from trained weights; no layer is frozen."""
    return replace(
        fit,
        learning_rate=fit.learning_rate * FINE_TUNING_RATE,
        epochs=min(fit.epochs, FINE_TUNING_EPOCHS),
        batch_size=min(fit.batch_size, FINE_TUNING_BATCH),
    )


def _possible(augment: AugmentConfig, data: DataSummary) -> AugmentConfig:
    if data.features.kind != "waveform":
        return augment.of_spectrograms
    if not data.has_responses:
        augment = replace(augment, rir_frequency=0.0)
    if data.has_noise:
        return augment
    quiet = replace(augment, background_volume=0.0, background_frequency=0.0)
    return replace(quiet, snr_frequency=0.0) if augment.has_noise_by_snr else quiet


def _check_negatives(fit: FitConfig, data: DataSummary) -> None:
    """Raise ConfigError for negatives that are not there, or that the data can not have."""
    if fit.negatives_percentage and not data.has_negatives:
        raise ConfigError(
            f"negatives_percentage is {fit.negatives_percentage:g}, but there are no negatives; give recordings without the "
            "words of the run with --negatives"
        )
    if data.has_negatives and data.features.kind != "waveform":
        raise ConfigError(
            f"negatives are sound, but the data are {data.features.kind} spectrograms; preprocess with --features waveform "
            "and train on these shards"
        )


def _check_possible(augment: AugmentConfig, given: AugmentConfig, data: DataSummary) -> None:
    """Raise ConfigError for a field of `given` that the data can not give; `augment` is what would be used."""
    possible = _possible(augment, data)
    lost = {name: value for name, value in given_fields(given).items() if value and getattr(possible, name) != value}
    if data.has_responses:
        lost = {"rir_frequency": RIR_FREQUENCY, **lost} if data.features.kind != "waveform" else lost
    for name, value in lost.items():
        if data.features.kind != "waveform":
            raise ConfigError(
                f"{name} is {value}, which changes the sound, but the data are {data.features.kind} spectrograms; "
                "preprocess with --features waveform and train on these shards"
                + ("" if name in WHILE_TRAINING else ", or preprocess with --augment-copies")
            )
        if name == "rir_frequency":
            raise ConfigError(
                f"rir_frequency is {value}, but there are no room impulse responses; give a folder of them with --rir"
            )
        if name == "snr_frequency" or 0 not in (given.background_volume, given.background_frequency):
            raise ConfigError(
                f"{name} is {value}, but there is no background noise for training; put recordings of noise into "
                f"SOURCE/_background_noise_ and preprocess again, or set {name} to 0"
            )
