"""Which event belongs to which word of continuous sound. Knows nothing of sound and networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hybridspeech.detection.listener import Event
from hybridspeech.detection.stream_sound import SpokenWord

TOLERANCE_S = 0.25
"""An event belongs to a word if its middle is at most this far outside the clip that holds the word."""


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Result of a comparison: whether each word was found, and the events that belong to no word."""

    is_found: tuple[bool, ...]
    false_accepts: tuple[Event, ...]


def matches(event: Event, word: SpokenWord) -> bool:
    """Tell whether the middle of an event lies in the clip of a word, whatever the labels are."""
    middle_s = (event.start_s + event.end_s) / 2
    return word.start_s - TOLERANCE_S <= middle_s <= word.end_s + TOLERANCE_S


def match(events: Sequence[Event], words: Sequence[SpokenWord]) -> Matches:
    """Compare events with words, both in the order of time.

    Each event belongs to at most one word of its label, and each word has at most one event: a second event of a word is a
    false accept.
    """
    is_found = [False] * len(words)
    false_accepts = []
    first = 0
    for event in events:
        while first < len(words) and words[first].end_s + TOLERANCE_S < event.start_s:
            first += 1
        for number in range(first, len(words)):
            word = words[number]
            if word.start_s - TOLERANCE_S > event.end_s:
                false_accepts.append(event)
                break
            if not is_found[number] and word.label == event.label and matches(event, word):
                is_found[number] = True
                break
        else:
            false_accepts.append(event)
    return Matches(is_found=tuple(is_found), false_accepts=tuple(false_accepts))
