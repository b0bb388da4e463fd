"""Stored clips to network inputs: the same numbers in preprocessing and in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybridspeech.audio.augmentation import Augmenter
from hybridspeech.audio.background_noise import load_noises
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.config import NO_AUGMENTATION, AugmentConfig, FeatureConfig
from hybridspeech.engines import Engine
from hybridspeech.errors import ConfigError
from hybridspeech.features.clip_transform import ClipTransform, view_of
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.reader import Example, read_shard
from hybridspeech.training.dataset import EpochInput, worker_dataset
from hybridspeech.training.recipes import SOUND

WAVEFORM, LOGMEL, STFT = (FeatureConfig(kind=kind) for kind in ("waveform", "logmel", "stft"))
SEED = 5


@pytest.fixture(scope="module")
def waveforms(noisy_tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("inputs") / "waveforms"
    preprocess(noisy_tones, out, features=WAVEFORM, engine="local")
    return out


def examples(shards: Path, split: str = "training") -> dict[str, Example]:
    index = ShardIndex.load(shards)
    return {example.clip_id: example for shard in index.of_split(split) for example in read_shard(shards / shard.name)}


def transform(shards: Path, features: FeatureConfig, augment: AugmentConfig) -> ClipTransform:
    index = ShardIndex.load(shards)
    noises = load_noises(index.noise_paths(shards, "training"), 16_000, 16_000)
    return ClipTransform(index.features, features, Augmenter(augment, sample_rate_hz=16_000, seed=SEED, noises=noises))


@pytest.mark.parametrize("features", [LOGMEL, STFT], ids=["logmel", "stft"])
def test_features_of_waveform_shards_are_those_of_preprocessing_to_the_bit(
    noisy_tones: Path, waveforms: Path, tmp_path: Path, features: FeatureConfig
) -> None:
    preprocess(noisy_tones, tmp_path / "shards", features=features, engine="local")
    see = transform(waveforms, features, NO_AUGMENTATION)
    stored = examples(tmp_path / "shards", "testing")
    for clip_id, example in examples(waveforms, "testing").items():
        made = see(example.values.reshape(1, -1), [clip_id], 0)
        np.testing.assert_array_equal(made[0], stored[clip_id].values.reshape(features.shape))


def test_copies_of_any_engine_equal_those_of_training(
    noisy_tones: Path, waveforms: Path, tmp_path: Path, engine: Engine
) -> None:
    made = preprocess(
        noisy_tones,
        tmp_path / "shards",
        features=LOGMEL,
        shards=ShardConfig(seed=SEED),
        augment=SOUND,
        augment_copies=2,
        engine=engine,
    )
    recorded, stored = examples(waveforms), examples(tmp_path / "shards")
    assert made.splits["training"] == 3 * len(recorded) == len(stored)
    see = transform(waveforms, LOGMEL, SOUND)
    for clip_id, example in recorded.items():
        for copy, mark in enumerate(("", "#1", "#2")):
            on_the_fly = see(example.values.reshape(1, -1), [clip_id], copy)[0]
            np.testing.assert_array_equal(stored[clip_id + mark].values.reshape(LOGMEL.shape), on_the_fly)


def test_validation_and_testing_are_never_augmented(noisy_tones: Path, waveforms: Path, tmp_path: Path) -> None:
    preprocess(noisy_tones, tmp_path / "shards", features=LOGMEL, augment=SOUND, augment_copies=1, engine="local")
    for split in ("validation", "testing"):
        assert set(examples(tmp_path / "shards", split)) == set(examples(waveforms, split))


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_augmentation_does_not_depend_on_the_number_of_workers(waveforms: Path, num_workers: int) -> None:
    index = ShardIndex.load(waveforms)
    see = transform(waveforms, LOGMEL, SOUND)
    expected = {
        see(example.values.reshape(1, -1), [clip_id], 4)[0].tobytes()
        for clip_id, example in examples(waveforms).items()
    }
    seen = set()
    for rank in range(num_workers):
        dataset = worker_dataset(
            waveforms,
            index,
            "training",
            EpochInput(rank=rank, num_workers=num_workers, batch_size=5, shuffle=(0, 3, 16), transform=see, copy=4),
        )
        for inputs, targets, weights in dataset.as_numpy_iterator():
            assert (inputs.shape, targets.shape) == ((5, 64, 101, 1), (5, 4))
            seen |= {clip.tobytes() for clip, weight in zip(inputs, weights, strict=True) if weight}
    assert seen == expected


def test_babble_is_made_of_the_batch_and_a_resumed_epoch_has_the_same(waveforms: Path) -> None:
    index = ShardIndex.load(waveforms)
    see = transform(waveforms, LOGMEL, replace(NO_AUGMENTATION, snr_frequency=1.0, babble_frequency=1.0))

    def batches(skip: int) -> list[np.ndarray]:
        epoch = EpochInput(rank=0, num_workers=1, batch_size=4, shuffle=(0, 0, 16), transform=see, copy=1, skip=skip)
        return [inputs for inputs, *_ in worker_dataset(waveforms, index, "training", epoch).as_numpy_iterator()]

    np.testing.assert_array_equal(batches(2), batches(0)[2:])
    (first_id, first), (second_id, second) = list(examples(waveforms).items())[:2]
    alone = see(first.values.reshape(1, -1), [first_id], 1)[0]
    together = see(np.stack([first.values, second.values]).reshape(2, -1), [first_id, second_id], 1)[0]
    assert (alone != together).any()


def test_mixed_clips_have_mixed_targets(waveforms: Path) -> None:
    index = ShardIndex.load(waveforms)
    see = transform(waveforms, LOGMEL, replace(NO_AUGMENTATION, mixup_alpha=0.4))
    dataset = worker_dataset(
        waveforms,
        index,
        "training",
        EpochInput(rank=0, num_workers=1, batch_size=8, shuffle=(0, 0, 64), transform=see, copy=1),
    )
    targets = np.concatenate([targets for _, targets, _ in dataset.as_numpy_iterator()])
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)
    assert (np.sort(targets, axis=1)[:, -1] >= 0.5).all()
    assert ((targets > 0) & (targets < 1)).any()


def test_class_weights_give_rare_labels_more_weight(waveforms: Path) -> None:
    index = ShardIndex.load(waveforms)
    dataset = worker_dataset(
        waveforms,
        index,
        "training",
        EpochInput(rank=0, num_workers=1, batch_size=8, label_weights=(4.0, 3.0, 2.0, 1.0)),
    )
    for _, targets, weights in dataset.as_numpy_iterator():
        counted = weights > 0
        np.testing.assert_array_equal(weights[counted], 4.0 - targets.argmax(axis=1)[counted])


def test_masks_work_on_spectrogram_shards_too(noisy_tones: Path, tmp_path: Path) -> None:
    preprocess(noisy_tones, tmp_path / "shards", features=LOGMEL, engine="local")
    clip_id, example = next(iter(examples(tmp_path / "shards").items()))
    augmenter = Augmenter(replace(NO_AUGMENTATION, time_masks=2), sample_rate_hz=16_000, seed=0)
    see = ClipTransform(LOGMEL, LOGMEL, augmenter)
    spectrogram = example.values.reshape(1, *LOGMEL.shape)
    np.testing.assert_array_equal(see(spectrogram, [clip_id], 0), spectrogram)
    assert (see(spectrogram, [clip_id], 1) != spectrogram).any()


def test_waveform_shards_contain_their_noise_and_a_missing_file_is_an_error(waveforms: Path, tmp_path: Path) -> None:
    index = ShardIndex.load(waveforms)
    assert sorted(noise.splits for noise in index.noises) == [("testing",), *[("training",)] * 3, ("validation",)]
    assert index.incomplete(waveforms) == index.verify(waveforms) == []
    assert index.incomplete(tmp_path)[-1].endswith(".wav: missing")


@pytest.mark.parametrize(
    ("stored", "features", "sentence"),
    [
        (LOGMEL, STFT, "the shards hold .*logmel"),
        (LOGMEL, FeatureConfig(kind="logmel", n_mels=40), "the shards hold .*n_mels=64"),
        (WAVEFORM, WAVEFORM, "choose stft or logmel"),
        (STFT, WAVEFORM, "the shards hold .*stft"),
    ],
)
def test_features_that_the_shards_do_not_allow_are_refused(
    stored: FeatureConfig, features: FeatureConfig, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        view_of(stored, features)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"features": WAVEFORM, "augment_copies": 2}, "which `train` augments in each epoch"),
        ({"features": LOGMEL, "augment": SOUND}, "augment_copies is 0; expected 1 or more"),
        ({"features": LOGMEL, "augment_copies": -1}, "augment_copies is -1"),
        (
            {"features": WAVEFORM, "shards": ShardConfig(dtype="float32")},
            "dtype is float32 for features 'waveform'; expected int16",
        ),
        ({"features": LOGMEL, "shards": ShardConfig(dtype="int16")}, "dtype is int16 for features 'logmel'"),
    ],
)
def test_contradictory_settings_are_refused(
    noisy_tones: Path, tmp_path: Path, settings: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        preprocess(noisy_tones, tmp_path / "out", engine="local", **settings)  # type: ignore[arg-type]


def test_missing_noise_is_an_error_if_requested_else_a_note(tones: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="put recordings of noise"):
        preprocess(tones, tmp_path / "out", features=LOGMEL, augment=SOUND, augment_copies=1, engine="local")
    notes: list[str] = []
    preprocess(
        tones,
        tmp_path / "out",
        features=LOGMEL,
        augment_copies=1,
        engine="local",
        on_progress=lambda progress: notes.append(progress.message),
    )
    assert "there is no SOURCE/_background_noise_: copies are made without background noise" in notes


def test_other_augmentation_gives_another_digest(noisy_tones: Path, tmp_path: Path) -> None:
    def digest(name: str, **settings: object) -> str:
        return preprocess(noisy_tones, tmp_path / name, features=LOGMEL, engine="local", **settings).digest  # type: ignore[arg-type]

    made = digest("a", augment_copies=1)
    assert made == digest("b", augment_copies=1)
    assert made != digest("c", augment_copies=1, augment=AugmentConfig(gain_db=3))
    with pytest.raises(ConfigError, match="made with other augment"):
        digest("a", augment_copies=1, augment=AugmentConfig(gain_db=3), resume=True)
