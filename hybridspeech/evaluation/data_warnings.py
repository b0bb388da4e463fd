"""Warnings about data that make an accuracy misleading. Knows nothing of networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hybridspeech.evaluation.predictions import Predictions
from hybridspeech.manifest.source_warnings import FEW_CLIPS, NUM_LABELS_NAMED, empty_splits
from hybridspeech.shards.index import ShardIndex


def data_warnings(index: ShardIndex, predictions: Predictions) -> tuple[str, ...]:
    """List what makes the accuracy on a split misleading: count, consequence and remedy, one sentence each.

    Parameters
    ----------
    index : index of the shards
    predictions : those of the evaluated split
    """
    found = [
        _speakers(predictions.voices(index.labels)),
        empty_splits(index.splits),
        _few_clips(index.labels, predictions),
    ]
    return tuple(text for text in found if text)


def _speakers(speakers: Sequence[str]) -> str:
    unknown = sum(not speaker for speaker in speakers)
    if not unknown and len(set(speakers)) == 1:
        return (
            f"all {len(speakers):,} clips are of one speaker, so the interval does not cover other speakers; add "
            "recordings of others, or preprocess with a larger share for this split"
        )
    if not unknown:
        return ""
    return (
        f"the speaker of {unknown:,} of {len(speakers):,} clips is unknown, so clips of one voice may be in training too, "
        "and the accuracy for new speakers may be lower; preprocess again with a --speaker-pattern, "
        "a table with a column 'speaker', or file names such as anna_nohash_0.wav"
    )


def _few_clips(labels: Sequence[str], predictions: Predictions) -> str:
    counts = Counter(predictions.truth.tolist())
    few = [f"{label} ({counts[i]})" for i, label in enumerate(labels) if counts[i] < FEW_CLIPS]
    if not few:
        return ""
    named = ", ".join(few[:NUM_LABELS_NAMED]) + (
        f" and {len(few) - NUM_LABELS_NAMED} more" if len(few) > NUM_LABELS_NAMED else ""
    )
    return (
        f"labels with fewer than {FEW_CLIPS} clips in split {predictions.split}: {named}; their precision and "
        "recall are not reliable; record more clips of them, or preprocess with a larger share for this split"
    )
