"""The verb `preprocess`: manifest -> shards, through an Engine. Knows nothing of Spark, Ray and TensorFlow.

What decides every byte is fixed on the driver before an engine starts: the manifest, the settings and the number of
shards. A task makes one shard from its clips. It may run twice, at once, or die half-way: the bytes are the same.

    OUT/
      {split}-{i:05d}-of-{n:05d}.tfrecord[.gz]    the shards
      manifest.parquet                            all clips of the source, in order
      rejects.jsonl                               clips that could not be used, with the reason
      noise/{split}/{name}.wav                    waveform shards: background noise for training and evaluation
      index.json                                  written last: its presence means that all the rest is there
      _progress/                                  records of finished shards, for --resume; gone once index.json is there
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.audio import load_decoder
from hybridspeech.augment import Augmenter
from hybridspeech.config import (
    AugmentConfig,
    EngineConfig,
    FeatureConfig,
    ManifestConfig,
    OnProgress,
    Progress,
    ShardConfig,
    from_json,
    silent,
    to_json,
)
from hybridspeech.containers import canonical_header
from hybridspeech.engines import ENGINES, Engine
from hybridspeech.errors import ConfigError, EngineError, ShardError, TooManyRejectsError
from hybridspeech.features import FeatureExtractor
from hybridspeech.making import Reject, ShardRecord, encode_clips, make_level, read_wave
from hybridspeech.manifest import Clip, Manifest, read_manifest, write_parquet
from hybridspeech.noise import NOISE_FOLDER, Noise, find_noises, load_noises
from hybridspeech.output import claim_output
from hybridspeech.recipes import SOUND
from hybridspeech.records import to_pcm16
from hybridspeech.runs import write_atomically
from hybridspeech.sharding import ShardTask, choose_num_shards, group_tasks, plan_shards
from hybridspeech.shards import INDEX_NAME, MANIFEST_NAME, REJECTS_NAME, NoiseInfo, ShardIndex, ShardWriter
from hybridspeech.tasks import add_copies, select_task

NOISE_NAME = "noise"
PROGRESS_NAME = "_progress"
SETTINGS_NAME = "settings.json"


@dataclass(frozen=True, kw_only=True)
class PreprocessResult:
    """What `preprocess` made. `work_s` is without the engine's start-up; `splits` counts clips.

    `num_ignored` are the files of the source that are not audio.
    """

    out: str
    engine: str
    num_clips: int
    num_rejects: int
    num_ignored: int
    splits: Mapping[str, int]
    num_shards: int
    num_bytes: int
    startup_s: float
    work_s: float
    clips_per_s: float
    digest: str


@dataclass(frozen=True, kw_only=True)
class ShardMaker:
    """What every task needs. Called by the engine with a few ShardTasks a partition; picklable; imports no TensorFlow."""

    out: str
    features: FeatureConfig
    shards: ShardConfig
    key: str
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    noises: tuple[str, ...] = ()

    def __call__(self, _: int, tasks: Sequence[ShardTask]) -> list[ShardRecord]:
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


def preprocess(
    source: str | Path,
    out: str | Path,
    *,
    features: FeatureConfig | None = None,
    manifest: ManifestConfig | None = None,
    shards: ShardConfig | None = None,
    augment: AugmentConfig | None = None,
    augment_copies: int = 0,
    engine: str | Engine = "spark",
    engine_config: EngineConfig | None = None,
    max_rejects: float = math.inf,
    overwrite: bool = False,
    resume: bool = False,
    on_progress: OnProgress = silent,
) -> PreprocessResult:
    """Turn a folder (or table) of recorded words into spectrogram shards.

    Parameters
    ----------
    source : a folder with one folder per word, or a CSV, JSON lines or Parquet table with `path` and `label`
    out : folder to make; it must be empty unless `overwrite` or `resume`
    augment, augment_copies : make so many varied copies of each training clip besides it (stft and logmel). Waveform
        shards are varied anew in each epoch of `train`
    engine : a name in ENGINES, opened with `engine_config` and closed at the end; or an entered Engine, left open
    max_rejects : how many clips may be unusable: a count, or a fraction of all clips if it is less than 1

    Raises
    ------
    ConfigError: a setting can't work. ManifestError: the source is not what was promised. OutputExistsError: `out` is
    not empty. TooManyRejectsError. EngineError: the engine failed; what is finished stays for `resume`.
    """
    if math.isnan(max_rejects) or max_rejects < 0:
        raise ConfigError(f"max_rejects is {max_rejects}; expected a count, or a fraction below 1")
    features, manifest, out = features or FeatureConfig(), manifest or ManifestConfig(), Path(out).absolute()
    shards = shards or ShardConfig.of(features.kind)
    noises = find_noises(source, manifest.seed)
    _check_settings(features, shards, augment, augment_copies)
    augment, lacking = _settle(augment, augment_copies, noises)
    session = ENGINES.load(engine)(engine_config or EngineConfig()) if isinstance(engine, str) else nullcontext(engine)
    found = add_copies(select_task(read_manifest(source, manifest), manifest, noises), augment_copies)
    shards = replace(shards, num_shards=shards.num_shards or choose_num_shards(found, features, shards))
    for message in (_describe(found, shards), *found.notes, *lacking):
        on_progress(Progress(stage="manifest", message=message))
    job = _Job(
        out=out,
        manifest=found,
        features=features,
        shards=shards,
        augment=augment.of_sound,
        augment_copies=augment_copies,
        noises=noises,
        max_rejects=max_rejects,
        on_progress=on_progress,
    )
    name = engine if isinstance(engine, str) else engine.name
    with claim_output(out, marks=(INDEX_NAME, PROGRESS_NAME), overwrite=overwrite, resume=resume):
        started = ready = time.monotonic()
        try:
            index = job.prepare()
            if index is None:
                on_progress(Progress(stage="engine", message=f"starting engine {name}"))
                with _compiling(features) as compiled, session as opened:
                    compiled.result()
                    ready = time.monotonic()
                    index = job.finish(job.make_shards(opened))
        finally:
            job.sweep()
        work_s = time.monotonic() - ready
    return PreprocessResult(
        out=str(out),
        engine=name,
        num_clips=index.num_clips,
        num_rejects=index.num_rejects,
        num_ignored=len(found.ignored),
        splits=index.splits,
        num_shards=len(index.shards),
        num_bytes=index.num_bytes,
        startup_s=ready - started,
        work_s=work_s,
        clips_per_s=job.num_computed / work_s,
        digest=index.digest,
    )


def _check_settings(features: FeatureConfig, shards: ShardConfig, augment: AugmentConfig | None, copies: int) -> None:
    """Raises ConfigError where the settings do not go together."""
    is_sound = features.kind == "waveform"
    if is_sound != (shards.dtype == "int16"):
        expected = "int16" if is_sound else "float32 or float16"
        raise ConfigError(f"dtype is {shards.dtype} for features {features.kind!r}; expected {expected}")
    if is_sound and copies:
        raise ConfigError(
            f"augment_copies is {copies} for waveforms, which `train` varies anew in each epoch; leave it out, or use "
            "features logmel or stft"
        )
    if copies < 0 or (augment is not None and copies == 0):
        raise ConfigError(
            f"augment_copies is {copies}; expected 1 or more, with what varies them (background volume and frequency, time "
            "shift, gain, speed), or neither"
        )


def _settle(
    augment: AugmentConfig | None, copies: int, noises: Sequence[Noise]
) -> tuple[AugmentConfig, tuple[str, ...]]:
    """How copies are varied, and what is worth saying about it.

    Raises
    ------
    ConfigError: noise was asked for, and the source has none for training.
    """
    if copies == 0 or any("training" in noise.splits for noise in noises):
        return augment or (SOUND if copies else AugmentConfig()), ()
    if augment and augment.needs_noise:
        raise ConfigError(
            f"background noise was asked for, and the source has none; put recordings of it (1 s or longer) into "
            f"SOURCE/{NOISE_FOLDER}, or set background_volume to 0"
        )
    quiet = replace(augment or SOUND, background_volume=0.0, background_frequency=0.0)
    return quiet, (f"there is no SOURCE/{NOISE_FOLDER}: copies are made without background noise",)


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Say of a file of the output that can't be written where it was to be, and what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ShardError(f"{out}: can't be written: {reason}; free space there, then --resume") from error


@contextmanager
def _compiling(features: FeatureConfig) -> Iterator[Future[FeatureExtractor]]:
    """Compile the kernel here, while the engine starts; worker processes find it in numba's cache.

    Two workers that compiled at once would take seconds each from the cores that they share.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="hybridspeech-compile") as background:
        yield background.submit(FeatureExtractor, features)


def _describe(manifest: Manifest, shards: ShardConfig) -> str:
    splits = ", ".join(f"{count:,} {split}" for split, count in manifest.counts().items() if count)
    ignored = f"; {len(manifest.ignored):,} files are not audio and were left out" if manifest.ignored else ""
    return (
        f"{len(manifest.clips):,} clips of {len(manifest.labels)} words ({splits}; split rule: {manifest.split_rule}), "
        f"{shards.num_shards} shards a split{ignored}"
    )


@dataclass(kw_only=True)
class _Job:
    """One run of the verb: what is to be made, and what is there already."""

    out: Path
    manifest: Manifest
    features: FeatureConfig
    shards: ShardConfig
    augment: AugmentConfig
    augment_copies: int
    noises: tuple[Noise, ...]
    max_rejects: float
    on_progress: OnProgress
    num_computed: int = 0
    records: dict[str, ShardRecord] = field(default_factory=dict)  # by shard name
    rejects: dict[str, Reject] = field(default_factory=dict)

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
            raise TooManyRejectsError(self._complain())
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

        def on_done(records: Sequence[ShardRecord]) -> None:
            nonlocal done
            for record in records:
                self.records[record.info.name] = record
                self._reject(record.rejects)
                num_clips = record.info.num_examples + len(record.rejects)
                done, self.num_computed = done + num_clips, self.num_computed + num_clips
            self.on_progress(Progress(stage=stage, done=done, total=total, unit="clips"))
            self._check_rejects()

        try:
            engine.map_partitions(maker, group_tasks(todo), on_done)
        except (KeyboardInterrupt, EngineError):
            said = f"{done:,} of {total:,} clips are finished in {self.out}; --resume makes the rest"
            self.on_progress(Progress(stage=stage, done=done, total=total, unit="clips", message=said))
            raise
        records = [self.records[task.name] for task in tasks]
        self._reject([reject for record in records for reject in record.rejects])
        self._write_rejects()
        self._check_rejects()
        return records

    def _is_made(self, name: str, key: str) -> bool:
        """Whether there is a record of this shard with these clips, and the file that it speaks of."""
        record, path = self.records.get(name), self.out / name
        return bool(record and record.key == key and path.is_file() and path.stat().st_size == record.info.num_bytes)

    def _reject(self, rejects: Sequence[Reject]) -> None:
        self.rejects |= {reject.clip_id: reject for reject in rejects}

    def _check_rejects(self) -> None:
        allowed = self.max_rejects * (len(self.manifest.clips) if self.max_rejects < 1 else 1)
        if len(self.rejects) > allowed:
            self._write_rejects()
            raise TooManyRejectsError(self._complain())

    def _complain(self) -> str:
        first = next(iter(self.rejects.values()))
        return (
            f"{len(self.rejects):,} of {len(self.manifest.clips):,} clips could not be used (max_rejects is "
            f"{self.max_rejects:g}); the first: {first.clip_id}: {first.reason}: {first.detail}; all are in "
            f"{self.out / REJECTS_NAME}; mend or remove the files, then --resume"
        )

    def _write_rejects(self) -> None:
        lines = [json.dumps(to_json(reject)) + "\n" for _, reject in sorted(self.rejects.items())]
        with _writing(self.out):
            write_atomically(self.out / REJECTS_NAME, "".join(lines))

    def finish(self, records: Sequence[ShardRecord]) -> ShardIndex:
        """Remove what is not part of the output, and write index.json, the commit mark."""
        index = ShardIndex(
            features=self.features,
            shards_config=self.shards,
            labels=self.manifest.labels,
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
