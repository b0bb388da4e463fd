"""Warnings about clips, speakers and splits that make a test accuracy misleading. Knows nothing of audio and shards."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Protocol

from hybridspeech.manifest.config import SILENCE
from hybridspeech.manifest.speakers import propose_pattern

NUM_NAMED = 3
"""Speakers that a warning names at most."""


class NamedClip(Protocol):
    """The names of a clip, as in a manifest; `speaker` is '' if unknown."""

    @property
    def clip_id(self) -> str: ...
    @property
    def label_name(self) -> str: ...
    @property
    def speaker(self) -> str: ...
    @property
    def split(self) -> str: ...


def source_warnings(clips: Iterable[NamedClip]) -> tuple[str, ...]:
    """List what makes a test accuracy misleading: count, consequence and remedy, one sentence each.

    Parameters
    ----------
    clips : recorded clips, without augmented copies. Clips of silence have no speaker and are left out
    """
    recorded = [clip for clip in clips if clip.label_name != SILENCE]
    found = [_unknown_speakers(recorded)]
    return tuple(text for text in found if text)


def _unknown_speakers(clips: list[NamedClip]) -> str:
    unknown = [clip for clip in clips if not clip.speaker]
    if not unknown or len({clip.split for clip in clips}) == 1:
        return ""
    proposal = propose_pattern((clip.clip_id, clip.label_name) for clip in unknown)
    if proposal:
        names = ", ".join(proposal.speakers[:NUM_NAMED]) + (", ..." if len(proposal.speakers) > NUM_NAMED else "")
        pattern = shlex.quote(proposal.pattern)
        remedy = (
            f"preprocess with --speaker-pattern {pattern}, which finds {len(proposal.speakers):,} speakers ({names})"
        )
    else:
        remedy = "preprocess with a --speaker-pattern that fits the file names"
    return (
        f"the speaker of {len(unknown):,} of {len(clips):,} clips is unknown, so clips of one speaker may be in training "
        f"and in testing, and the test accuracy may be too high; {remedy}, or give a table with a column 'speaker'"
    )
