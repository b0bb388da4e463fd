"""Makes shards in a preprocessing worker: one task makes one shard from its clips.

A task may run twice, in parallel, or die half-way: the bytes are the same. A finished shard leaves a record in
OUT/_progress, for a resume. Knows nothing of Spark, Ray and TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np

from hybridspeech.audio.augmentation import Augmenter
from hybridspeech.audio.background_noise import load_noises
from hybridspeech.audio.decode import DecodedClip, load_decoder
from hybridspeech.config import NO_AUGMENTATION, AugmentConfig, FeatureConfig
from hybridspeech.errors import AudioError, HybridspeechError
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.manifest.clips import Clip
from hybridspeech.records import from_json, to_json
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.encoding import ShardRecord, encode_clips, read_ahead
from hybridspeech.shards.index import PROGRESS_NAME
from hybridspeech.shards.plan import ShardTask
from hybridspeech.shards.shared_storage import SharedStorage
from hybridspeech.shards.sources import sound_hash
from hybridspeech.shards.uploads import BackgroundUploads
from hybridspeech.shards.write_errors import translate_write_errors
from hybridspeech.shards.writer import ShardWriter
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import delete_files, is_file, read_bytes, write_bytes


@dataclass(frozen=True, kw_only=True)
class ShardMaker:
    """Makes the shards of some tasks. It is picklable and imports no TensorFlow; an engine calls it in a worker.

    `key` is a text of all settings that decide the bytes of the shards. `source` is the folder or URL of the clips.
    `noises` are paths and versions of the background noise for augmented copies.
    """

    out: str
    features: FeatureConfig
    shards: ShardConfig
    key: str
    source: str = ""
    augment: AugmentConfig = NO_AUGMENTATION
    noises: tuple[tuple[str, str], ...] = ()
    on_long: str = "cut"
    storage: SharedStorage | None = None

    def __call__(self, tasks: Sequence[ShardTask]) -> list[ShardRecord]:
        """Make the shards, write their records to _progress, and return the records without `sources`.

        Raises
        ------
        ConfigError: this worker does not share the storage of the driver. ShardError: a file can't be written.
        """
        if self.storage:
            self.storage.check()
        fresh = chain.from_iterable(task.clips for task in tasks if not task.may_be_unchanged)
        read = read_ahead(fresh, self.features, self.on_long)  # across the shards: the store's latency counts once
        with BackgroundUploads() as uploads:
            records = (
                self._renewed(task, uploads) if task.may_be_unchanged else self._make(task, read, uploads)
                for task in tasks
            )
            return [replace(record, sources={}) for record in records]

    def _renewed(self, task: ShardTask, uploads: BackgroundUploads) -> ShardRecord:
        """Renew the record of a shard if no sound has changed; else make the shard again."""
        path = self._record_path(task)
        before = parse_record(read_bytes(path)) if is_file(path) else None
        record = self._unchanged(task, before) if before else None
        if record is None:
            delete_files([path])  # it is no longer true
            return self._make(task, read_ahead(task.clips, self.features, self.on_long), uploads)
        self._save(record)
        return record

    def _make(
        self, task: ShardTask, recorded: Callable[[Clip], DecodedClip], uploads: BackgroundUploads
    ) -> ShardRecord:
        """Make one shard; `uploads` publishes it, after which its record is written to _progress.

        Raises
        ------
        ShardError: the shard or its record can't be written.
        """
        extractor, augmenter = FeatureExtractor(self.features), self._augmenter(task)
        hashes, cuts_s = dict[str, str](), dict[str, float]()

        def read(clip: Clip) -> np.ndarray:
            decoded = recorded(clip)
            wave = decoded.wave
            if decoded.cut_s and not clip.copy:
                cuts_s[clip.clip_id] = decoded.cut_s
            hashes[clip.clip_id] = sound_hash(wave)
            return augmenter.sound(wave, clip.recorded_id, clip.copy) if augmenter and clip.copy else wave

        path = join(self.out, task.name)
        with ShardWriter(path, self.shards, self.features.shape, is_deferred=True) as writer:
            rejects = [reject for reject in encode_clips(task.clips, extractor, writer.encoder, read) if reject]
        assert writer.info is not None
        hashes |= {reject.clip_id: reject.reason for reject in rejects}
        noises = zip(self.noises, augmenter.noises, strict=True) if augmenter and augmenter.noises else ()
        record = ShardRecord(
            key=self.key_of(task),
            info=writer.info,
            rejects=tuple(rejects),
            sources={
                clip_id: (version, hashes[clip_id]) for clip_id, version in task.clips.values("clip_id", "version")
            },
            noises={path: (version, sound_hash(recording)) for (path, version), recording in noises},
            cuts_s=cuts_s,
            source=self.source,
            host=socket.gethostname(),
        )

        try:
            uploads.submit(partial(self._publish, writer, record))
        except BaseException:
            writer.discard()
            raise
        return record

    def _publish(self, writer: ShardWriter, record: ShardRecord) -> None:
        """Publish a shard, and then its record: a resume takes a shard with a record for finished."""
        writer.publish()
        self._save(record)

    def _record_path(self, task: ShardTask) -> str:
        return join(self.out, PROGRESS_NAME, f"{task.name}.json")

    def _save(self, record: ShardRecord) -> None:
        with translate_write_errors(self.out):
            write_bytes(join(self.out, PROGRESS_NAME, f"{record.info.name}.json"), json.dumps(to_json(record)))

    def _unchanged(self, task: ShardTask, before: ShardRecord) -> ShardRecord | None:
        """Read clips with another version again; return the record with the new versions, or None if a sound differs."""
        if before.key != self.key_of(task):
            return None
        is_moved = before.source != self.source  # equal versions do not suffice: archives may give all files one time
        known = {clip_id: "" if is_moved else version for clip_id, (version, _) in before.sources.items()}
        suspects = [clip for clip in task.clips if known.get(clip.clip_id, "") != clip.version]
        read = read_ahead(suspects, self.features, self.on_long)
        hashes = {clip.clip_id: hash_or_reason(read, clip) for clip in suspects}
        if any(before.sources.get(clip_id, ("", ""))[1] != found for clip_id, found in hashes.items()):
            return None
        noises = self._augmenter_noises() if before.noises else ()
        now = {path: (version, sound_hash(wave)) for (path, version), wave in zip(self.noises, noises, strict=False)}
        if [found for _, found in now.values()] != [found for _, found in before.noises.values()]:
            return None
        sources = {
            clip_id: (version, before.sources[clip_id][1])
            for clip_id, version in task.clips.values("clip_id", "version")
        }
        return replace(before, sources=sources, noises=now, source=self.source)

    def _augmenter(self, task: ShardTask) -> Augmenter | None:
        if not task.clips.has_copies:
            return None
        noises = self._augmenter_noises() if self.augment.needs_noise else ()
        return Augmenter(
            self.augment, sample_rate_hz=self.features.sample_rate_hz, seed=self.shards.seed, noises=noises
        )

    def _augmenter_noises(self) -> tuple[np.ndarray, ...]:
        paths, versions = (tuple(column) for column in zip(*self.noises, strict=True))
        return load_noises(paths, self.features.sample_rate_hz, self.features.num_samples, versions)

    def key_of(self, task: ShardTask) -> str:
        """Return a hash of all that decides the bytes of a shard, apart from the audio."""
        names: tuple[str, ...] = ("clip_id", "label", "label_name", "speaker", "path", "copy", "excerpt")
        if task.clips.has_segments:  # the keys of other shards stay those of earlier versions
            names = (*names, "segment")
        clips = [(*values[:4], self._below(values[4]), *values[5:]) for values in task.clips.values(*names)]
        noises = [self._below(path) for path, _ in self.noises] if self.augment.needs_noise else ()
        return hashlib.sha256(json.dumps([self.key, task.name, clips, noises]).encode()).hexdigest()

    def _below(self, path: str) -> str:
        return path.removeprefix(f"{self.source}/")


def prepare_worker() -> None:
    """Import the decoder and load the compiled kernel of the default features; for a process that will fork workers."""
    load_decoder()
    FeatureExtractor(FeatureConfig())


def parse_record(content: bytes) -> ShardRecord | None:
    """Return the record of a finished shard; None if it is damaged: then the shard is made again."""
    try:
        return from_json(ShardRecord, json.loads(content))
    except (ValueError, TypeError, RecursionError, HybridspeechError):
        return None


def hash_or_reason(read: Callable[[Clip], DecodedClip], clip: Clip) -> str:
    """Return the hash of the sound of a clip, or the reason why it can't be used."""
    try:
        return sound_hash(read(clip).wave)
    except AudioError as error:
        return error.reason
