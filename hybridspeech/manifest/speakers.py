"""Speakers from paths of clips: patterns, presets, and the proposal of a pattern. Reads names only.

Knows nothing of splits, tables and audio.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hybridspeech.errors import ConfigError

SPEECH_COMMANDS = "speech-commands"
PRESETS = {
    SPEECH_COMMANDS: r"(?:^|/)([^/]*?)_nohash_[^/]*$",
    "prefix": r"(?:^|/)([^/_-]+)[_-][^/]*$",
    "parent": r"^[^/]+/(?:[^/]+/)*([^/]+)/[^/]+$",
}
"""Patterns by name: before ``_nohash_``; before the first ``_`` or ``-`` of the file name; parent folder below the word."""
_PROPOSED = ("parent", "prefix", r"/[^/_-]+[_-]([^/_-]+)[_-][^/]*$", r"[_-]([^/_-]+)\.[^/.]+$")


def speaker_finder(pattern: str) -> Callable[[str], str]:
    """Return a function from the path of a clip, relative to the source, to its speaker; '' if the pattern does not match.

    Parameters
    ----------
    pattern : a name in PRESETS, or a regular expression, which is searched in the path; the speaker is its group
        ``speaker``, else its first group

    Raises
    ------
    ConfigError: it is neither.
    """
    if pattern == SPEECH_COMMANDS:
        return _before_nohash
    expected = f"expected {', '.join(PRESETS)}, or a regular expression with a group, such as '/([a-z]+)[0-9]+'"
    try:
        compiled = re.compile(PRESETS.get(pattern, pattern))
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(
            f"speaker pattern {pattern!r} is not a valid regular expression ({error}); {expected}"
        ) from error
    if not compiled.groups:
        raise ConfigError(f"speaker pattern {pattern!r} has no group; {expected}")
    group: str | int = "speaker" if "speaker" in compiled.groupindex else 1

    def find(path: str) -> str:
        match = compiled.search(path)
        return (match[group] or "") if match else ""

    return find


def _before_nohash(path: str) -> str:
    """As the preset SPEECH_COMMANDS; its regular expression takes ten times as long."""
    if "_nohash_" not in path:
        return ""
    speaker, nohash, _ = path.rpartition("/")[2].partition("_nohash_")
    return speaker if nohash else ""


@dataclass(frozen=True, kw_only=True)
class PatternProposal:
    """A speaker pattern that fits the names of clips, and the speakers that it finds, sorted."""

    pattern: str
    speakers: tuple[str, ...]


def propose_pattern(clips: Callable[[], Iterable[tuple[str, str]]]) -> PatternProposal | None:
    """Return the pattern that fits the names of clips without a known speaker; None if there is none.

    A pattern fits if it matches every clip and finds two speakers or more, with two clips each on average. If there are
    several labels, most speakers have clips of two or more. A pattern whose speakers are not all numbers is preferred.

    Parameters
    ----------
    clips : returns path relative to the source, and label, of each clip; it is called several times
    """
    fitting = [proposal for pattern in _PROPOSED if (proposal := _proposal(pattern, clips()))]
    return min(fitting, key=lambda found: all(name.isdigit() for name in found.speakers), default=None)


def _proposal(pattern: str, clips: Iterable[tuple[str, str]]) -> PatternProposal | None:
    find, num_clips = speaker_finder(pattern), 0
    labels_of: defaultdict[str, set[str]] = defaultdict(set)
    for path, label in clips:
        speaker = find(path)
        if not speaker:
            return None
        labels_of[speaker].add(label)
        num_clips += 1
    num_labels = len(set().union(*labels_of.values()))
    num_mixed = sum(len(labels) > 1 for labels in labels_of.values())
    is_mixed = num_labels == 1 or 2 * num_mixed > len(labels_of)
    if not 2 <= len(labels_of) <= num_clips / 2 or not is_mixed:
        return None
    return PatternProposal(pattern=pattern, speakers=tuple(sorted(labels_of)))
