from __future__ import annotations

import json
import math

import pytest

from hybridspeech.config import AugmentConfig, ClusterConfig, FeatureConfig
from hybridspeech.errors import ConfigError
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.models.config import ModelConfig
from hybridspeech.records import from_json, override, to_json
from hybridspeech.shards.config import ShardConfig
from hybridspeech.training.config import FitConfig
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.recipes import REPORT


def test_default_features_are_those_of_the_report() -> None:
    config = FeatureConfig()
    assert (config.num_samples, config.shape) == (16_000, (1025, 50))


def test_log_mel_has_defaults_of_its_own_and_takes_overrides() -> None:
    assert FeatureConfig(kind="logmel").shape == (64, 101)
    assert FeatureConfig(kind="logmel", n_mels=40, hop_length=320).shape == (40, 51)


def test_an_override_changes_the_given_fields_only() -> None:
    base = override(REPORT, FitConfig(epochs=3, augment=AugmentConfig(gain_db=0.0)))
    changed = override(base, FitConfig(seed=4, augment=AugmentConfig(time_masks=1)))
    assert (changed.epochs, changed.seed, changed.augment.time_masks) == (3, 4, 1)
    assert override(changed, FitConfig()) == changed


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FeatureConfig(kind="mfcc"), "'mfcc'; choose one of stft, logmel"),
        (lambda: FeatureConfig(n_fft=401), "n_fft is 401; expected an even number"),
        (lambda: ClusterConfig(placement="near"), "placement is 'near'; choose one of spread, pack"),
        (lambda: FeatureConfig(hop_length=0), "hop_length is 0"),
        (lambda: FeatureConfig(top_db=0), "more than 0 dB"),
        (lambda: FeatureConfig(kind="logmel", fmax_hz=9000.0), "half the sample rate"),
        (lambda: ManifestConfig(validation_percentage=60, testing_percentage=50), "add up to 110"),
        (lambda: ManifestConfig(split="random"), "'random'; choose one of"),  # type: ignore[arg-type]
        (lambda: ShardConfig(num_shards=0), "shards is 0"),
        (lambda: ModelConfig(num_labels=1), "2 or more"),
        (lambda: FitConfig(learning_rate=math.nan), "learning rate is nan"),
        (lambda: FitConfig(epochs=0), "epochs is 0"),
        (lambda: ClusterConfig(num_workers=0), "num_workers is 0"),
    ],
)
def test_an_invalid_setting_is_refused(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    "record",
    [
        TrainPlan(shards="s", run="r", labels=("a", "b"), cluster=ClusterConfig(conf={"k": "v"}), versions={"x": "1"}),
        WorkerReport(rank=1, history=({"loss": 0.5},), values={"x": [1, 2]}),
        FeatureConfig(kind="logmel", top_db=60.0),
    ],
)
def test_a_record_is_unchanged_by_json(record: object) -> None:
    assert from_json(type(record), json.loads(json.dumps(to_json(record)))) == record


def test_causal_features_are_stored_and_others_have_the_json_form_of_earlier_versions() -> None:
    causal = FeatureConfig(kind="logmel", top_db=None, causal=True)
    assert from_json(FeatureConfig, to_json(causal)) == causal
    assert "causal" not in to_json(FeatureConfig())
    with pytest.raises(ConfigError, match=r"top_db is 80\.0; causal features need None"):
        FeatureConfig(causal=True)


def test_a_field_of_another_version_is_refused() -> None:
    with pytest.raises(ConfigError, match="no field 'loudness'"):
        from_json(FitConfig, {"epochs": 1, "loudness": 3})
