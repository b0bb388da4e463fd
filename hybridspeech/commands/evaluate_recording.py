"""`evaluate --stream --recording`: misses against false accepts per hour in recordings of the user, whose words are known."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from hybridspeech.audio.streams import header_duration_s, sound_blocks
from hybridspeech.config import OnProgress, Progress, silent
from hybridspeech.detection.config import DetectionConfig, Thresholds
from hybridspeech.detection.events_table import EventsTable, read_events
from hybridspeech.detection.listener import Posteriors, window_plan
from hybridspeech.detection.recording_sweep import RecordingCounter, RecordingCounts, combined, hours_without_words
from hybridspeech.detection.stream_metrics import GRID, RATES_PER_HOUR, OperatingPoint, Sweep, choose_threshold
from hybridspeech.detection.stream_result import StreamResult, stream_condition, stream_result, write_stream_files
from hybridspeech.detection.threshold_file import StoredThresholds, settings_of, store_thresholds, stored_in
from hybridspeech.errors import ConfigError
from hybridspeech.evaluation.audio_files import AudioFile, find_audio_files
from hybridspeech.evaluation.file_predictions import TrainedRun, load_run
from hybridspeech.records import check
from hybridspeech.storage.copies import fetched, uploaded
from hybridspeech.storage.locations import join, parent_and_name, refuse_urls
from hybridspeech.training.run_directory import FINISHED_RUN_NAMES, RunDirectory


def evaluate_recording(
    run: str | Path,
    recording: str | Path,
    events: str | Path,
    *,
    target_fa_per_hour: float | None = None,
    detection: DetectionConfig | None = None,
    out: str | Path | None = None,
    report: str | Path | None = None,
    model: str | None = None,
    on_progress: OnProgress = silent,
) -> StreamResult:
    """Measure misses and false accepts in recordings whose words are known.

    The words of the table are those that must be found; everything else is sound without target words. The threshold is that
    of the run, which is not changed, unless `target_fa_per_hour` is given. Memory does not depend on the duration.

    Parameters
    ----------
    run : run directory of a finished training; a local path or a URL, as all other locations but `report`
    recording : audio file of any length, or a folder of them
    events : CSV or TSV table with the columns start_s, label, and perhaps end_s (seconds), speaker, and file: the name of the
        recording in the folder. Recordings without rows have no target words
    target_fa_per_hour : choose the lowest threshold with at most this many false accepts per hour in these recordings, and
        store it in the run; None: choose none
    detection : settings of windows and decoder; None: those of the run, else the defaults
    out : folder for the files; None: RUN/evaluation-recording
    report : HTML file for a self-contained report
    model : "module:function" of a custom network, which is imported only if it is named here

    Raises
    ------
    RunError: the run is not finished. ManifestError: the table can't be used with the run and the recordings. AudioError: a
    recording can't be read to its end. ConfigError: there is no recording, all sound is at a word, or the recordings are too
    short for `target_fa_per_hour`.
    """
    target = target_fa_per_hour
    check(target is None or target > 0, f"target_fa_per_hour is {target}; expected more than 0")
    refuse_urls(report=report)
    place = str(out) if out else join(run, "evaluation-recording")
    files = find_audio_files([recording])
    with ExitStack() as stack:
        local_run = stack.enter_context(fetched(run, *FINISHED_RUN_NAMES))
        table = read_events(str(events), files, RunDirectory(local_run).require_finished(model).labels)
        for file in files:
            if declared_s := header_duration_s(file.path):
                table.check_inside(file.path, declared_s)
        stored, (thresholds, detection) = stored_in(local_run), settings_of(local_run, None, detection)
        on_progress(Progress(stage="start", message="importing TensorFlow and loading the network"))
        measuring = _Measuring(
            trained=load_run(local_run, model), thresholds=thresholds, detection=detection, on_progress=on_progress
        )
        counts = measuring.counts(files, table)
        _check_hours(hours_without_words(counts), target)
        swept, chosen = combined(counts, measuring.trained.labels, thresholds.default)
        if target is not None:
            chosen = swept.at(choose_threshold([swept], target))
        name = parent_and_name(recording)[1]
        condition = stream_condition(name, swept, len(files), chosen)
        warnings = _warnings(table, swept, chosen, stored, target)
        result = stream_result(run, place, chosen.threshold, target, [condition], warnings)
        write_stream_files(result, stack.enter_context(uploaded(place)), report)
    if target is not None:
        stored = StoredThresholds(
            thresholds=Thresholds(default=chosen.threshold),
            detection=detection,
            target_fa_per_hour=target,
            hours=swept.hours,
        )
        store_thresholds(run, stored)
    return result


@dataclass(frozen=True, kw_only=True)
class _Measuring:
    """A loaded run and the settings of a measurement."""

    trained: TrainedRun
    thresholds: Thresholds
    detection: DetectionConfig
    on_progress: OnProgress

    def counts(self, files: Sequence[AudioFile], table: EventsTable) -> list[RecordingCounts]:
        """Count the events of each recording."""
        return [self._counts_of(file, table) for file in files]

    def _counts_of(self, file: AudioFile, table: EventsTable) -> RecordingCounts:
        features, labels = self.trained.features, self.trained.labels
        plan = window_plan(features, self.detection)
        words = table.spoken(file.path, plan.length / plan.sample_rate_hz)
        thresholds = [*(Thresholds(default=each) for each in GRID), self.thresholds]
        counter = RecordingCounter(plan, self.detection, thresholds, labels, words)
        posteriors, num_samples, rate_hz = Posteriors(self.trained, plan), 0, features.sample_rate_hz
        total_s = header_duration_s(file.path)
        with closing(sound_blocks(file.path, rate_hz)) as blocks:
            for block in blocks:
                counter.push(posteriors.push(block))
                num_samples += block.size
                if total_s:
                    done = min(int(num_samples / rate_hz), int(total_s))
                    self.on_progress(Progress(stage=file.clip_id, done=done, total=int(total_s), unit="s"))
        counter.push(posteriors.finish())
        table.check_inside(file.path, num_samples / rate_hz)
        return counter.finish(num_samples / rate_hz)


def _check_hours(hours: float, target: float | None) -> None:
    if hours <= 0:
        raise ConfigError(
            "all sound is at a word of the table, so that false accepts can't be counted; give recordings with other sound"
        )
    if target is not None and hours * target < 1:
        raise ConfigError(
            f"{hours:.2g} h of sound without target words are too short for {target:g} false accepts per hour; the lowest "
            f"rate that can be measured is {1 / hours:,.2f} per hour: give more sound, or a higher rate"
        )


def _warnings(
    table: EventsTable, swept: Sweep, chosen: OperatingPoint, stored: StoredThresholds | None, target: float | None
) -> list[str]:
    found = []
    if table.unused_columns:
        found.append(f"{table.location}: columns that are not used: {', '.join(table.unused_columns)}")
    if swept.hours * min(RATES_PER_HOUR) < 1:
        found.append(
            f"{swept.hours:.2g} h of sound without target words: the lowest rate that can be measured is "
            f"{1 / swept.hours:,.2f} false accepts per hour; operating points at lower rates are not reliable"
        )
    if not all(word.speaker for word in swept.words):
        found.append("not all speakers are known; the interval of the miss rate assumes independent words")
    if target is None and stored is None:
        found.append(f"the run has no threshold of its own; measured at the default, {chosen.threshold:g}")
    if target is not None:
        found.append(
            "the threshold was chosen on the recordings that it is measured on; on other sound it may do worse"
        )
        if chosen.false_accepts_per_hour > target:
            found.append(f"no threshold keeps to {target:g} false accepts per hour; the highest one was stored")
    return found
