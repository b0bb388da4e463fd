"""Warnings about clips, speakers and splits that make a test accuracy misleading. Knows nothing of audio and shards."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping

from hybridspeech.config import SPLITS
from hybridspeech.manifest.columns.clip_names import ClipNames
from hybridspeech.manifest.config import SILENCE, ManifestConfig
from hybridspeech.manifest.speakers import propose_pattern

NUM_NAMED = 3
"""Speakers that a warning names at most."""
FEW_CLIPS = 5
"""Fewer clips of a label are reported."""
NUM_LABELS_NAMED = 6
"""Labels that a warning names at most."""
FAR = 2.0
"""A share of clips is far from the given one if it is larger, or smaller, by more than this factor."""


def source_warnings(clips: ClipNames, config: ManifestConfig, split_rule: str) -> tuple[str, ...]:
    """List what makes a test accuracy misleading: count, consequence and remedy, one sentence each.

    Parameters
    ----------
    clips : recorded clips, without augmented copies. Clips of silence have no speaker and are left out
    split_rule : rule that was used. The shares of the splits are compared with the percentages of `config` for "hash" only;
        with "none", all clips are meant for training
    """
    recorded = clips.where(~clips.label_name.is_in((SILENCE,)))
    counts = recorded.split.counts()
    shares = {"validation": config.validation_percentage, "testing": config.testing_percentage}
    is_drawn = split_rule not in ("lists", "column")
    unwanted = [split for split in shares if split_rule == "none" or (is_drawn and not shares[split])]
    found = [
        _unknown_speakers(recorded),
        empty_splits(counts, [split for split in SPLITS if split not in unwanted]),
        *(_far_shares(counts, shares) if split_rule == "hash" else ()),
        _few_clips(recorded) if counts["training"] else "",
    ]
    return tuple(text for text in found if text)


def _unknown_speakers(clips: ClipNames) -> str:
    unknown = clips.where(clips.speaker.is_in(("",)))
    if not len(unknown) or len(clips.split.used()) == 1:
        return ""
    proposal = propose_pattern(unknown.ids_and_labels)
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


def empty_splits(counts: Mapping[str, int], wanted: Collection[str] = SPLITS) -> str:
    """Return a sentence about the splits without clips; '' if each of `wanted` has some."""
    consequence = {
        "training": "nothing to learn from",
        "validation": "no early stopping and no temperature scaling",
        "testing": "no accuracy for new speakers",
    }
    effects = "; ".join(f"{split} (so there is {consequence[split]})" for split in wanted if not counts.get(split))
    return f"there are no clips for {effects}; preprocess with a larger share for it" if effects else ""


def _far_shares(counts: Mapping[str, int], percentages: Mapping[str, float]) -> Iterable[str]:
    total = sum(counts.values())
    for split, percentage in percentages.items():
        share = 100 * counts[split] / total
        if counts[split] and percentage and not percentage / FAR <= share <= percentage * FAR:
            yield (
                f"split {split} has {counts[split]:,} of {total:,} clips ({share:.0f} %), and {percentage:g} % were "
                "requested: the hash rule assigns all clips of a speaker to one split, so that few speakers give other "
                f"shares; record more speakers, change --{split}-percentage, or give a table with a column 'split'"
            )


def _few_clips(clips: ClipNames) -> str:
    training = clips.where(clips.split.is_in(("training",)))
    counts = dict.fromkeys(clips.label_name.used(), 0) | training.label_name.counts()
    few = [f"{label} ({count})" for label, count in sorted(counts.items()) if count < FEW_CLIPS]
    if not few:
        return ""
    more = f" and {len(few) - NUM_LABELS_NAMED} more" if len(few) > NUM_LABELS_NAMED else ""
    return (
        f"labels with fewer than {FEW_CLIPS} clips for training: {', '.join(few[:NUM_LABELS_NAMED])}{more}; a network does "
        "not learn them reliably; record more clips of them, or leave them out with --task words:..."
    )
