"""One run of preprocessing: what is to be made, what is there already, and how a task makes a shard.

A task makes one shard from its clips. It may run twice, at once, or die half-way: the bytes are the same. What is finished
leaves a record in OUT/_progress, which a resume takes up. Knows nothing of Spark, Ray and TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hybridspeech.audio.augmentation import Augmenter
from hybridspeech.audio.background_noise import Noise, load_noises
from hybridspeech.audio.containers import canonical_header
from hybridspeech.audio.decode import load_decoder
from hybridspeech.audio.pcm import to_pcm16
from hybridspeech.config import NO_AUGMENTATION, AugmentConfig, FeatureConfig, OnProgress, Progress, from_json, to_json
from hybridspeech.errors import ConfigError, EngineError, ShardError, TooManyRejectsError
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.manifest.clips import Clip, Manifest
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.parquet import write_parquet
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.encoding import ShardRecord, encode_clips, make_level, read_wave
from hybridspeech.shards.index import INDEX_NAME, MANIFEST_NAME, REJECTS_NAME, NoiseInfo, ShardIndex
from hybridspeech.shards.plan import ShardTask, group_tasks, plan_shards
from hybridspeech.shards.rejects import Rejects
from hybridspeech.shards.writer import ShardWriter
from hybridspeech.storage.small_files import write_atomically

NOISE_NAME = "noise"
PROGRESS_NAME = "_progress"
SETTINGS_NAME = "settings.json"


class Engine(Protocol):
    """Runs a function on partitions; `hybridspeech.engines.Engine` says what it promises."""

    def map_partitions(
        self,
        function: Callable[[Sequence[ShardTask]], list[ShardRecord]],
        partitions: Sequence[Sequence[ShardTask]],
        on_done: Callable[[list[ShardRecord]], None] | None = None,
    ) -> list[list[ShardRecord]]:
        """Return ``[function(partition) for partition in partitions]``, and call `on_done` with each result as it is known."""
        ...


@dataclass(frozen=True, kw_only=True)
class ShardMaker:
    """What every task needs. Called by the engine with a few ShardTasks a partition; picklable; imports no TensorFlow."""

    out: str
    features: FeatureConfig
    shards: ShardConfig
    key: str
    augment: AugmentConfig = NO_AUGMENTATION
    noises: tuple[str, ...] = ()

    def __call__(self, tasks: Sequence[ShardTask]) -> list[ShardRecord]:
        """Make the shards, leave their records in _progress, and return the records."""
        return [self.make(task) for task in tasks]

    def make(self, task: ShardTask) -> ShardRecord:
        """Make one shard, and leave its record in _progress."""
        out = Path(self.out)
        finished = out / PROGRESS_NAME / f"{task.name}.json"
        finished.unlink(missing_ok=True)  # of the same shard with other clips: a record speaks of what is there
        extractor, augmenter = FeatureExtractor(self.features), self._augmenter(task)

        def read(clip: Clip) -> np.ndarray:
            wave = read_wave(clip, self.features)
            return augmenter.sound(wave, clip.recorded_id, clip.copy) if augmenter and clip.copy else wave

        with ShardWriter(out / task.name, self.shards, self.features.shape) as writer:
            rejects = [reject for reject in encode_clips(task.clips, extractor, writer.encoder, read) if reject]
        assert writer.info is not None
        record = ShardRecord(key=self.key_of(task), info=writer.info, rejects=tuple(rejects))
        with _writing(out):
            write_atomically(finished, json.dumps(to_json(record)))
        return record

    def _augmenter(self, task: ShardTask) -> Augmenter | None:
        if not any(clip.copy for clip in task.clips):
            return None
        rate_hz = self.features.sample_rate_hz
        noises = load_noises(self.noises, rate_hz, self.features.num_samples) if self.augment.needs_noise else ()
        return Augmenter(self.augment, sample_rate_hz=rate_hz, seed=self.shards.seed, noises=noises)

    def key_of(self, task: ShardTask) -> str:
        """Hash of all that decides the bytes of a shard, apart from the audio itself."""
        clips = [
            (clip.clip_id, clip.label, clip.label_name, clip.speaker, clip.path, clip.copy, clip.excerpt)
            for clip in task.clips
        ]
        heard = self.noises if self.augment.needs_noise else ()
        return hashlib.sha256(json.dumps([self.key, task.name, clips, heard]).encode()).hexdigest()


def prepare_worker() -> None:
    """Import, and load the compiled kernel of the default features; for a process that will fork workers."""
    load_decoder()
    FeatureExtractor(FeatureConfig())


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Say of a file of the output that can't be written where it was to be, and what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ShardError(f"{out}: can't be written: {reason}; free space there, then --resume") from error


@dataclass(kw_only=True)
class PreprocessJob:
    """What is to be made, what is there already, and what has been done."""

    out: Path
    manifest: Manifest
    manifest_config: ManifestConfig = field(default_factory=ManifestConfig)
    features: FeatureConfig
    shards: ShardConfig
    augment: AugmentConfig
    augment_copies: int
    noises: tuple[Noise, ...]
    max_rejects: float
    on_progress: OnProgress
    num_computed: int = 0
    records: dict[str, ShardRecord] = field(default_factory=dict)  # by shard name
    rejects: Rejects = field(init=False)

    def __post_init__(self) -> None:
        self.rejects = Rejects(
            self.out / REJECTS_NAME,
            num_clips=len(self.manifest.clips),
            max_rejects=self.max_rejects,
            advice="--resume",
        )

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the bytes of the output, besides the clips."""
        varied = (self.augment, self.augment_copies) if self.augment_copies else ()
        return _settings(self.features, self.shards, self.manifest.labels, *varied)

    def prepare(self) -> ShardIndex | None:
        """Make the progress folder, or take up what is in it; the index, if all is there already.

        Raises
        ------
        ConfigError: what is there was made under other settings.
        """
        folder = self.out / PROGRESS_NAME
        before = self._settings_before(folder / SETTINGS_NAME)
        names = {*self.settings, *before}
        changed = sorted(name for name in names if before and before.get(name) != self.settings.get(name))
        if changed:
            raise ConfigError(
                f"{self.out}: what is there was made with other {' and '.join(changed)}; resume with the same "
                f"settings, or start anew with --overwrite"
            )
        index = self._index_before()
        if index and not index.lacking(self.out) and self._is_of_this_source():
            shutil.rmtree(folder, ignore_errors=True)
            return index
        self.sweep()
        with _writing(self.out):
            self._take_up(folder)
        return None

    def _take_up(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for path in sorted(folder.glob("*.json")):
            if path.name != SETTINGS_NAME:
                record = from_json(ShardRecord, json.loads(path.read_text(encoding="utf-8")))
                self.records[record.info.name] = record
        (self.out / INDEX_NAME).unlink(missing_ok=True)
        write_atomically(folder / SETTINGS_NAME, json.dumps(self.settings))
        write_parquet(self.manifest, self.out / MANIFEST_NAME)

    def sweep(self) -> None:
        """Remove what writers have left that were killed: on a full disk, it is the room that a resume needs."""
        for path in (*self.out.glob(".*.tmp"), *(self.out / PROGRESS_NAME).glob(".*.tmp")):
            path.unlink(missing_ok=True)

    def _index_before(self) -> ShardIndex | None:
        """The index that is there; none if it is damaged: then all is made anew."""
        try:
            return ShardIndex.load(self.out)
        except ShardError:
            return None

    def _is_of_this_source(self) -> bool:
        """Whether manifest.parquet, which has the same bytes for the same clips, is that of this source."""
        with tempfile.TemporaryDirectory() as folder:
            write_parquet(self.manifest, Path(folder) / MANIFEST_NAME)
            now = (Path(folder) / MANIFEST_NAME).read_bytes()
        return (self.out / MANIFEST_NAME).is_file() and (self.out / MANIFEST_NAME).read_bytes() == now

    def _settings_before(self, path: Path) -> dict[str, Any]:
        if path.is_file():
            before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return before
        if index := self._index_before():
            varied = (index.augment, index.augment_copies) if index.augment_copies else ()
            return _settings(index.features, index.shards_config, index.labels, *varied)
        return {}

    def make_shards(self, engine: Engine) -> list[ShardRecord]:
        """Make all shards; where clips were rejected, make those again that must change to be equal in size.

        More than once, if a clip that was good becomes unusable meanwhile.
        """
        stages = chain(["shards"], repeat("equal shards"))
        planned = plan_shards(self.manifest.clips, self.shards)
        records = make_level(planned, self.shards, lambda tasks: self._run(engine, tasks, next(stages)))
        if not records:
            raise TooManyRejectsError(self.rejects.complaint())
        return records

    def _run(self, engine: Engine, tasks: Sequence[ShardTask], stage: str) -> list[ShardRecord]:
        """Records of `tasks`, in order; only what has no valid record yet is computed."""
        maker = ShardMaker(
            out=str(self.out),
            features=self.features,
            shards=self.shards,
            key=json.dumps(self.settings, sort_keys=True),
            augment=self.augment,
            noises=tuple(noise.path for noise in self.noises if "training" in noise.splits),
        )
        keys = [maker.key_of(task) for task in tasks]
        todo = [task for task, key in zip(tasks, keys, strict=True) if not self._is_made(task.name, key)]
        total = sum(len(task.clips) for task in tasks)
        done = total - sum(len(task.clips) for task in todo)
        self.on_progress(Progress(stage=stage, done=done, total=total, unit="clips"))

        def on_done(records: list[ShardRecord]) -> None:
            nonlocal done
            for record in records:
                self.records[record.info.name] = record
                self.rejects.add(record.rejects)
                num_clips = record.info.num_examples + len(record.rejects)
                done, self.num_computed = done + num_clips, self.num_computed + num_clips
            self.on_progress(Progress(stage=stage, done=done, total=total, unit="clips"))
            with _writing(self.out):
                self.rejects.check()

        try:
            engine.map_partitions(maker, group_tasks(todo), on_done)
        except (KeyboardInterrupt, EngineError):
            said = f"{done:,} of {total:,} clips are finished in {self.out}; --resume makes the rest"
            self.on_progress(Progress(stage=stage, done=done, total=total, unit="clips", message=said))
            raise
        records = [self.records[task.name] for task in tasks]
        self.rejects.add(reject for record in records for reject in record.rejects)
        with _writing(self.out):
            self.rejects.write()
            self.rejects.check()
        return records

    def _is_made(self, name: str, key: str) -> bool:
        """Whether there is a record of this shard with these clips, and the file that it speaks of."""
        record, path = self.records.get(name), self.out / name
        return bool(record and record.key == key and path.is_file() and path.stat().st_size == record.info.num_bytes)

    def finish(self, records: Sequence[ShardRecord]) -> ShardIndex:
        """Remove what is not part of the output, and write index.json, the commit mark."""
        index = ShardIndex(
            features=self.features,
            shards_config=self.shards,
            labels=self.manifest.labels,
            manifest=self.manifest_config,
            shards=tuple(record.info for record in records),
            num_rejects=len(self.manifest.clips) - sum(record.info.num_examples for record in records),
            augment=self.augment,
            augment_copies=self.augment_copies,
            noises=self._store_noises() if self.features.kind == "waveform" else (),
        )
        expected = {info.name for info in index.shards}
        with _writing(self.out):
            for path in self.out.iterdir():
                if ".tfrecord" in path.name and path.name not in expected:
                    path.unlink(missing_ok=True)
            self.sweep()
            index.save(self.out)
            shutil.rmtree(self.out / PROGRESS_NAME)
        return index

    def _store_noises(self) -> tuple[NoiseInfo, ...]:
        """Copy the background noise, at the rate of the clips, to where `train` and `evaluate` find it."""
        stored, rate_hz = [], self.features.sample_rate_hz
        shutil.rmtree(self.out / NOISE_NAME, ignore_errors=True)
        for noise in self.noises:
            (recording,) = load_noises((noise.path,), rate_hz, self.features.num_samples)
            samples = to_pcm16(recording)
            data = canonical_header(samples.size, rate_hz) + samples.astype("<i2").tobytes()
            name = f"{NOISE_NAME}/{'-'.join(noise.splits)}/{noise.name}.wav"
            (self.out / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.out / name, data)
            digest = hashlib.sha256(data).hexdigest()
            stored.append(NoiseInfo(name=name, splits=noise.splits, num_bytes=len(data), sha256=digest))
        return tuple(stored)


def _settings(features: FeatureConfig, shards: ShardConfig, labels: Sequence[str], *varied: Any) -> dict[str, Any]:
    settings = {"features": to_json(features), "shards": to_json(shards), "labels": list(labels)}
    return settings | ({"augment": to_json(varied)} if varied else {})
