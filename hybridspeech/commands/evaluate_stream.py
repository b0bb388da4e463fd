"""`evaluate --stream`: misses against false accepts per hour in continuous sound, and the thresholds of a run.

The sound is made of the clips of waveform shards: with the words of the run, and without them. Thresholds are chosen on the
validation split, measured on the testing split, and stored in the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hybridspeech.audio.background_noise import load_noises
from hybridspeech.config import OnProgress, Progress, silent
from hybridspeech.detection.config import NOT_DETECTED, DetectionConfig, Thresholds
from hybridspeech.detection.listener import Posteriors, WindowPlan, window_plan
from hybridspeech.detection.stream_metrics import StreamPosteriors, Sweep, choose_threshold, sweep
from hybridspeech.detection.stream_result import (
    StreamCondition,
    StreamResult,
    stream_condition,
    stream_result,
    write_stream_files,
)
from hybridspeech.detection.stream_sound import SpokenWord, StreamClips, StreamSettings, shuffled, stream_pieces
from hybridspeech.detection.threshold_file import StoredThresholds, store_thresholds
from hybridspeech.errors import ConfigError
from hybridspeech.evaluation.file_predictions import TrainedRun, load_run
from hybridspeech.evaluation.recordings import read_recordings
from hybridspeech.evaluation.robustness import split_noises
from hybridspeech.evaluation.shard_checks import check_fit, check_sound
from hybridspeech.manifest.config import UNKNOWN
from hybridspeech.records import check
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.local_copies import fetched_split
from hybridspeech.storage.copies import fetched, uploaded
from hybridspeech.storage.locations import join, refuse_urls
from hybridspeech.training.run_directory import FINISHED_RUN_NAMES, RunDirectory

CHOSEN_ON, MEASURED_ON = "validation", "testing"
_Sweeps = Mapping[str, Mapping[float | None, Sweep]]
"""Measurements by split, and by signal-to-noise ratio in dB; None: no noise was added."""


def evaluate_stream(
    run: str | Path,
    shards: str | Path,
    *,
    hours: float = 0.5,
    snr_db: float = 10.0,
    target_fa_per_hour: float = 1.0,
    seed: int = 0,
    detection: DetectionConfig | None = None,
    out: str | Path | None = None,
    report: str | Path | None = None,
    model: str | None = None,
    on_progress: OnProgress = silent,
) -> StreamResult:
    """Measure misses and false accepts in continuous sound, choose a threshold and store it in the run.

    The sound is measured twice: as recorded, and with background noise. Each time, all target words of a split are spoken once,
    in random order, with other words between them and over them; the false accepts are counted in `hours` of sound without
    target words. The threshold is the lowest one that keeps to `target_fa_per_hour` on the validation split, in both
    conditions together; all labels have the same.

    Parameters
    ----------
    run : run directory of a finished training; a local path or a URL, as `shards` and `out`
    shards : folder of waveforms, with the labels of the run and clips of _unknown_
    hours : duration of the sound without target words, of each split and condition
    snr_db : level of the noise below the median power of the clips, in dB
    target_fa_per_hour : highest number of false accepts per hour, of all labels together, on the validation split
    seed : of the sound
    detection : settings of windows and decoder, which are stored too; None: the defaults
    out : folder for the files; None: RUN/evaluation-stream
    report : HTML file for a self-contained report
    model : "module:function" of a custom network, which is imported only if it is named here

    Raises
    ------
    RunError: the run is not finished. ShardError: there are no shards, or they are damaged. ConfigError: run and shards do not
    fit, the shards hold no waveforms or no clips of _unknown_, or a setting is invalid.
    """
    check(0 < hours <= 10_000, f"hours is {hours}; expected more than 0")
    check(target_fa_per_hour > 0, f"target_fa_per_hour is {target_fa_per_hour}; expected more than 0")
    refuse_urls(report=report)
    place = str(out) if out else join(run, "evaluation-stream")
    detection = detection or DetectionConfig()
    with ExitStack() as stack:
        local_run = stack.enter_context(fetched(run, *FINISHED_RUN_NAMES))
        plan = RunDirectory(local_run).require_finished(model)
        sources = {}
        for split in (CHOSEN_ON, MEASURED_ON):
            folder = stack.enter_context(fetched_split(shards, split))
            index = ShardIndex.load(folder)
            check_fit(plan, index, split, Path(local_run), Path(folder))
            sources[split] = _read(Path(folder), index, split)
        on_progress(Progress(stage="start", message="importing TensorFlow and loading the network"))
        trained = load_run(local_run, model)
        measuring = _Measuring(trained=trained, detection=detection, hours=hours, seed=seed, on_progress=on_progress)
        swept = measuring.sweeps(sources, snr_db)
        threshold = choose_threshold(list(swept[CHOSEN_ON].values()), target_fa_per_hour)
        conditions = _conditions(swept, threshold, sources[MEASURED_ON])
        warnings = _warnings(swept, target_fa_per_hour)
        result = stream_result(run, place, threshold, target_fa_per_hour, conditions, warnings)
        write_stream_files(result, stack.enter_context(uploaded(place)), report)
    stored = StoredThresholds(
        thresholds=Thresholds(default=threshold),
        detection=detection,
        target_fa_per_hour=target_fa_per_hour,
        hours=sum(each.hours for each in swept[CHOSEN_ON].values()),
    )
    store_thresholds(run, stored)
    return result


def _conditions(swept: _Sweeps, threshold: float, source: _Source) -> list[StreamCondition]:
    return [
        stream_condition(_name_of(snr_db), each, len(source.others), each.at(threshold), snr_db)
        for snr_db, each in swept[MEASURED_ON].items()
    ]


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Clips of a split, and background noise that training does not use."""

    clips: StreamClips
    noises: tuple[np.ndarray, ...]

    @property
    def targets(self) -> list[int]:
        return self.clips.indices([label for label in set(self.clips.labels) if label not in NOT_DETECTED])

    @property
    def others(self) -> list[int]:
        return self.clips.indices([UNKNOWN])


def _read(shards: Path, index: ShardIndex, split: str) -> _Source:
    """Read all clips of a split; errors as `evaluate_stream`."""
    check_sound(index, shards, "continuous sound")
    waves, labels, speakers = list[np.ndarray](), list[str](), list[str]()
    for batch in read_recordings(shards, index, split):
        waves += list(batch.waves)
        labels += [index.labels[label] for label in batch.labels]
        speakers += batch.speakers
    rate_hz = index.features.sample_rate_hz
    clips = StreamClips(waves=np.stack(waves), labels=tuple(labels), speakers=tuple(speakers), sample_rate_hz=rate_hz)
    try:
        noises = load_noises(split_noises(index, shards, split), rate_hz, index.features.num_samples)
    except ConfigError:
        noises = ()
    source = _Source(clips=clips, noises=noises)
    if not source.others or not source.targets:
        raise ConfigError(
            f"{shards}: split {split!r} has {len(source.targets)} clips of words and {len(source.others)} of {UNKNOWN}; "
            f"false accepts are counted in other words: preprocess with --task words:yes,no,...,{UNKNOWN} and train again"
        )
    return source


@dataclass(frozen=True, kw_only=True)
class _Measuring:
    """A loaded run and the settings of a measurement."""

    trained: TrainedRun
    detection: DetectionConfig
    hours: float
    seed: int
    on_progress: OnProgress

    @property
    def plan(self) -> WindowPlan:
        return window_plan(self.trained.features, self.detection)

    def sweeps(self, sources: Mapping[str, _Source], snr_db: float) -> _Sweeps:
        """Measure all splits without noise, and with noise if every split has some."""
        levels = (None, snr_db) if all(source.noises for source in sources.values()) else (None,)
        return {
            split: {level: self._sweep(source, split, level) for level in levels} for split, source in sources.items()
        }

    def _sweep(self, source: _Source, split: str, snr_db: float | None) -> Sweep:
        """Measure one split in one condition, at all thresholds."""
        settings = StreamSettings(seed=self.seed, snr_db=snr_db)
        targets = shuffled(source.targets, len(source.targets), self.seed)
        between = shuffled(source.others, len(targets), self.seed)
        order = [index for pair in zip(targets, between, strict=True) for index in pair]
        stage = f"{split}, {_name_of(snr_db)}"
        with_words = self._hear(
            stream_pieces(source.clips, order, source.noises, settings), float("inf"), f"{stage}, words"
        )
        with_words = replace(
            with_words, words=tuple(word for word in with_words.words if word.label not in NOT_DETECTED)
        )
        per_clip_s = source.clips.waves.shape[1] / source.clips.sample_rate_hz
        fewest = int(3600 * self.hours / per_clip_s) + 1  # more than enough: there are pauses between clips
        others = shuffled(source.others, fewest, self.seed + 1)
        pieces = stream_pieces(source.clips, others, source.noises, replace(settings, seed=self.seed + 1))
        without = self._hear(pieces, 3600 * self.hours, f"{stage}, other sound")
        return sweep(with_words, without, self.plan, self.detection, self.trained.labels)

    def _hear(
        self, pieces: Iterable[tuple[np.ndarray, list[SpokenWord]]], longest_s: float, stage: str
    ) -> StreamPosteriors:
        """Compute the posteriors of a sound, of its first `longest_s` or a little more."""
        posteriors, rate_hz = Posteriors(self.trained, self.plan), self.trained.features.sample_rate_hz
        rows, words, duration_s = list[np.ndarray](), list[SpokenWord](), 0.0
        for wave, spoken in pieces:
            rows.append(posteriors.push(np.clip(wave, -1, 1)))
            words += spoken
            duration_s += wave.size / rate_hz
            if longest_s < float("inf"):
                done = min(duration_s, longest_s)
                self.on_progress(Progress(stage=stage, done=int(done), total=int(longest_s), unit="s"))
            if duration_s >= longest_s:
                break
        rows.append(posteriors.finish())
        return StreamPosteriors(posteriors=np.concatenate(rows), words=tuple(words), duration_s=duration_s)


def _name_of(snr_db: float | None) -> str:
    return "clean" if snr_db is None else f"{snr_db:g} dB"


def _warnings(swept: _Sweeps, target: float) -> tuple[str, ...]:
    found = []
    if len(swept[CHOSEN_ON]) == 1:
        found.append("the shards have no background noise that training does not use; measured without noise only")
    hours = sum(each.hours for each in swept[CHOSEN_ON].values())
    if hours * target < 1:
        found.append(
            f"{hours:.2g} h of validation sound are too short for {target:g} false accepts per hour; measure more hours"
        )
    return tuple(found)
