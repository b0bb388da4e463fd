"""The negatives of `train --negatives`: windows of recordings or of shards, mined with the run that training starts from."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridspeech.audio.recording_windows import consecutive_starts, count_samples, evenly_chosen
from hybridspeech.config import EngineConfig, FeatureConfig, OnProgress, Progress
from hybridspeech.detection.config import NOT_DETECTED, DetectionConfig
from hybridspeech.detection.event_parts import PosteriorMaker, plan_event_parts
from hybridspeech.detection.hard_negatives import Window, cut, hardest_windows
from hybridspeech.detection.listener import window_plan
from hybridspeech.engines import ENGINES
from hybridspeech.errors import AudioError, ConfigError, counted
from hybridspeech.evaluation.audio_files import AudioFile, find_audio_files
from hybridspeech.evaluation.file_predictions import check_finished
from hybridspeech.evaluation.parquet_parts import read_part
from hybridspeech.manifest.config import SILENCE, UNKNOWN
from hybridspeech.processes.resources import num_cores
from hybridspeech.processes.scratch import scratch_folder
from hybridspeech.shards.content import read_checked
from hybridspeech.shards.index import INDEX_NAME, ShardIndex
from hybridspeech.shards.label_counts import count_labels
from hybridspeech.shards.local_copies import fetched_split
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import is_file
from hybridspeech.training.initial_weights import InitialWeights
from hybridspeech.training.negatives import MAX_BYTES, FoundNegatives, Origin
from hybridspeech.training.plan import TrainPlan

DETECTION = DetectionConfig()
"""Distance of the windows that are classified, and least distance of those that are chosen."""


@dataclass(frozen=True, kw_only=True)
class NegativeSource:
    """Where negatives come from, and how many are wanted.

    Parameters
    ----------
    index : of shards; None: `files` are recordings
    start : run whose network chooses the windows of recordings; None: they are evenly spread
    model : "module:function" of its custom network
    count : at most this many
    """

    location: str
    index: ShardIndex | None
    files: Sequence[AudioFile]
    plan: TrainPlan
    start: InitialWeights | None
    model: str | None
    count: int

    def find(self, on_progress: OnProgress) -> FoundNegatives:
        """Find the negatives.

        Raises
        ------
        AudioError: no recording can be read. ShardError: a shard is damaged. ConfigError: there are no windows.
        """
        if self.index:
            found, message = _of_shards(self, self.index)
        elif self.start:
            found, message = _mined(self, self.start, on_progress)
        else:
            found, message = _evenly_spread(self)
        per_batch = counted(self.plan.num_negatives, "window")
        on_progress(Progress(stage="negatives", message=f"negatives: {message}; each batch has {per_batch} more"))
        return found.by_label()


def negative_source(plan: TrainPlan, num_clips: int, model: str | None) -> NegativeSource:
    """Look up the negatives of a new training, without reading sound.

    Parameters
    ----------
    num_clips : clips of the training split, and most negatives

    Raises
    ------
    ConfigError: the run has no label `_unknown_`, there are no recordings, or the shards have no clips for this training.
    ShardError: the shards are not finished, or damaged.
    """
    assert plan.negatives is not None
    location = plan.negatives.source
    if UNKNOWN not in plan.labels:
        raise ConfigError(
            f"negatives have the label {UNKNOWN}, and the shards have no such clips; preprocess with --task "
            f"words:yes,no,...,{UNKNOWN}"
        )
    index = ShardIndex.load(location) if is_file(join(location, INDEX_NAME)) else None
    if index:
        _check_shards(location, index, plan.stored)
    start = plan.init_from
    return NegativeSource(
        location=location,
        index=index,
        files=() if index else sorted(set(find_audio_files([location]))),
        plan=plan,
        start=start if start and start.keeps_head(plan.labels) else None,
        model=model,
        count=min(num_clips, MAX_BYTES // (2 * plan.features.num_samples)),
    )


def _check_shards(location: str, index: ShardIndex, stored: FeatureConfig) -> None:
    given, wanted = (
        (features.kind, features.sample_rate_hz, features.clip_duration_ms) for features in (index.features, stored)
    )
    if given != wanted:
        raise ConfigError(
            f"{location}: holds {given[0]} of {given[1]} Hz and {given[2]:g} ms; negatives need {wanted[0]} of {wanted[1]} Hz "
            f"and {wanted[2]:g} ms, as the training has: preprocess with these settings"
        )


def _of_shards(source: NegativeSource, index: ShardIndex) -> tuple[FoundNegatives, str]:
    """Return evenly spread clips of the training split that are no words of the run."""
    words = {label for label in source.plan.labels if label not in NOT_DETECTED}
    counts = {label: splits.get("training", 0) for label, splits in count_labels(source.location, index).items()}
    total = sum(count for label, count in counts.items() if label not in words)
    if not total:
        raise ConfigError(
            f"{source.location}: all training clips have labels that are words of this run ({', '.join(sorted(words))}); "
            "give shards of other words, or recordings without the words"
        )
    chosen = set(evenly_chosen(total, source.count, source.plan.fit.seed))
    windows, origins, number = list[np.ndarray](), list[Origin](), itertools.count()
    with fetched_split(source.location, "training") as folder:
        for shard in index.of_split("training"):
            for example in read_checked(folder, index, shard):
                label = index.labels[example.label]
                if label not in words and next(number) in chosen:
                    windows.append(example.values)
                    own = label if label in source.plan.labels else UNKNOWN
                    origins.append(Origin(file=example.clip_id, start_s=0.0, label=own))
    left_out = [f"{count:,} of {label}" for label, count in counts.items() if label in words and count]
    note = f"; left out, as words of this run: {', '.join(left_out)}" if left_out else ""
    message = f"{len(windows):,} of {counted(total, 'clip')} of {source.location}{note}"
    return FoundNegatives(windows=np.stack(windows), origins=origins), message


def _mined(source: NegativeSource, start: InitialWeights, on_progress: OnProgress) -> tuple[FoundNegatives, str]:
    """Return the windows in which the network of a run hears a word most clearly."""
    plan = window_plan(start.features, DETECTION)
    suppression = round(DETECTION.suppression_ms * plan.sample_rate_hz / plan.hop / 1000)
    errors, num_windows = dict[str, str](), 0

    def noted(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        nonlocal num_windows
        for row in rows:
            num_windows += len(row["posteriors"]) // (4 * len(start.labels))
            if row["error"] is not None:
                errors[row["path"]] = row["error"]
            yield row

    with scratch_folder() as scratch:
        rows = noted(_posteriors(source, start, scratch, on_progress))
        chosen = hardest_windows(rows, plan, start.labels, suppression, source.count)
    found, notes = _cut(source, chosen, errors)
    scores = [origin.score or 0.0 for origin in found.origins]
    hours = num_windows * plan.hop / plan.sample_rate_hz / 3600
    message = (
        f"mined {counted(len(scores), 'window')} of {hours:.2g} h with {start.run}, probability of a word "
        f"{min(scores):.2f} to {max(scores):.2f}{notes}"
    )
    return found, message


def _posteriors(
    source: NegativeSource, start: InitialWeights, scratch: str, on_progress: OnProgress
) -> Iterator[dict[str, Any]]:
    """Apply the network of a run to all recordings, on the cores of this machine; yield the rows of all segments."""
    parts = plan_event_parts(source.files, window_plan(start.features, DETECTION))
    done, total = 0, sum(part.num_items for part in parts)

    def on_done(results: list[int]) -> None:
        nonlocal done
        done += sum(results)
        on_progress(Progress(stage="negatives", done=done, total=total, unit="segments"))

    num_processes = min(num_cores(), len(parts))
    where = (
        f"{counted(len(source.files), 'recording')} with {start.run} ({counted(num_processes, 'process', 'processes')})"
    )
    on_progress(Progress(stage="negatives", message=f"looking for words in {where}"))
    maker = PosteriorMaker(
        run=start.run,
        key=check_finished(start.run, source.model),
        model=source.model,
        detection=DETECTION,
        folder=scratch,
        num_threads=1 if num_processes > 1 else 0,
    )
    with ENGINES.load("local")(EngineConfig(executor_cores=num_processes)) as engine:
        engine.map_partitions(maker, [[part] for part in parts], on_done)
    for part in parts:
        yield from read_part(scratch, part.name).to_pylist()


def _evenly_spread(source: NegativeSource) -> tuple[FoundNegatives, str]:
    """Return windows that are evenly spread over all recordings."""
    rate_hz, length = source.plan.features.sample_rate_hz, source.plan.features.num_samples
    places, errors, num_samples = list[tuple[AudioFile, int]](), dict[str, str](), 0
    for file in source.files:
        try:
            of_file = count_samples(file.path, rate_hz)
        except AudioError as error:
            errors[file.path] = str(error)
            continue
        places += [(file, start) for start in consecutive_starts(of_file, length)]
        num_samples += of_file
    numbers = evenly_chosen(len(places), source.count, source.plan.fit.seed)
    chosen = [Window(file=places[number][0], start=places[number][1], label=UNKNOWN) for number in numbers]
    found, notes = _cut(source, chosen, errors)
    hours = num_samples / rate_hz / 3600
    other = source.plan.init_from
    why = f"{other.run} has other labels" if other else "without --init-from"
    return found, f"{counted(len(found.origins), 'window')}, evenly spread over {hours:.2g} h ({why}){notes}"


def _cut(source: NegativeSource, chosen: Sequence[Window], errors: dict[str, str]) -> tuple[FoundNegatives, str]:
    """Return the chosen windows, and a note on the recordings that can't be used.

    Raises
    ------
    AudioError: no window can be read.
    """
    features, labels = source.plan.features, source.plan.labels
    sound, kept, more = cut(chosen, features.num_samples, features.sample_rate_hz)
    errors = {**errors, **more}
    if not kept:
        first = next(iter(errors.values()), "there are no samples")
        raise AudioError("unusable", f"{source.location}: no recording can be read: {first}")
    origins = [
        Origin(
            file=window.file.clip_id,
            start_s=window.start / features.sample_rate_hz,
            label=window.label if SILENCE not in labels or wave.any() else SILENCE,
            score=window.score,
        )
        for window, wave in zip(kept, sound, strict=True)
    ]
    note = ""
    if errors:
        noun = counted(len(errors), "recording")
        note = f"; {noun} can't be read to the end: {next(iter(errors.values()))}"
    return FoundNegatives(windows=sound, origins=origins), note
