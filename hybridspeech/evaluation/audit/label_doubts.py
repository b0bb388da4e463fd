"""Labels that a cross-validated network doubts: one that has not heard the speaker prefers another label by far.

As in confident learning (Northcutt et al., arXiv:1911.00068), what counts as far depends on the label. Its own rule, the mean
confidence per label, finds less here (docs/LOG.md). Knows nothing of how the network is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.config import FeatureConfig
from hybridspeech.evaluation.audit.folds import assign_folds, write_folds
from hybridspeech.evaluation.audit.thresholds import MIN_DOUBT, NUM_FOLDS, SMALLEST_PROBABILITY, USUAL_SHARE
from hybridspeech.evaluation.predictions import predict_split
from hybridspeech.features.clip_transform import ClipTransform
from hybridspeech.processes.scratch import scratch_folder
from hybridspeech.shards.index import ShardIndex

_BATCH_SIZE = 64


@dataclass(frozen=True, kw_only=True)
class FoldNetwork:
    """A network that was trained on a fold.

    Parameters
    ----------
    features : those that it takes
    classify : its inputs to probabilities, for one batch
    """

    features: FeatureConfig
    classify: Callable[[Any], np.ndarray]


TrainFold = Callable[[Path, Path], FoldNetwork]
"""Trains a network on the training split of a folder of shards, in a run directory that it makes."""


def cross_validate(
    shards: Path, index: ShardIndex, clip_ids: Sequence[str], speakers: Sequence[str], train: TrainFold
) -> np.ndarray:
    """Return the probabilities of each clip by a network that was not trained on its speaker.

    Parameters
    ----------
    shards : local folder of waveform shards
    clip_ids, speakers : of each clip, in the order of `index.shards`

    Returns
    -------
    float32 [shape=(num_clips, num_labels)]
    """
    place = {clip_id: number for number, clip_id in enumerate(clip_ids)}
    probabilities = np.zeros((len(clip_ids), len(index.labels)), np.float32)
    fold_of = assign_folds(clip_ids, speakers, NUM_FOLDS)
    with scratch_folder() as scratch:
        for folder in write_folds(shards, index, fold_of, Path(scratch) / "folds"):
            network = train(folder, Path(scratch) / f"run-{folder.name}")
            fold, transform = ShardIndex.load(folder), ClipTransform(index.features, network.features)
            found = predict_split(network.classify, folder, fold, "testing", transform, _BATCH_SIZE)
            probabilities[[place[clip_id] for clip_id in found.clip_ids]] = found.probabilities
    return probabilities


def find_doubts(probabilities: np.ndarray, given: np.ndarray) -> list[tuple[int, int, float]]:
    """Return (clip, label that the network prefers, doubt) of the clips whose label is doubted.

    The doubt is the logarithm of the ratio of the probabilities of the preferred label and of the given one, less a share of
    its median over the clips with that label: a label with few clips is never sure.

    Parameters
    ----------
    probabilities : float32 [shape=(num_clips, num_labels)]
    given : int [shape=(num_clips,)], the labels
    """
    rows, logs = np.arange(len(given)), np.log(probabilities + SMALLEST_PROBABILITY)
    preferred = logs.argmax(1)
    ratio = logs[rows, preferred] - logs[rows, given]
    usual = np.zeros(probabilities.shape[1])
    for label in np.unique(given):
        usual[label] = np.median(ratio[given == label])
    doubt = ratio - USUAL_SHARE * usual[given]
    is_doubted = (preferred != given) & (doubt >= MIN_DOUBT)
    return [(int(row), int(preferred[row]), float(doubt[row])) for row in np.flatnonzero(is_doubted)]
