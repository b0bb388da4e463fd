"""Coverage and width of the confidence interval of an accuracy, by simulation with fixed seeds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hybridspeech.evaluation.intervals import accuracy_interval, wilson_interval

NUM_SIMULATIONS = 1000
NUM_SPEAKERS = (2, 4, 10, 50)
CORRELATIONS = (0.0, 0.05, 0.2)
"""Intra-speaker correlations of the simulated clips."""


def simulated(
    accuracy: float, correlation: float, num_speakers: int, generator: np.random.Generator
) -> tuple[np.ndarray, list[str]]:
    """Simulate clips of beta-binomial speakers, 5 to 29 clips each; returns whether each is correct, and its speaker."""
    clips = generator.integers(5, 30, num_speakers)
    concentration = 1 / correlation - 1 if correlation else np.inf
    of_speaker = (
        generator.beta(accuracy * concentration, (1 - accuracy) * concentration, num_speakers)
        if correlation
        else np.full(num_speakers, accuracy)
    )
    correct = generator.uniform(size=clips.sum()) < np.repeat(of_speaker, clips)
    return correct, [str(name) for name in np.repeat(np.arange(num_speakers), clips)]


@pytest.mark.parametrize("num_speakers", NUM_SPEAKERS)
@pytest.mark.parametrize("correlation", CORRELATIONS)
@pytest.mark.parametrize("accuracy", [0.7, 0.9])
def test_interval_covers_the_accuracy_of_other_speakers(accuracy: float, correlation: float, num_speakers: int) -> None:
    generator = np.random.default_rng([num_speakers, int(100 * correlation), int(100 * accuracy)])
    covered = 0
    for _ in range(NUM_SIMULATIONS):
        low, high = accuracy_interval(*simulated(accuracy, correlation, num_speakers, generator))[0]
        covered += low <= accuracy <= high
    assert covered / NUM_SIMULATIONS >= 0.93


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_fifty_speakers_give_a_width_near_that_of_the_clustered_t_interval(correlation: float) -> None:
    generator = np.random.default_rng(1)
    widths, clustered = [], []
    for _ in range(300):
        correct, speakers = simulated(0.9, correlation, 50, generator)
        low, high = accuracy_interval(correct, speakers)[0]
        widths.append(high - low)
        clustered.append(clustered_t_width(correct, speakers))
    assert np.median(widths) <= 1.2 * np.median(clustered)


def clustered_t_width(correct: np.ndarray, speakers: list[str]) -> float:
    """Return the width of accuracy +- t x cluster-robust standard error."""
    names, speaker = np.unique(speakers, return_inverse=True)
    residuals = np.bincount(speaker, weights=correct - correct.mean())
    error = np.sqrt(len(names) / (len(names) - 1) * (residuals**2).sum()) / len(correct)
    return float(2 * stats.t.ppf(0.975, len(names) - 1) * error)


def test_two_equal_speakers_do_not_give_zero_width() -> None:
    correct = np.array([True] * 9 + [False] + [True] * 9 + [False])
    (low, high), method = accuracy_interval(correct, ["ann"] * 10 + ["bob"] * 10)
    assert method == "wilson-clustered"
    assert 0 <= low < 0.7
    assert 0.98 < high <= 1


@pytest.mark.parametrize("num_speakers", [2, 5, 30])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
def test_interval_over_speakers_contains_that_of_independent_clips(share: float, num_speakers: int) -> None:
    correct = np.arange(300) < 300 * share
    low, high = accuracy_interval(correct, [str(i % num_speakers) for i in range(300)])[0]
    inner = wilson_interval(int(correct.sum()), 300)
    assert 0 <= low <= inner[0] + 1e-12
    assert inner[1] - 1e-12 <= high <= 1
    assert low <= correct.mean() <= high


def test_wilson_interval_is_that_of_the_textbook() -> None:
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(10, 10)[1] == 1.0


def test_interval_over_speakers_of_one_clip_each_is_near_wilson() -> None:
    correct = np.arange(400) % 5 != 0
    low, high = accuracy_interval(correct, [str(i) for i in range(400)])[0]
    assert (low, high) == pytest.approx(wilson_interval(320, 400), abs=0.01)


@pytest.mark.parametrize("speakers", [["", ""], ["ann", ""], ["ann", "ann"]], ids=["unknown", "partly-unknown", "one"])
def test_clips_count_as_independent_without_two_known_speakers(speakers: list[str]) -> None:
    (low, high), method = accuracy_interval(np.array([True, False]), speakers)
    assert method == "wilson"
    assert low < high
