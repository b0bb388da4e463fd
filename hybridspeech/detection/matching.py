"""Which event belongs to which word of continuous sound. Knows nothing of sound and networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


class Matcher:
    """Compares the events of one sound with its words, one event at a time; both are in the order of time.

    Each event belongs to at most one word of its label, and each word has at most one event.
    """

    def __init__(self, words: Sequence[SpokenWord]) -> None:
        self.is_found = [False] * len(words)
        self._words, self._first = words, 0

    def take(self, event: Event) -> bool:
        """Mark the word of an event as found; False if the event belongs to no word, or to one that was found before."""
        for number in self._near(event):
            word = self._words[number]
            if not self.is_found[number] and word.label == event.label and matches(event, word):
                self.is_found[number] = True
                return True
        return False

    def is_at_word(self, event: Event) -> bool:
        """Tell whether an event lies at a word of any label, found or not."""
        return any(matches(event, self._words[number]) for number in self._near(event))

    def _near(self, event: Event) -> Iterator[int]:
        """Yield the words that an event may belong to."""
        while self._first < len(self._words) and self._words[self._first].end_s + TOLERANCE_S < event.start_s:
            self._first += 1
        for number in range(self._first, len(self._words)):
            if self._words[number].start_s - TOLERANCE_S > event.end_s:
                return
            yield number


def match(events: Sequence[Event], words: Sequence[SpokenWord]) -> Matches:
    """Compare events with words, both in the order of time; a second event of a word is a false accept."""
    matcher = Matcher(words)
    false_accepts = [event for event in events if not matcher.take(event)]
    return Matches(is_found=tuple(matcher.is_found), false_accepts=tuple(false_accepts))
