"""Metrics against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hybridspeech.evaluation.metrics import (
    SpeakerMetrics,
    class_metrics,
    expected_calibration_error,
    reliability,
    speaker_metrics,
    speaker_spread,
)


def test_class_metrics_are_those_of_the_textbook() -> None:
    cat, dog, fish = class_metrics(np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]]), ("cat", "dog", "fish"))
    assert (cat.precision, cat.recall, cat.f1, cat.num_clips) == pytest.approx((6 / 7, 6 / 8, 12 / 15, 8))
    assert (dog.precision, dog.recall, dog.f1, dog.num_clips) == pytest.approx((3 / 5, 3 / 4, 6 / 9, 4))
    assert (fish.precision, fish.recall, fish.f1, fish.num_clips) == (0, 0, 0, 0)


def test_the_accuracy_of_a_speaker_is_that_of_their_clips() -> None:
    metrics = speaker_metrics(np.array([True, False, True, True]), ["eve", "ann", "eve", "ann"])
    assert metrics == (
        SpeakerMetrics(speaker="ann", num_clips=2, accuracy=0.5),
        SpeakerMetrics(speaker="eve", num_clips=2, accuracy=1.0),
    )


def test_the_spread_is_over_speakers_not_clips() -> None:
    right = np.array([False] + [True] * 9 + [True] * 90)
    spread = speaker_spread(speaker_metrics(right, ["ann"] + ["bob"] * 9 + ["eve"] * 90))
    assert spread
    assert (spread.mean, spread.lowest, spread.median) == pytest.approx((2 / 3, 0, 1))


def test_unknown_speakers_have_no_spread() -> None:
    assert speaker_spread(speaker_metrics(np.array([True, False]), ["ann", ""])) is None


def test_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    bins = reliability(np.array([0.95, 0.95, 0.55, 0.55]), np.array([True, False, True, True]))
    assert expected_calibration_error(bins) == pytest.approx((2 * 0.45 + 2 * 0.45) / 4)
    assert {(each.num_clips, each.accuracy) for each in bins if each.num_clips} == {(2, 0.5), (2, 1.0)}


def test_every_confidence_has_a_bin() -> None:
    bins = reliability(np.array([0.0, 1 / 15, 1.0]), np.array([False, True, True]))
    assert [each.num_clips for each in bins] == [2, *[0] * 13, 1]
    assert expected_calibration_error(reliability(np.ones(3), np.ones(3, bool))) == 0
