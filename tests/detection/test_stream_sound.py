"""Continuous sound from clips, and the comparison of events with its words."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from hybridspeech.detection.listener import Event
from hybridspeech.detection.matching import match
from hybridspeech.detection.stream_sound import SpokenWord, StreamClips, StreamSettings, shuffled, stream_pieces

CLIPS = StreamClips(
    waves=np.array([[0.5] * 100, [-0.5] * 100], np.float32),
    labels=("yes", "no"),
    speakers=("a", "b"),
    sample_rate_hz=100,
)
PLAIN = StreamSettings(gain_db=0.0, overlap_percentage=0.0)


def made(settings: StreamSettings, order: list[int], noises: list[np.ndarray]) -> tuple[np.ndarray, list[SpokenWord]]:
    waves, words = zip(*stream_pieces(CLIPS, order, noises, settings), strict=True)
    return np.concatenate(waves), [word for piece in words for word in piece]


def test_words_are_where_they_are_said_to_be() -> None:
    wave, words = made(PLAIN, [0, 1] * 30, [])
    assert [word.label for word in words] == ["yes", "no"] * 30
    assert all(word.speaker == {"yes": "a", "no": "b"}[word.label] for word in words)
    for word in words:
        start, end = round(word.start_s * 100), round(word.end_s * 100)
        np.testing.assert_array_equal(wave[start:end], [0.5 if word.label == "yes" else -0.5] * 100)
    gaps = [later.start_s - sooner.end_s for sooner, later in itertools.pairwise(words)]
    assert 0.19 <= min(gaps) <= max(gaps) <= 2.01
    assert np.count_nonzero(wave) == 6000


def test_the_sound_is_a_function_of_the_seed() -> None:
    noise = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    settings = StreamSettings(snr_db=10.0)
    first, again = (made(settings, [0, 1, 1], [noise])[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = made(replace(settings, seed=1), [0, 1, 1], [noise])[0]
    assert first.size != other.size or not np.array_equal(first, other)


def test_noise_has_the_power_that_the_ratio_says() -> None:
    noise = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    (quiet, _), (noisy, _) = (made(replace(PLAIN, snr_db=level), [0] * 20, [noise]) for level in (None, 10.0))
    assert np.mean(np.square(noisy - quiet)) == pytest.approx(0.25 / 10, rel=0.05)


def test_clips_overlap_on_request() -> None:
    _, words = made(replace(PLAIN, overlap_percentage=100.0), [0, 1] * 5, [])
    assert all(-0.31 <= later.start_s - sooner.end_s <= 0 for sooner, later in itertools.pairwise(words))


def test_a_shuffled_order_uses_every_clip_before_it_repeats_one() -> None:
    order = shuffled([3, 5, 7], 7, seed=0)
    assert sorted(order[:3]) == sorted(order[3:6]) == [3, 5, 7]
    assert len(order) == 7
    assert shuffled([], 0, seed=0) == []


def event(middle_s: float, label: str = "yes") -> Event:
    return Event(file="", start_s=middle_s - 0.4, end_s=middle_s + 0.4, label=label, score=1.0)


WORDS = [
    SpokenWord(start_s=1.0, end_s=2.0, label="yes", speaker="a"),
    SpokenWord(start_s=1.8, end_s=2.8, label="no", speaker="b"),
    SpokenWord(start_s=5.0, end_s=6.0, label="yes", speaker="a"),
]


def test_an_event_finds_the_word_of_its_label() -> None:
    found = match([event(1.5), event(2.3, "no"), event(5.5)], WORDS)
    assert (found.is_found, found.false_accepts) == ((True, True, True), ())


@pytest.mark.parametrize(
    ("events", "is_found", "num_false"),
    [
        ([], (False, False, False), 0),
        ([event(1.4), event(1.6)], (True, False, False), 1),
        ([event(2.0)], (True, False, False), 0),
        ([event(2.7)], (False, False, False), 1),
        ([event(5.5, "no")], (False, False, False), 1),
        ([event(3.5), event(5.1), event(9.0)], (False, False, True), 2),
    ],
    ids=["none", "twice", "between-two", "other-word", "wrong-label", "elsewhere"],
)
def test_other_events_are_false_accepts(events: list[Event], is_found: tuple[bool, ...], num_false: int) -> None:
    found = match(events, WORDS)
    assert (found.is_found, len(found.false_accepts)) == (is_found, num_false)
