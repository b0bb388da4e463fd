"""Parts of words as negatives: clips of a batch, shifted so far that a part of the word is cut off.

In continuous sound, a network hears windows with half a word; the time shift of the augmentation keeps words whole. Knows
nothing of files and TensorFlow.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from hybridspeech.audio.augmentation import clip_generator

SHORTEST_SHIFT_MS, LONGEST_SHIFT_MS = 500, 900


@dataclass(frozen=True, kw_only=True)
class PartialWords:
    """The parts of words of each batch of one epoch.

    Parameters
    ----------
    words, label : indices of the labels that are shifted, and of the label that they get
    per_batch : number of parts in a batch
    seed, copy : decide, with the id of a clip, which clips are shifted, how far and in which direction
    """

    words: Collection[int]
    label: int
    per_batch: int
    sample_rate_hz: int
    seed: int
    copy: int

    def of_batch(
        self, waves: np.ndarray, labels: np.ndarray, clip_ids: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return waveforms, labels and ids of the parts. A batch without words gives parts of its other clips.

        Parameters
        ----------
        waves : int16 [shape=(batch, num_samples)]
        labels : int32 [shape=(batch,)]
        clip_ids : bytes [shape=(batch,)]

        Returns
        -------
        int16 [shape=(per_batch, num_samples)], int32 [shape=(per_batch,)], bytes [shape=(per_batch,)]
        """
        generator = clip_generator(f"{self.seed}\0partial words\0{self.copy}", clip_ids[0].decode(errors="replace"))
        candidates = np.flatnonzero(np.isin(labels, list(self.words)))
        candidates = candidates if candidates.size else np.arange(len(labels))
        chosen = np.resize(generator.permutation(candidates), self.per_batch)
        shifts_ms = generator.uniform(SHORTEST_SHIFT_MS, LONGEST_SHIFT_MS, self.per_batch)
        directions = generator.choice((-1, 1), self.per_batch)
        parts = np.zeros((self.per_batch, waves.shape[1]), np.int16)
        for part, index, shift_ms, direction in zip(parts, chosen, shifts_ms, directions, strict=True):
            shift = min(int(shift_ms * self.sample_rate_hz / 1000), part.size)
            if direction > 0:
                part[shift:] = waves[index, : part.size - shift]
            else:
                part[: part.size - shift] = waves[index, shift:]
        ids = [b"part %d of %s" % (number, clip_ids[index]) for number, index in enumerate(chosen)]
        return parts, np.full(self.per_batch, self.label, np.int32), np.array(ids)
