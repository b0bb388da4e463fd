"""The driver's part of preprocessing: resume, rounds of tasks, and the files beside the shards.

By the records in OUT/_progress, a resume knows which shards are finished. Knows nothing of Spark, Ray and TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hybridspeech.audio.background_noise import Noise, load_noises
from hybridspeech.audio.containers import canonical_header
from hybridspeech.audio.pcm import to_pcm16
from hybridspeech.config import AugmentConfig, FeatureConfig, OnProgress, Progress
from hybridspeech.errors import ConfigError, EngineError, ShardError, TooManyRejectsError
from hybridspeech.manifest.clips import Manifest
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.parquet import to_parquet
from hybridspeech.records import to_json
from hybridspeech.shards.checksums import checksum_of
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.encoding import ShardRecord, make_balanced, read_ahead
from hybridspeech.shards.finished_shards import NOTHING, FinishedShard, SourceVersions, read_records
from hybridspeech.shards.index import (
    FORMAT_VERSION,
    INDEX_NAME,
    MANIFEST_NAME,
    PROGRESS_NAME,
    REJECTS_NAME,
    NoiseInfo,
    ShardIndex,
)
from hybridspeech.shards.label_counts import read_rejects
from hybridspeech.shards.plan import ShardTask, group_tasks, plan_shards
from hybridspeech.shards.rejects import Rejects
from hybridspeech.shards.shared_storage import SharedStorage, probed_storage, wait_until_complete
from hybridspeech.shards.sources import file_versions, with_versions
from hybridspeech.shards.tfds import TFDS_NAMES
from hybridspeech.shards.worker import ShardMaker, hash_or_reason
from hybridspeech.shards.write_errors import translate_write_errors
from hybridspeech.storage.locations import is_url, join, normalized, parent_and_name
from hybridspeech.storage.objects import (
    delete_below,
    delete_files,
    is_file,
    list_files,
    list_names,
    make_folder,
    read_bytes,
    write_bytes,
)

NOISE_NAME = "noise"
SETTINGS_NAME = "settings.json"


class Engine(Protocol):
    """Runs a function on partitions; `hybridspeech.engines.Engine` documents it."""

    @property
    def parallelism(self) -> int:
        """Number of partitions that run at the same time."""
        ...

    def map_partitions(
        self,
        function: Callable[[Sequence[ShardTask]], list[ShardRecord]],
        partitions: Sequence[Sequence[ShardTask]],
        on_done: Callable[[list[ShardRecord]], None] | None = None,
    ) -> list[list[ShardRecord]]:
        """Return ``[function(partition) for partition in partitions]``, and call `on_done` with each result as it is known."""
        ...


@dataclass(kw_only=True)
class PreprocessJob:
    """One run of preprocessing: its settings, and the records of the shards that are finished."""

    out: str
    manifest: Manifest
    manifest_config: ManifestConfig = field(default_factory=ManifestConfig)
    features: FeatureConfig
    shards: ShardConfig
    augment: AugmentConfig
    augment_copies: int
    noises: tuple[Noise, ...]
    excluded: tuple[str, ...] = ()
    max_rejects: float
    on_progress: OnProgress
    num_computed: int = 0
    finished: dict[str, FinishedShard] = field(default_factory=dict)  # by shard name
    rejects: Rejects = field(init=False)
    noise_versions: dict[str, str] = field(init=False)  # by path

    def __post_init__(self) -> None:
        self.manifest = replace(self.manifest, clips=with_versions(self.manifest.clips))
        self.noise_versions = file_versions({noise.path for noise in self.noises})
        self.rejects = Rejects(
            join(self.out, REJECTS_NAME),
            num_clips=len(self.manifest.clips),
            max_rejects=self.max_rejects,
            advice="--resume",
        )

    @property
    def settings(self) -> dict[str, Any]:
        """All settings that decide the bytes of the output, apart from the clips."""
        augment = (self.augment.digested, self.augment_copies) if self.augment_copies else ()
        return _settings(self.features, self.shards, self.manifest.labels, self.manifest_config.on_long, *augment)

    def prepare(self) -> ShardIndex | None:
        """Create the progress folder or read the records in it; return the index if the output is complete and unchanged.

        Raises
        ------
        ConfigError: the output was made with other settings. ShardError: its settings can't be read.
        """
        folder = join(self.out, PROGRESS_NAME)
        before = self._settings_before(join(folder, SETTINGS_NAME))
        names = {*self.settings, *before}
        changed = sorted(name for name in names if before and before.get(name) != self.settings.get(name))
        if changed:
            raise ConfigError(
                f"{self.out}: the shards there were made with other {' and '.join(changed)}; resume with the same "
                f"settings, or start again with --overwrite"
            )
        index = self._index_before()
        self.finished = {shard.record.info.name: shard for shard in self._read_finished(folder)}
        self._report_changes(index)
        if index and not index.incomplete(self.out) and self._is_of_this_source() and self._is_unchanged(index):
            with translate_write_errors(self.out):
                index.save_tfds_files(self.out)
            return index
        self.sweep()
        with translate_write_errors(self.out):
            self._mark_unfinished(folder)
        return None

    def _mark_unfinished(self, folder: str) -> None:
        make_folder(folder)
        delete_files([join(self.out, INDEX_NAME)])
        delete_files(join(self.out, name) for name in TFDS_NAMES)
        write_bytes(join(folder, SETTINGS_NAME), json.dumps(self.settings))
        write_bytes(join(self.out, MANIFEST_NAME), to_parquet(self.manifest))

    def sweep(self) -> None:
        """Remove the temporary files of killed writers: on a full disk, a resume needs their space."""
        if not is_url(self.out):
            for path in (*Path(self.out).glob(".*.tmp"), *Path(self.out, PROGRESS_NAME).glob(".*.tmp")):
                path.unlink(missing_ok=True)

    def _index_before(self) -> ShardIndex | None:
        """Return the index of the output; None if it is missing or damaged: then all shards are made again."""
        try:
            return ShardIndex.load(self.out)
        except ShardError:
            return None

    def _is_of_this_source(self) -> bool:
        """Tell whether manifest.parquet, which has the same bytes for the same clips, belongs to this source."""
        path = join(self.out, MANIFEST_NAME)
        return is_file(path) and read_bytes(path) == to_parquet(self.manifest)

    def _read_finished(self, folder: str) -> Iterator[FinishedShard]:
        """Read the records in the progress folder, one after the other: all of them do not fit into memory."""
        versions: SourceVersions | None = None
        for record in read_records(folder):
            versions = versions or SourceVersions(self.manifest.clips, self.noise_versions)
            yield versions.finished(record)

    def _is_unchanged(self, index: ShardIndex) -> bool:
        """Tell whether every shard of the index was made from the present source files."""
        shards = [self.finished.get(shard.name) for shard in index.shards]
        is_current = all(
            shard
            and shard.record.info == info
            and shard.num_sources >= info.num_examples
            and self._has_versions_of_now(shard)
            for shard, info in zip(shards, index.shards, strict=True)
        )
        is_current = is_current and index.excluded == self.excluded
        return is_current and self._has_same_noises(index) and self._has_same_rejects()

    def _has_versions_of_now(self, shard: FinishedShard) -> bool:
        return shard.record.source == self._source and not len(shard.changed) and shard.has_current_noises

    @cached_property
    def _source(self) -> str:
        """The folder or URL of the clips."""
        if self.manifest.folder:
            return self.manifest.folder
        place = normalized(self.manifest.source)
        return parent_and_name(place)[0] if is_file(place) else place

    def _report_changes(self, index: ShardIndex | None) -> None:
        if index and index.format_version != FORMAT_VERSION:
            message = f"{self.out} has format version {index.format_version}: making all shards again"
            self.on_progress(Progress(stage="manifest", message=message))
            return
        shards = self.finished.values()
        moved = sorted({shard.record.source for shard in shards if shard.num_sources} - {self._source})
        if moved:
            message = f"the shards in {self.out} were made from {moved[0]}: reading all clips again"
            self.on_progress(Progress(stage="manifest", message=message))
            return
        num_changed = len(np.unique(np.concatenate([NOTHING, *(shard.changed for shard in shards)])))
        if num_changed:
            are = "source file has" if num_changed == 1 else "source files have"
            message = f"{num_changed:,} {are} another size or time than in {self.out}: reading again"
            self.on_progress(Progress(stage="manifest", message=message))

    def _has_same_rejects(self) -> bool:
        """Read the rejects again: the records of finished shards do not contain all of them."""
        try:
            before = read_rejects(self.out)
        except ShardError:
            return False
        clips = list(self.manifest.clips.with_ids(before))
        read = read_ahead(clips, self.features, self.manifest_config.on_long)
        return all(hash_or_reason(read, clip) == before[clip.clip_id] for clip in clips)

    def _has_same_noises(self, index: ShardIndex) -> bool:
        return self.features.kind != "waveform" or index.noises == tuple(info for info, _ in self._stored_noises())

    def _settings_before(self, path: str) -> dict[str, Any]:
        if is_file(path):
            try:
                before = json.loads(read_bytes(path))
            except (ValueError, RecursionError):
                before = None
            if not isinstance(before, dict):
                raise ShardError(f"{path}: is damaged; start again with --overwrite")
            return before
        if index := self._index_before():
            augment = (index.augment.digested, index.augment_copies) if index.augment_copies else ()
            return _settings(index.features, index.shards_config, index.labels, index.manifest.on_long, *augment)
        return {}

    def make_shards(self, engine: Engine) -> list[ShardRecord]:
        """Make all shards; after rejects, make those again whose clips change so that the shards of a split are equal in size.

        Raises
        ------
        TooManyRejectsError: no clip can be used, or more clips were rejected than allowed.
        EngineError: the engine failed. ShardError: the output can't be written. ConfigError: a worker does not share the
        storage of the driver.
        """
        stages = chain(["shards"], repeat("equal shards"))
        planned = plan_shards(self.manifest.clips, self.shards)
        with probed_storage(self.out, self.manifest.clips) as storage:
            make = partial(self._run, engine, storage)
            records = make_balanced(planned, self.shards, lambda tasks: make(tasks, next(stages)))
        if not records:
            raise TooManyRejectsError(self.rejects.summary())
        return records

    def _run(self, engine: Engine, storage: SharedStorage, tasks: Sequence[ShardTask], stage: str) -> list[ShardRecord]:
        """Return the records of `tasks`, in order; make only the shards without a valid record."""
        maker = ShardMaker(
            out=self.out,
            features=self.features,
            shards=self.shards,
            key=json.dumps(self.settings, sort_keys=True),
            augment=self.augment,
            source=self._source,
            on_long=self.manifest_config.on_long,
            storage=storage,
            noises=tuple((n.path, self.noise_versions[n.path]) for n in self.noises if "training" in n.splits),
        )
        sizes = {stat.name: stat.num_bytes for stat in list_files(self.out)}
        todo = [state for task in tasks if (state := self._if_unfinished(task, maker, sizes))]
        rechecked = {task.name for task in todo if task.may_be_unchanged}
        total = sum(len(task.clips) for task in tasks)
        done = total - sum(len(task.clips) for task in todo)
        self.on_progress(Progress(stage=stage, done=done, total=total, unit="clips"))

        def on_done(records: list[ShardRecord]) -> None:
            nonlocal done
            for record in records:
                before = self.finished.get(record.info.name)
                num_clips = record.info.num_examples + len(record.rejects)
                self.finished[record.info.name] = FinishedShard(record=record, num_sources=num_clips)
                self.rejects.add(record.rejects)
                done += num_clips
                is_unchanged = (
                    record.info.name in rechecked and before is not None and before.record.info == record.info
                )
                self.num_computed += 0 if is_unchanged else num_clips
            self.on_progress(Progress(stage=stage, done=done, total=total, unit="clips"))
            with translate_write_errors(self.out):
                self.rejects.check()

        self._delete_stale_records(todo)
        groups = group_tasks(todo, engine.parallelism)
        try:
            engine.map_partitions(maker, groups, on_done)
        except (KeyboardInterrupt, EngineError):
            message = f"{done:,} of {total:,} clips are finished in {self.out}; --resume makes the rest"
            self.on_progress(Progress(stage=stage, done=done, total=total, unit="clips", message=message))
            raise
        records = [self.finished[task.name].record for task in tasks]
        self.rejects.add(reject for record in records for reject in record.rejects)
        with translate_write_errors(self.out):
            self.rejects.write()
            self.rejects.check()
        return records

    def _delete_stale_records(self, todo: Sequence[ShardTask]) -> None:
        """Remove the records of shards that are made again with other clips: they are no longer true."""
        stale = [task.name for task in todo if task.name in self.finished and not task.may_be_unchanged]
        delete_files(join(self.out, PROGRESS_NAME, f"{name}.json") for name in stale)

    def _if_unfinished(self, task: ShardTask, maker: ShardMaker, sizes: Mapping[str, int]) -> ShardTask | None:
        """Return the task, unless the shard exists with a record of these clips in their present versions."""
        shard = self.finished.get(task.name)
        if shard is None or not shard.num_sources or sizes.get(task.name) != shard.record.info.num_bytes:
            return task
        if shard.record.key != maker.key_of(task):
            return task
        return None if self._has_versions_of_now(shard) else replace(task, may_be_unchanged=True)

    def cuts_s(self, index: ShardIndex) -> list[float]:
        """Return the duration, in seconds, that was cut off each clip that is longer than the clip duration."""
        shards = [self.finished[shard.name] for shard in index.shards if shard.name in self.finished]
        return [cut_s for shard in shards for cut_s in shard.record.cuts_s.values()]

    def finish(self, records: Sequence[ShardRecord], check_claim: Callable[[], None] = lambda: None) -> ShardIndex:
        """Remove files that are not part of the output, and write index.json, the commit mark.

        Parameters
        ----------
        check_claim : raises if the output is no longer this job's

        Raises
        ------
        ShardError: the driver does not see all shards, or the output can't be written.
        """
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
            excluded=self.excluded,
        )
        expected = {info.name for info in index.shards}
        with translate_write_errors(self.out):
            extra = [name for name in list_names(self.out) if ".tfrecord" in name and name not in expected]
            delete_files(join(self.out, name) for name in extra)
            self.sweep()
            old = [name for name in self.finished if name not in expected]
            delete_files(join(self.out, PROGRESS_NAME, f"{name}.json") for name in old)
            wait_until_complete(index, records, self.out)
            check_claim()
            index.save_tfds_files(self.out)
            index.save(self.out)
        return index

    def _store_noises(self) -> tuple[NoiseInfo, ...]:
        """Copy the background noise, at the sample rate of the clips, into the output, for `train` and `evaluate`."""
        delete_below(join(self.out, NOISE_NAME))
        infos = []
        for info, data in self._stored_noises():
            make_folder(parent_and_name(join(self.out, info.name))[0])
            write_bytes(join(self.out, info.name), data)
            infos.append(info)
        return tuple(infos)

    def _stored_noises(self) -> Iterator[tuple[NoiseInfo, bytes]]:
        rate_hz, num_samples = self.features.sample_rate_hz, self.features.num_samples
        for noise in self.noises:
            (recording,) = load_noises((noise.path,), rate_hz, num_samples, (self.noise_versions[noise.path],))
            samples = to_pcm16(recording)
            data = canonical_header(samples.size, rate_hz) + samples.astype("<i2").tobytes()
            name = f"{NOISE_NAME}/{'-'.join(noise.splits)}/{noise.name}.wav"
            yield NoiseInfo(name=name, splits=noise.splits, num_bytes=len(data), checksum=checksum_of(data)), data


def _settings(
    features: FeatureConfig, shards: ShardConfig, labels: Sequence[str], on_long: str, *augment: Any
) -> dict[str, Any]:
    settings = {"features": to_json(features), "shards": to_json(shards), "labels": list(labels)}
    if on_long != "cut":  # outputs of earlier versions were made with "cut", and can be resumed
        settings["on_long"] = on_long
    return settings | ({"augment": to_json(augment)} if augment else {})
