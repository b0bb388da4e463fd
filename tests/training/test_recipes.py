from __future__ import annotations

from dataclasses import replace

import pytest

from hybridspeech.config import NO_AUGMENTATION, AugmentConfig, FeatureConfig
from hybridspeech.errors import ConfigError
from hybridspeech.models.config import ModelConfig
from hybridspeech.training.config import FitConfig
from hybridspeech.training.optimizer import peak_learning_rate
from hybridspeech.training.recipes import COMPACT, REPORT, SOUND, DataSummary, resolve, resolve_sound

STFT, LOGMEL, WAVEFORM = (DataSummary(features=FeatureConfig(kind=kind)) for kind in ("stft", "logmel", "waveform"))
NOISY = replace(WAVEFORM, has_noise=True)


@pytest.mark.parametrize(
    ("data", "features", "model", "expected"),
    [
        (STFT, None, None, ("stft", "cnn")),
        (LOGMEL, None, None, ("logmel", "dscnn")),
        (WAVEFORM, None, None, ("logmel", "dscnn")),
        (WAVEFORM, "stft", None, ("stft", "cnn")),
        (WAVEFORM, "logmel", "bcresnet", ("logmel", "bcresnet")),
        (STFT, None, "dscnn", ("stft", "dscnn")),
    ],
)
def test_the_default_network_depends_on_the_features(
    data: DataSummary, features: str | None, model: str | None, expected: tuple[str, str]
) -> None:
    config = FeatureConfig(kind=features) if features else None
    recipe = resolve(data, features=config, model=ModelConfig(name=model))
    assert (recipe.features.kind, recipe.model.name) == expected


def test_a_causal_network_takes_causal_features_of_the_sound() -> None:
    recipe = resolve(WAVEFORM, features=FeatureConfig(kind="logmel", n_mels=40), model=ModelConfig(causal=True))
    assert (recipe.model.name, recipe.model.causal, recipe.features.n_mels) == ("dscnn", True, 40)
    assert (recipe.features.causal, recipe.features.top_db) == (True, None)
    assert not resolve(WAVEFORM).features.causal
    with pytest.raises(ConfigError, match="needs causal features, and the data are logmel spectrograms of whole clips"):
        resolve(LOGMEL, model=ModelConfig(causal=True))
    stored = DataSummary(features=recipe.features)
    assert resolve(stored, model=ModelConfig(causal=True)).features == recipe.features


def test_a_resolved_recipe_has_no_field_that_is_none() -> None:
    recipe = resolve(NOISY, model=ModelConfig(name="bcresnet"))
    assert None not in vars(recipe.fit).values()
    assert None not in vars(recipe.fit.augment).values()
    assert (recipe.model.dropout, recipe.model.width) == (0.1, 1.0)


@pytest.mark.parametrize("data", [STFT, WAVEFORM])
def test_the_recipe_of_the_report_has_its_features_its_network_and_its_settings(data: DataSummary) -> None:
    recipe = resolve(data, name="report")
    assert (recipe.features.kind, recipe.fit) == ("stft", REPORT)
    assert recipe.model == ModelConfig(name="cnn", dropout=0.2, width=1.0, standardize="none", causal=False)


def test_the_network_of_the_report_has_a_recipe_that_works_by_default() -> None:
    recipe = resolve(STFT)
    assert (recipe.model.name, recipe.model.standardize) == ("cnn", "clip")
    assert (recipe.fit.optimizer, recipe.fit.schedule) == ("adamw", "cosine")
    assert recipe.fit.augment.time_masks and not recipe.fit.augment.needs_noise
    assert resolve(NOISY, model=ModelConfig(name="cnn")).fit.augment.needs_noise


def test_a_given_field_overrides_the_recipe_of_the_report() -> None:
    recipe = resolve(LOGMEL, model=ModelConfig(name="dscnn"), fit=FitConfig(epochs=2), name="report")
    assert (recipe.features.kind, recipe.model.name) == ("logmel", "dscnn")
    assert recipe.fit == replace(REPORT, epochs=2)


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(ConfigError, match="recipe is 'best'; choose one of default, report"):
        resolve(STFT, name="best")


def test_a_recipe_has_only_augmentation_that_the_data_allow() -> None:
    assert resolve(NOISY).fit == COMPACT
    quiet = resolve(WAVEFORM, model=ModelConfig(name="cnn")).fit.augment
    assert (quiet.background_volume, quiet.time_shift_ms) == (0, SOUND.time_shift_ms)
    babble = FitConfig(augment=AugmentConfig(snr_frequency=0.5, babble_frequency=1.0))
    assert resolve(WAVEFORM, fit=babble).fit.augment.snr_frequency == 0.5
    spectrograms = resolve(LOGMEL).fit.augment
    assert (spectrograms.time_shift_ms, spectrograms.time_masks) == (0, COMPACT.augment.time_masks)


@pytest.mark.parametrize(
    ("data", "augment", "message"),
    [
        (LOGMEL, AugmentConfig(time_shift_ms=50.0), "time_shift_ms is 50.0, which changes the sound, .* logmel"),
        (LOGMEL, AugmentConfig(snr_frequency=0.5), "snr_frequency is 0.5, which changes the sound, .* logmel"),
        (WAVEFORM, AugmentConfig(background_volume=0.1), "background_volume is 0.1, but there is no background noise"),
        (WAVEFORM, AugmentConfig(snr_frequency=0.5), "snr_frequency is 0.5, but there is no background noise"),
    ],
)
def test_augmentation_that_the_data_do_not_allow_is_refused(
    data: DataSummary, augment: AugmentConfig, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(data, fit=FitConfig(augment=augment))


def test_a_given_field_overrides_the_recipe_and_leaves_the_others() -> None:
    fit = FitConfig(epochs=3, learning_rate_batch=0, augment=AugmentConfig(mixup_alpha=0.0))
    recipe = resolve(NOISY, model=ModelConfig(width=2.0), fit=fit)
    expected = replace(COMPACT, epochs=3, learning_rate_batch=0, augment=replace(COMPACT.augment, mixup_alpha=0.0))
    assert recipe.fit == expected
    assert (recipe.model.name, recipe.model.width) == ("dscnn", 2.0)


def test_rate_and_duration_are_those_of_the_stored_clips() -> None:
    data = DataSummary(features=FeatureConfig(kind="waveform", sample_rate_hz=22_050, clip_duration_ms=500))
    features = resolve(data, features=FeatureConfig(kind="logmel", n_mels=40)).features
    assert (features.sample_rate_hz, features.clip_duration_ms, features.n_mels) == (22_050, 500, 40)


def test_a_given_field_overrides_the_augmentation_of_copies() -> None:
    assert resolve_sound(AugmentConfig(gain_db=3), has_noise=True) == replace(SOUND, gain_db=3)
    assert resolve_sound(None, has_noise=False) == replace(SOUND, background_volume=0, background_frequency=0)
    with pytest.raises(
        ConfigError, match="time_masks is 1, which copies can not have: give time_masks to train instead"
    ):
        resolve_sound(AugmentConfig(time_masks=1), has_noise=True)
    with pytest.raises(ConfigError, match="which copies can not have"):
        resolve_sound(AugmentConfig(snr_frequency=0.5), has_noise=True)
    assert resolve_sound(NO_AUGMENTATION, has_noise=False) == NO_AUGMENTATION


def test_the_learning_rate_grows_with_the_square_root_of_the_global_batch_size() -> None:
    fit = FitConfig(learning_rate=0.01, learning_rate_batch=64, batch_size=64)
    assert peak_learning_rate(fit, 1) == 0.01
    assert peak_learning_rate(fit, 4) == pytest.approx(0.02)
    assert peak_learning_rate(replace(fit, learning_rate_batch=0), 4) == 0.01
