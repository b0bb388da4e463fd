"""The decoder: events are a function of posteriors, however these arrive."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridspeech.detection.config import DecoderSettings, DetectionConfig, Thresholds
from hybridspeech.detection.decoder import Decoder, Peak, decode
from hybridspeech.errors import ConfigError

ONE_LABEL = DecoderSettings(thresholds=(0.5, 2.0))
"""The second label is never an event, as _silence_ and _unknown_."""


def peaks(scores: Sequence[float], settings: DecoderSettings = ONE_LABEL) -> list[tuple[int, float]]:
    rows = np.array([(score, 1 - score) for score in scores], np.float32)
    return [(peak.window, round(peak.score, 3)) for peak in decode(rows, settings)]


def several(lookahead: int = 0, suppression: int = 0, num_smoothed: int = 1) -> DecoderSettings:
    return DecoderSettings(
        thresholds=(0.5, 2.0), lookahead=lookahead, suppression=suppression, num_smoothed=num_smoothed
    )


def test_a_score_at_the_threshold_is_an_event_and_one_below_is_not() -> None:
    assert peaks([0.1, 0.5, 0.1, 0.49, 0.1]) == [(1, 0.5)]


def test_a_label_that_is_never_detected_gives_no_event() -> None:
    assert peaks([0.0, 0.0, 0.0]) == []


def test_the_highest_score_within_the_lookahead_is_the_event() -> None:
    assert peaks([0.6, 0.1, 0.9, 0.1, 0.1, 0.7], several(lookahead=2)) == [(2, 0.9), (5, 0.7)]


def test_nothing_opens_within_the_suppression() -> None:
    assert peaks([0.9, 0.1, 0.9, 0.1, 0.9], several(suppression=3)) == [(0, 0.9), (4, 0.9)]


def test_a_long_word_is_one_event_until_its_score_falls_below_the_threshold() -> None:
    assert peaks([0.9, 0.8, 0.8, 0.8, 0.4, 0.8], several()) == [(0, 0.9), (5, 0.8)]


def test_scores_are_means_and_windows_before_the_first_count_as_zero() -> None:
    assert peaks([0.9, 0.9, 0.9, 0.0], several(num_smoothed=3, lookahead=1)) == [(2, 0.9)]


def test_labels_compete_with_their_margins_over_their_own_thresholds() -> None:
    rows = np.array([[0.6, 0.35], [0.0, 0.0]], np.float32)
    (peak,) = decode(rows, DecoderSettings(thresholds=(0.55, 0.1), lookahead=1))
    assert (peak.label, round(peak.score, 3)) == (1, 0.35)


def test_an_event_is_final_after_the_lookahead_or_at_the_end() -> None:
    decoder = Decoder(several(lookahead=2))
    row = np.array([[0.9, 0.1]], np.float32)
    assert decoder.push(row) == []
    assert decoder.push(row * 0) == []
    assert [(peak.window, peak.final) for peak in decoder.push(row * 0)] == [(0, 2)]
    assert decoder.push(row) == []
    assert [(peak.window, peak.final) for peak in decoder.finish()] == [(3, 3)]
    assert decoder.finish() == []


LEVELS = st.sampled_from([0.0, 0.2, 0.5, 0.7, 0.9, 1.0])
ROWS = st.lists(st.tuples(LEVELS, LEVELS, LEVELS), max_size=40)
SETTINGS = st.builds(
    DecoderSettings,
    thresholds=st.tuples(LEVELS.filter(bool), LEVELS.filter(bool), st.just(2.0)),
    num_smoothed=st.integers(1, 4),
    lookahead=st.integers(0, 4),
    suppression=st.integers(0, 6),
)


def literal(rows: np.ndarray, settings: DecoderSettings) -> list[tuple[int, int]]:
    """Window and label of each event, computed window by window as the module's docstring says."""
    padded = np.concatenate([np.zeros((settings.num_smoothed - 1, 3)), rows])
    scores = [padded[k : k + settings.num_smoothed].mean(axis=0) for k in range(len(rows))]
    limits = np.clip(settings.thresholds, 1e-6, 1 - 1e-6)
    odds = [np.clip(score, 1e-6, 1 - 1e-6) for score in scores]
    margins = [np.log(o / (1 - o)) - np.log(limits / (1 - limits)) for o in odds]
    events: list[tuple[int, int]] = []
    candidate: tuple[int, int] | None = None
    waiting: set[int] = set()  # labels whose margin has not been below 0 since their event
    for now, row in enumerate(margins):
        allowed = [label for label in (0, 1) if row[label] >= -1e-12]
        if candidate and now - candidate[0] > settings.lookahead:
            events.append(candidate)
            candidate = None
        last = candidate or (events[-1] if events else None)
        waiting = {label for label in waiting if label in allowed and last and label == last[1]}
        if candidate is None:
            if events and now <= events[-1][0] + settings.suppression:
                continue
            allowed = [label for label in allowed if label not in waiting]
        best = max(allowed, key=lambda label: (row[label], -label), default=None)
        if best is not None and (candidate is None or row[best] > margins[candidate[0]][candidate[1]] + 1e-12):
            candidate, waiting = (now, best), {best}
    return events + ([candidate] if candidate else [])


def windows_and_labels(found: Sequence[Peak]) -> list[tuple[int, int]]:
    return [(peak.window, peak.label) for peak in found]


@given(ROWS, SETTINGS)
def test_events_are_those_of_the_description(rows: list[tuple[float, float, float]], settings: DecoderSettings) -> None:
    posteriors = np.array(rows, np.float64).reshape(-1, 3)
    assert windows_and_labels(decode(posteriors, settings)) == literal(posteriors, settings)


@given(ROWS, SETTINGS, st.lists(st.integers(0, 40)))
def test_any_chunks_give_the_same_events(
    rows: list[tuple[float, float, float]], settings: DecoderSettings, cuts: list[int]
) -> None:
    posteriors = np.array(rows, np.float32).reshape(-1, 3)
    decoder = Decoder(settings)
    chunks = np.split(posteriors, sorted(min(cut, len(posteriors)) for cut in cuts))
    found = [peak for chunk in chunks for peak in decoder.push(chunk)] + decoder.finish()
    assert found == decode(posteriors, settings)


@given(ROWS, SETTINGS)
def test_events_keep_their_distance_and_reach_their_threshold(
    rows: list[tuple[float, float, float]], settings: DecoderSettings
) -> None:
    found = decode(np.array(rows, np.float32).reshape(-1, 3), settings)
    assert all(peak.score >= settings.thresholds[peak.label] - 1e-6 for peak in found)
    assert all(later.window - sooner.window > settings.suppression for sooner, later in itertools.pairwise(found))


def test_thresholds_of_labels_that_can_not_be_detected_are_refused() -> None:
    assert Thresholds(default=0.6, labels={"yes": 0.3}).of(("_unknown_", "no", "yes")) == (2.0, 0.6, 0.3)
    with pytest.raises(ConfigError, match="'maybe': no such word; the run detects no, yes"):
        Thresholds(labels={"maybe": 0.3}).of(("_unknown_", "no", "yes"))
    with pytest.raises(ConfigError, match="'_unknown_': no such word"):
        Thresholds(labels={"_unknown_": 0.3}).of(("_unknown_", "no", "yes"))
    with pytest.raises(ConfigError, match=r"threshold yes is 1\.5; expected more than 0, at most 1"):
        Thresholds(labels={"yes": 1.5})
    with pytest.raises(ConfigError, match="hop_ms is 0; expected 1 to 60000"):
        DetectionConfig(hop_ms=0)
