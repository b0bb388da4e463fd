from __future__ import annotations

from pathlib import Path

import pytest

from hybridspeech.commands.preprocess import preprocess
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError
from hybridspeech.training.config import FitConfig
from hybridspeech.training.optimizer import highest_learning_rate
from hybridspeech.training.recipes import COMPACT, recipe_for


@pytest.fixture(scope="module")
def folder(tones: Path, noisy_tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("recipes")
    for kind in ("stft", "logmel", "waveform"):
        preprocess(tones, base / kind, features=FeatureConfig.of(kind), engine="local")
    preprocess(noisy_tones, base / "noisy", features=FeatureConfig.of("waveform"), engine="local")
    return base


@pytest.mark.parametrize(
    ("shards", "features", "model", "expected"),
    [
        ("stft", None, None, ("stft", "cnn")),
        ("logmel", None, None, ("logmel", "dscnn")),
        ("waveform", None, None, ("logmel", "dscnn")),
        ("waveform", "stft", None, ("stft", "cnn")),
        ("waveform", "logmel", "bcresnet", ("logmel", "bcresnet")),
        ("stft", None, "dscnn", ("stft", "dscnn")),
    ],
)
def test_the_network_suits_the_features(
    folder: Path, shards: str, features: str | None, model: str | None, expected: tuple[str, str]
) -> None:
    recipe = recipe_for(folder / shards, features=features, model=model)
    assert (recipe.features.kind, recipe.model.name) == expected


def test_the_reports_network_is_trained_as_in_the_report(folder: Path) -> None:
    assert recipe_for(folder / "stft").fit == FitConfig()


def test_what_the_shards_can_not_give_is_left_out_of_a_recipe(folder: Path) -> None:
    assert recipe_for(folder / "noisy").fit == COMPACT
    quiet = recipe_for(folder / "waveform").fit.augment
    assert (quiet.background_volume, quiet.time_shift_ms) == (0, COMPACT.augment.time_shift_ms)
    spectrograms = recipe_for(folder / "logmel").fit.augment
    assert (spectrograms.time_shift_ms, spectrograms.time_masks) == (0, COMPACT.augment.time_masks)


@pytest.mark.parametrize(
    ("shards", "asked", "sentence"),
    [
        ("logmel", {"time_shift_ms": 50.0}, "time_shift_ms is 50.0; the shards hold logmel spectrograms"),
        ("waveform", {"background_volume": 0.1, "background_frequency": 0.5}, "bring no background noise"),
    ],
)
def test_what_is_asked_for_and_can_not_be_is_an_error(
    folder: Path, shards: str, asked: dict[str, float], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        recipe_for(folder / shards, **asked)


def test_given_settings_win_over_the_recipe(folder: Path) -> None:
    recipe = recipe_for(folder / "noisy", epochs=3, mixup_alpha=0.2, width=2.0, batch_size=None)
    assert (recipe.fit.epochs, recipe.fit.augment.mixup_alpha, recipe.model.width) == (3, 0.2, 2.0)
    assert recipe.fit.batch_size == COMPACT.batch_size


def test_the_learning_rate_grows_with_the_root_of_the_global_batch() -> None:
    fit = FitConfig(learning_rate=0.01, learning_rate_batch=64, batch_size=64)
    assert highest_learning_rate(fit, 1) == 0.01
    assert highest_learning_rate(fit, 4) == pytest.approx(0.02)
    assert highest_learning_rate(FitConfig(learning_rate=0.01), 4) == 0.01
