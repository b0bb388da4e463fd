"""A shard from its clips, and all shards equal in size although some clips turn out to be unusable.

Whoever makes shards, and wherever their bytes go, follows these lines, so that they are the same. Knows nothing of
engines, of files of the output, or of training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hybridspeech.audio.background_noise import excerpt, load_noises
from hybridspeech.audio.decode import read_clip
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import AudioError
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.manifest.clips import Clip
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.names import ShardInfo
from hybridspeech.shards.plan import ShardTask, rebalance
from hybridspeech.shards.rejects import Reject
from hybridspeech.shards.writer import ShardEncoder


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """What became of one ShardTask; `key` is a hash of all that decides the shard's bytes, where somebody needs it."""

    key: str = ""
    info: ShardInfo
    rejects: tuple[Reject, ...] = ()


def read_wave(clip: Clip, config: FeatureConfig) -> np.ndarray:
    """The sound of a clip, of one of silence too: float32 [shape=(num_samples,)], full scale = 1.0.

    Raises
    ------
    AudioError: it can't be used.
    """
    if clip.excerpt is None:
        return read_clip(clip.path, config)
    num_samples, (where, volume) = config.num_samples, clip.excerpt
    if not clip.path:
        return np.zeros(num_samples, np.float32)
    recording = load_noises((clip.path,), config.sample_rate_hz, num_samples)
    return np.float32(volume) * excerpt(recording, 0.0, where, num_samples)


def encode_clips(
    clips: Sequence[Clip],
    extractor: FeatureExtractor,
    encoder: ShardEncoder,
    read: Callable[[Clip], np.ndarray] | None = None,
) -> Iterator[Reject | None]:
    """Write the clips, in order; after each, None or why it could not be used.

    Parameters
    ----------
    read : gives the sound of a clip; None: `read_wave`
    """
    for clip in clips:
        try:
            extractor(read(clip) if read else read_wave(clip, extractor.config), out=encoder.payload)
        except AudioError as error:
            detail = error.detail.removeprefix(f"{clip.path}: ")
            yield Reject(clip_id=clip.clip_id, split=clip.split, reason=error.reason, detail=detail)
        else:
            encoder.write(clip.clip_id, clip.label, clip.label_name, clip.speaker, encoder.payload)
            yield None


def make_level(
    planned: Sequence[ShardTask], config: ShardConfig, make: Callable[[list[ShardTask]], Sequence[ShardRecord]]
) -> list[ShardRecord]:
    """Make all shards; where clips were rejected, make those again that must change to be equal in size.

    More than once, if a clip that was good becomes unusable meanwhile.

    Parameters
    ----------
    make : makes some shards, in place of those of the same names; their records in the same order

    Returns
    -------
    The records of the final shards; none, if no clip could be used.
    """
    tasks = list(planned)
    rejected: set[str] = set()
    made: dict[str, tuple[tuple[Clip, ...], ShardRecord]] = {}
    while todo := [task for task in tasks if task.name not in made or made[task.name][0] != task.clips]:
        records = make(todo)
        rejected |= {reject.clip_id for record in records for reject in record.rejects}
        for task, record in zip(todo, records, strict=True):
            made[task.name] = tuple(clip for clip in task.clips if clip.clip_id not in rejected), record
        tasks = rebalance(planned, rejected, config)
    return [made[task.name][1] for task in tasks]
