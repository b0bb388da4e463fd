"""Makes shards in a preprocessing worker: one task makes one shard from its clips.

A task may run twice, in parallel, or die half-way: the bytes are the same. A finished shard leaves a record in
OUT/_progress, for a resume. Knows nothing of Spark, Ray and TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from hybridspeech.audio.augmentation import Augmenter
from hybridspeech.audio.background_noise import load_noises
from hybridspeech.audio.decode import load_decoder
from hybridspeech.config import NO_AUGMENTATION, AugmentConfig, FeatureConfig, to_json
from hybridspeech.errors import ShardError
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.manifest.clips import Clip
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.encoding import ShardRecord, encode_clips, read_ahead
from hybridspeech.shards.index import PROGRESS_NAME
from hybridspeech.shards.plan import ShardTask
from hybridspeech.shards.writer import ShardWriter
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import delete_files, write_bytes


@dataclass(frozen=True, kw_only=True)
class ShardMaker:
    """Makes the shards of some tasks. It is picklable and imports no TensorFlow; an engine calls it in a worker.

    `key` is a text of all settings that decide the bytes of the shards. `noises` are the paths of the background noise
    for augmented copies.
    """

    out: str
    features: FeatureConfig
    shards: ShardConfig
    key: str
    augment: AugmentConfig = NO_AUGMENTATION
    noises: tuple[str, ...] = ()

    def __call__(self, tasks: Sequence[ShardTask]) -> list[ShardRecord]:
        """Make the shards, write their records to _progress, and return the records."""
        return [self.make(task) for task in tasks]

    def make(self, task: ShardTask) -> ShardRecord:
        """Make one shard, and write its record to _progress.

        Raises
        ------
        ShardError: the shard or its record can't be written.
        """
        record_path = join(self.out, PROGRESS_NAME, f"{task.name}.json")
        delete_files([record_path])  # a record of the same shard with other clips is no longer true
        extractor, augmenter = FeatureExtractor(self.features), self._augmenter(task)

        recorded = read_ahead(task.clips, self.features)

        def read(clip: Clip) -> np.ndarray:
            wave = recorded(clip)
            return augmenter.sound(wave, clip.recorded_id, clip.copy) if augmenter and clip.copy else wave

        with ShardWriter(join(self.out, task.name), self.shards, self.features.shape) as writer:
            rejects = [reject for reject in encode_clips(task.clips, extractor, writer.encoder, read) if reject]
        assert writer.info is not None
        record = ShardRecord(key=self.key_of(task), info=writer.info, rejects=tuple(rejects))
        with translate_write_errors(self.out):
            write_bytes(record_path, json.dumps(to_json(record)))
        return record

    def _augmenter(self, task: ShardTask) -> Augmenter | None:
        if not any(clip.copy for clip in task.clips):
            return None
        rate_hz = self.features.sample_rate_hz
        noises = load_noises(self.noises, rate_hz, self.features.num_samples) if self.augment.needs_noise else ()
        return Augmenter(self.augment, sample_rate_hz=rate_hz, seed=self.shards.seed, noises=noises)

    def key_of(self, task: ShardTask) -> str:
        """Return a hash of all that decides the bytes of a shard, apart from the audio."""
        clips = [
            (clip.clip_id, clip.label, clip.label_name, clip.speaker, clip.path, clip.copy, clip.excerpt)
            for clip in task.clips
        ]
        noises = self.noises if self.augment.needs_noise else ()
        return hashlib.sha256(json.dumps([self.key, task.name, clips, noises]).encode()).hexdigest()


def prepare_worker() -> None:
    """Import the decoder and load the compiled kernel of the default features; for a process that will fork workers."""
    load_decoder()
    FeatureExtractor(FeatureConfig())


@contextmanager
def translate_write_errors(out: str) -> Iterator[None]:
    """Raise ShardError with the output folder, the reason and the remedy if a file of the output can't be written."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ShardError(f"{out}: can't be written: {reason}; free space there, then --resume") from error
