"""The predictions of a network on every clip of a split. Knows nothing of how the network was trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.features.clip_transform import ClipTransform
from hybridspeech.manifest.config import SILENCE
from hybridspeech.shards.index import ShardIndex
from hybridspeech.training.temperature import apply_temperature


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Probabilities and true labels of the clips of a split.

    `probabilities` is float32 [shape=(num_clips, num_labels)]; `truth` is int [shape=(num_clips,)], indices of labels. An
    unknown speaker is ''. The probabilities are those after temperature scaling with `temperature`.
    """

    split: str
    temperature: float = 1.0
    probabilities: np.ndarray
    truth: np.ndarray
    clip_ids: Sequence[str]
    speakers: Sequence[str]

    def calibrated(self, temperature: float) -> Predictions:
        """Return the predictions after temperature scaling; their labels are the same."""
        scaled = apply_temperature(self.probabilities, temperature)
        return replace(self, probabilities=scaled, temperature=temperature)

    def voices(self, labels: Sequence[str]) -> list[str]:
        """Return the speakers; clips of silence, which have none, count as those of one speaker."""
        names = zip(self.speakers, self.truth, strict=True)
        return [speaker or (SILENCE if labels[label] == SILENCE else "") for speaker, label in names]

    @property
    def predicted(self) -> np.ndarray:
        """Indices of the most probable labels, int [shape=(num_clips,)]."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def correct(self) -> np.ndarray:
        """Whether the most probable label is the true one, bool [shape=(num_clips,)]."""
        return np.asarray(self.predicted == self.truth)


def predict_split(
    classify: Callable[[Any], np.ndarray],
    shards: Path,
    index: ShardIndex,
    split: str,
    transform: ClipTransform,
    batch_size: int,
) -> Predictions:
    """Compute the predictions of a network on every clip of a split, in shard order.

    Parameters
    ----------
    classify : inputs of the network to probabilities, for one batch
    transform : from stored clips to inputs of the network
    batch_size : number of clips in memory at a time

    Raises
    ------
    ShardError: a shard is missing or damaged, or its content does not fit the index.
    """
    from hybridspeech.training.dataset import evaluation_dataset, shard_errors

    probabilities, truth, clip_ids, speakers = [], [], list[str](), list[str]()
    with shard_errors(shards, index, index.of_split(split)):
        for spectrogram, label, clip_id, speaker in evaluation_dataset(shards, index, split, batch_size, transform):
            probabilities.append(classify(spectrogram))
            truth.append(label.numpy())
            clip_ids += [name.decode(errors="replace") for name in clip_id.numpy()]
            speakers += [name.decode(errors="replace") for name in speaker.numpy()]
    return Predictions(
        split=split,
        probabilities=np.concatenate(probabilities),
        truth=np.concatenate(truth),
        clip_ids=clip_ids,
        speakers=speakers,
    )
