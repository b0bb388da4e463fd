"""Misses against false accepts per hour, on posteriors whose result is known."""

from __future__ import annotations

import numpy as np
import pytest

from hybridspeech.detection.config import DetectionConfig, Thresholds
from hybridspeech.detection.listener import WindowPlan
from hybridspeech.detection.recording_sweep import RecordingCounter, combined
from hybridspeech.detection.stream_metrics import (
    GRID,
    StreamPosteriors,
    Sweep,
    area,
    choose_threshold,
    operating_points,
    poisson_interval,
    sweep,
)
from hybridspeech.detection.stream_sound import SpokenWord

PLAN = WindowPlan(length=1000, hop=100, sample_rate_hz=1000)
DETECTION = DetectionConfig(smoothing_ms=0, lookahead_ms=200, suppression_ms=500)
LABELS = ("_unknown_", "yes")


def posteriors(peaks: dict[float, float], duration_s: float) -> np.ndarray:
    """Posteriors with a peak of "yes" at each time, in seconds."""
    rows = np.full((round(duration_s * 10), 2), 0.001, np.float32)
    for middle_s, score in peaks.items():
        rows[round(middle_s * 10), 1] = score  # window k has its middle at k * 0.1 s
    return rows


@pytest.fixture(scope="module")
def swept() -> Sweep:
    scores = {10.0: 0.99, 20.0: 0.9, 30.0: 0.6, 40.0: 0.3}
    words = [SpokenWord(start_s=at - 0.5, end_s=at + 0.5, label="yes", speaker=str(at)) for at in scores]
    with_words = StreamPosteriors(posteriors=posteriors({**scores, 50.0: 0.7}, 60), words=tuple(words), duration_s=60)
    without = StreamPosteriors(posteriors=posteriors({100.0: 0.8, 200.0: 0.5}, 1800), words=(), duration_s=1800)
    return sweep(with_words, without, PLAN, DETECTION, LABELS)


def test_counts_fall_with_the_threshold(swept: Sweep) -> None:
    at = {threshold: number for number, threshold in enumerate(GRID)}
    low, high = at[min(GRID, key=lambda t: abs(t - 0.2))], at[min(GRID, key=lambda t: abs(t - 0.85))]
    assert swept.found[[low, high]].sum(axis=1).tolist() == [4, 2]
    assert swept.false_accepts[[low, high]].sum(axis=1).tolist() == [2, 0]
    assert swept.confusions[[low, high]].sum(axis=1).tolist() == [1, 0]


def test_a_threshold_keeps_to_its_rate(swept: Sweep) -> None:
    assert 0.8 < choose_threshold([swept], 1.9) < 0.84
    assert 0.5 < choose_threshold([swept], 2.0) < 0.57
    assert choose_threshold([swept, swept], 10.0) == GRID[0]


def test_operating_points_and_area_are_those_of_the_curve(swept: Sweep) -> None:
    points = swept.points()
    assert [point.miss_rate for point in operating_points(points)] == [0.5, 0.5, 0.5, 0.0]
    assert 0 < area(points) < 0.5
    assert points[0].false_accepts_per_hour == 4.0
    assert points[0].confusions_per_hour == 60.0
    low, high = points[0].miss_ci95
    assert low <= points[0].miss_rate <= high


def test_each_detected_label_has_a_curve(swept: Sweep) -> None:
    (curve,) = swept.curves()
    assert (curve.label, curve.num_words, curve.miss_rates_at) == ("yes", 4, (0.5, 0.5, 0.5, 0.0))


def test_the_interval_of_a_rate_is_that_of_garwood() -> None:
    assert poisson_interval(0, 2.0) == pytest.approx((0.0, 3.689 / 2), abs=1e-3)
    assert poisson_interval(10, 1.0) == pytest.approx((4.795, 18.390), abs=1e-3)


def test_a_recording_in_any_chunks_has_the_counts_of_the_whole() -> None:
    scores = {10.0: 0.99, 20.0: 0.9, 30.0: 0.6, 40.0: 0.3}
    rows = posteriors({**scores, 20.4: 0.95, 50.0: 0.7}, 60)
    words = [SpokenWord(start_s=at - 0.5, end_s=at + 0.5, label="yes", speaker=str(at)) for at in scores]
    thresholds = [Thresholds(default=each) for each in (*GRID, 0.2)]
    for size in (1, 7, len(rows)):
        counter = RecordingCounter(PLAN, DETECTION, thresholds, LABELS, words)
        for first in range(0, len(rows), size):
            counter.push(rows[first : first + size])
        counts, point = combined([counter.finish(60)], LABELS, 0.2)
        assert counts.found.sum(axis=1)[0] == 4
        assert counts.hours == pytest.approx((60 - 4 * 1.5) / 3600)  # without 0.25 s before and after each word
        assert (point.threshold, point.miss_rate, point.confusions_per_hour) == (0.2, 0, 0)
        assert point.false_accepts_per_hour == pytest.approx(1 / counts.hours)


def test_a_second_event_at_a_word_is_a_confusion_and_no_false_accept() -> None:
    plan = WindowPlan(length=1000, hop=100, sample_rate_hz=1000)
    word = SpokenWord(start_s=9.0, end_s=12.0, label="yes", speaker="a")
    counter = RecordingCounter(plan, DETECTION, [Thresholds(default=0.5)] * 2, LABELS, [word])
    counter.push(posteriors({10.0: 0.9, 11.5: 0.9}, 20))
    counts = counter.finish(20)
    assert (counts.found.tolist(), counts.confusions[:, 1].tolist()) == ([[True]] * 2, [1, 1])
    assert counts.false_accepts.sum() == 0
