"""The verb `preprocess`: makes shards from a manifest, through an Engine. Knows nothing of Spark, Ray and TensorFlow.

The driver fixes everything that decides the bytes before an engine starts: the manifest, the settings and the number of
shards. A task makes one shard from its clips. It may run twice, in parallel, or die half-way: the bytes are the same.

    OUT/
      {split}-{i:05d}-of-{n:05d}.tfrecord[.gz]    the shards
      manifest.parquet                            all clips of the source, in order
      rejects.jsonl                               clips that can't be used, with the reason
      noise/{split}/{name}.wav                    waveform shards: background noise for training and evaluation
      dataset_info.json, features.json, label.labels.txt    description of uncompressed shards, for TFDS
      index.json                                  written last: its presence means that all other files are there
      _progress/                                  records of the shards and of their source files, for --resume
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hybridspeech.audio.background_noise import NOISE_FOLDER, Noise, find_noises
from hybridspeech.audio.long_clips import CUT_REMEDY, describe_cut
from hybridspeech.config import (
    NO_AUGMENTATION,
    AugmentConfig,
    EngineConfig,
    FeatureConfig,
    OnProgress,
    Progress,
    silent,
)
from hybridspeech.engines import ENGINES, Engine
from hybridspeech.errors import ConfigError, counted
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.manifest.clips import Manifest
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.exclusions import describe_excluded, read_exclusions, without_excluded
from hybridspeech.manifest.long_recordings import split_long
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.manifest.source_warnings import source_warnings
from hybridspeech.manifest.tables.data_frames import is_location
from hybridspeech.manifest.tasks import add_copies, select_task
from hybridspeech.records import given_fields
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.index import INDEX_NAME, MANIFEST_NAME, PROGRESS_NAME, REJECTS_NAME, ShardIndex
from hybridspeech.shards.job import PreprocessJob
from hybridspeech.shards.plan import choose_num_shards
from hybridspeech.shards.rejects import check_max_rejects
from hybridspeech.shards.tfds import TFDS_NAMES
from hybridspeech.storage.filesystems import untested_note
from hybridspeech.storage.locations import is_url, normalized
from hybridspeech.storage.output import CheckClaim, claim_output
from hybridspeech.training.recipes import resolve_sound

OUTPUT_NAMES = (
    *(INDEX_NAME, MANIFEST_NAME, REJECTS_NAME, *TFDS_NAMES),
    *("*.tfrecord", "*.tfrecord.gz", "noise/*", f"{PROGRESS_NAME}/*"),
)
"""Patterns of the names that this verb writes."""


MARKS = (INDEX_NAME, PROGRESS_NAME)
"""Names that show that a folder is an output of `preprocess`, finished or not."""


@dataclass(frozen=True, kw_only=True)
class PreprocessResult:
    """Result of `preprocess`. `work_s` excludes the start-up of the engine; `splits` holds the number of clips per split.

    `num_ignored` is the number of files of the source that are not audio. `num_long` is the number of clips that were longer
    than the clip duration and were cut, and `cut_s` the duration that was cut off, in seconds.
    """

    out: str
    engine: str
    num_clips: int
    num_rejects: int
    num_ignored: int
    num_long: int
    cut_s: float
    splits: Mapping[str, int]
    num_shards: int
    num_bytes: int
    startup_s: float
    work_s: float
    clips_per_s: float
    digest: str


def preprocess(
    source: str | Path | Any,
    out: str | Path,
    *,
    features: FeatureConfig | None = None,
    manifest: ManifestConfig | None = None,
    shards: ShardConfig | None = None,
    augment: AugmentConfig | None = None,
    augment_copies: int = 0,
    engine: str | Engine = "spark",
    engine_config: EngineConfig | None = None,
    exclude: str | Path | None = None,
    max_rejects: float = math.inf,
    overwrite: bool = False,
    resume: bool = False,
    on_progress: OnProgress = silent,
) -> PreprocessResult:
    """Turn a folder or table of recorded words into shards of features.

    Parameters
    ----------
    source : path or URL of a folder with one folder per word, of a CSV, TSV, JSON lines or Parquet table, or of a published
        data set (see `ManifestConfig.source_format`); or a DataFrame of pandas, Spark, polars or Arrow with such columns
    out : output folder or URL; it must be empty or missing unless `overwrite` or `resume`. Every worker must reach both
    augment : augmentation of the copies; a field that is None has the value of `training.recipes.SOUND`
    augment_copies : number of augmented copies of each training clip (stft, logmel); `train` augments waveform shards itself
    engine : a name in ENGINES, which is started with `engine_config` and stopped at the end; or a started Engine
    exclude : CSV file or URL of clips to leave out, with the columns clip_id and exclude (yes or no); `inspect` writes one
    max_rejects : largest allowed number of unusable clips: a count, or a fraction of all clips if it is less than 1

    Raises
    ------
    ConfigError: a setting is invalid. ManifestError: the source is unusable. OutputExistsError: `out` is not empty.
    TooManyRejectsError: see `max_rejects`. EngineError: the engine failed; `resume` continues. StorageError: a store fails.
    """
    features, manifest, out = features or FeatureConfig(), manifest or ManifestConfig(), normalized(out)
    shards = (shards or ShardConfig()).for_features(features.kind)
    noises = find_noises(source, manifest.seed)
    _check_settings(features, augment, augment_copies, max_rejects)
    augment, augment_notes = _copies_augmentation(augment, augment_copies, noises)
    name, session = _named_session(engine, engine_config)
    recorded, excluded = _recorded(source, manifest, features, noises, exclude)
    found = add_copies(recorded, augment_copies)
    shards = replace(shards, num_shards=shards.num_shards or choose_num_shards(found, features, shards))
    warnings = source_warnings(recorded.clips.names(), manifest, recorded.split_rule)
    notes = (_describe(found, shards), *found.notes, *warnings, *augment_notes, *_untested_notes(source, out))
    for message in notes:
        on_progress(Progress(stage="manifest", message=message))
    job = PreprocessJob(
        out=out,
        manifest=found,
        manifest_config=manifest,
        features=features,
        shards=shards,
        augment=augment,
        augment_copies=augment_copies,
        noises=noises,
        excluded=excluded,
        max_rejects=max_rejects,
        on_progress=on_progress,
    )
    with claim_output(out, marks=MARKS, ours=OUTPUT_NAMES, overwrite=overwrite, resume=resume) as check_claim:
        index, startup_s, work_s = _run(job, name, session, check_claim)
    return _result(job, index, engine=name, startup_s=startup_s, work_s=work_s)


def _recorded(
    source: str | Path,
    config: ManifestConfig,
    features: FeatureConfig,
    noises: Sequence[Noise],
    exclude: str | Path | None,
) -> tuple[Manifest, tuple[str, ...]]:
    """Return the recorded clips of the task, and the ids of those that were left out on request.

    Recordings are left out before clips are drawn for a task; clips that a task or a long recording makes, after it.
    """
    found = read_manifest(source, config)
    exclusions = read_exclusions(normalized(exclude)) if exclude else None
    early: tuple[str, ...] = ()
    if exclusions:
        found, early = without_excluded(found, exclusions)
    found = select_task(found, config, noises)
    if config.on_long == "split":
        found = split_long(found, features.clip_duration_ms)
    if not exclusions:
        return found, ()
    found, late = without_excluded(found, exclusions)
    excluded = tuple(sorted({*early, *late}))
    return replace(found, notes=(*found.notes, describe_excluded(exclusions, excluded))), excluded


def _named_session(engine: str | Engine, config: EngineConfig | None) -> tuple[str, AbstractContextManager[Engine]]:
    """Return the name of the engine, and a context that starts and stops it; a started engine stays open."""
    if isinstance(engine, str):
        return engine, ENGINES.load(engine)(config or EngineConfig())
    return engine.name, nullcontext(engine)


def _untested_notes(source: str | Path | Any, out: str) -> list[str]:
    """Return a note for each kind of URL that was never tested."""
    notes = [
        untested_note(normalized(location)) for location in (source, out) if is_location(location) and is_url(location)
    ]
    return list(dict.fromkeys(note for note in notes if note))


def _run(
    job: PreprocessJob, name: str, session: AbstractContextManager[Engine], check_claim: CheckClaim
) -> tuple[ShardIndex, float, float]:
    """Make what is missing; return the index, and the seconds of start-up and of work."""
    started = ready = time.monotonic()
    try:
        index = job.prepare()
        if index is None:
            job.on_progress(Progress(stage="engine", message=f"starting engine {name}"))
            with _compiling(job.features) as compiled, session as engine:
                compiled.result()
                ready = time.monotonic()
                index = job.finish(job.make_shards(engine), check_claim)
    finally:
        job.sweep()
    return index, ready - started, time.monotonic() - ready


def _result(job: PreprocessJob, index: ShardIndex, *, engine: str, startup_s: float, work_s: float) -> PreprocessResult:
    cuts_s = job.cuts_s(index)
    recorded = counted(job.manifest.clips.num_recorded, "clip")
    if cut := describe_cut(cuts_s, recorded, job.features.clip_duration_ms):
        job.on_progress(Progress(stage="shards", message=f"{cut}; {CUT_REMEDY}"))
    return PreprocessResult(
        out=job.out,
        engine=engine,
        num_clips=index.num_clips,
        num_rejects=index.num_rejects,
        num_ignored=len(job.manifest.ignored),
        num_long=len(cuts_s),
        cut_s=sum(cuts_s),
        splits=index.splits,
        num_shards=len(index.shards),
        num_bytes=index.num_bytes,
        startup_s=startup_s,
        work_s=work_s,
        clips_per_s=job.num_computed / work_s,
        digest=index.digest,
    )


def _check_settings(features: FeatureConfig, augment: AugmentConfig | None, copies: int, max_rejects: float) -> None:
    """Raise ConfigError where a setting is invalid, or settings do not fit together."""
    check_max_rejects(max_rejects)
    if features.kind == "waveform" and copies:
        raise ConfigError(
            f"augment_copies is {copies} for waveforms, which `train` augments in each epoch; leave it out, or use "
            "features logmel or stft"
        )
    if copies < 0 or (augment is not None and given_fields(augment) and copies == 0):
        raise ConfigError(
            f"augment_copies is {copies}; expected 1 or more, with their augmentation (background volume and frequency, "
            "time shift, gain, speed), or neither"
        )


def _copies_augmentation(
    augment: AugmentConfig | None, copies: int, noises: Sequence[Noise]
) -> tuple[AugmentConfig, tuple[str, ...]]:
    """Return the augmentation of the copies, and notes for the user.

    Raises
    ------
    ConfigError: as `resolve_sound`.
    """
    if copies == 0:
        return NO_AUGMENTATION, ()
    has_noise = any("training" in noise.splits for noise in noises)
    note = () if has_noise else (f"there is no SOURCE/{NOISE_FOLDER}: copies are made without background noise",)
    return resolve_sound(augment, has_noise), note


@contextmanager
def _compiling(features: FeatureConfig) -> Iterator[Future[FeatureExtractor]]:
    """Compile the kernel in the driver while the engine starts; worker processes load it from numba's cache.

    Otherwise all workers compile at the same time, each for seconds, on shared cores.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="hybridspeech-compile") as background:
        yield background.submit(FeatureExtractor, features)


def _describe(manifest: Manifest, shards: ShardConfig) -> str:
    splits = ", ".join(f"{count:,} {split}" for split, count in manifest.counts().items() if count)
    ignored = f"; ignored {counted(len(manifest.ignored), 'file')} that are not audio" if manifest.ignored else ""
    return (
        f"{counted(len(manifest.clips), 'clip')} of {counted(len(manifest.labels), 'label')} ({splits}; split rule: "
        f"{manifest.split_rule}), {counted(shards.num_shards or 0, 'shard')} per split{ignored}"
    )
