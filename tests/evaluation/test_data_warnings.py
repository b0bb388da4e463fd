"""Warnings of `evaluate`: unknown speakers, empty splits, labels with few clips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hybridspeech.config import FeatureConfig
from hybridspeech.evaluation.data_warnings import data_warnings
from hybridspeech.evaluation.predictions import Predictions
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.names import ShardInfo


def index_with(**clips: int) -> ShardIndex:
    shards = tuple(
        ShardInfo(name=f"{split}-00000-of-00001.tfrecord", split=split, num_examples=count, num_bytes=1, checksum="")
        for split, count in clips.items()
    )
    return ShardIndex(
        features=FeatureConfig(), shards_config=ShardConfig(), labels=("no", "yes"), shards=shards, num_rejects=0
    )


def predictions_of(speakers: list[str], truth: list[int]) -> Predictions:
    return Predictions(
        split="testing",
        probabilities=np.full((len(truth), 2), 0.5, np.float32),
        truth=np.array(truth),
        clip_ids=[str(i) for i in range(len(truth))],
        speakers=speakers,
    )


def test_clips_of_unknown_speakers_are_counted_with_consequence_and_remedy() -> None:
    speakers = [*["ann"] * 8, "", ""]
    (text,) = data_warnings(index_with(training=80, validation=10, testing=10), predictions_of(speakers, [0, 1] * 5))
    assert text.startswith("the speaker of 2 of 10 clips is unknown, so clips of one voice may be in training too")
    assert "column 'speaker'" in text


def test_a_single_speaker_is_reported() -> None:
    (text,) = data_warnings(
        index_with(training=80, validation=10, testing=10), predictions_of(["ann"] * 10, [0, 1] * 5)
    )
    assert text.startswith("all 10 clips are of one speaker, so the interval does not cover other speakers")


def test_clips_of_silence_need_no_speaker() -> None:
    predictions = predictions_of(["ann"] * 5 + [""] * 5, [1] * 5 + [0] * 5)
    index = replace(index_with(training=80, validation=10, testing=10), labels=("_silence_", "yes"))
    assert data_warnings(index, predictions) == ()


def test_empty_splits_and_rare_labels_are_named() -> None:
    empty, few = data_warnings(index_with(training=80, testing=7), predictions_of(["ann"] * 6 + ["bob"], [0] * 7))
    assert "no clips for validation (so there is no early stopping and no temperature scaling)" in empty
    assert "fewer than 5 clips in split testing: yes (0);" in few


def test_good_data_give_no_warning() -> None:
    predictions = predictions_of([f"speaker-{i}" for i in range(10)], [0, 1] * 5)
    assert data_warnings(index_with(training=80, validation=10, testing=10), predictions) == ()
