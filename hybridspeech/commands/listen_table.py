"""The verb `listen` on any number of files: a Parquet table of events, made by an engine. Knows nothing of Spark and Ray."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hybridspeech.config import EngineConfig, OnProgress, silent
from hybridspeech.detection.config import DetectionConfig, Thresholds
from hybridspeech.detection.event_parts import (
    SEGMENT_S,
    EventDecoder,
    EventPart,
    PosteriorMaker,
    event_counts,
    plan_event_parts,
)
from hybridspeech.detection.listener import window_plan
from hybridspeech.detection.threshold_file import settings_of
from hybridspeech.engines import Engine
from hybridspeech.engines.part_table import PARTS_SUFFIX, PartTable, check_absent, name_of
from hybridspeech.errors import ConfigError
from hybridspeech.evaluation.audio_files import find_audio_files
from hybridspeech.evaluation.file_predictions import check_finished
from hybridspeech.records import to_json
from hybridspeech.shards.sources import file_versions
from hybridspeech.storage.copies import fetched
from hybridspeech.storage.locations import normalized
from hybridspeech.training.run_directory import FINISHED_RUN_NAMES, RunDirectory


@dataclass(frozen=True, kw_only=True)
class ListenTableResult:
    """Result of `listen_table`. `num_unusable` files have a row with an error, after their events.

    `num_computed` is the number of segments that this call has classified; a resume computes the rest only. `work_s` excludes
    the start-up of the engine.
    """

    out: str
    engine: str
    num_files: int
    num_segments: int
    num_events: int
    num_unusable: int
    num_computed: int
    startup_s: float
    work_s: float


def listen_table(
    run: str | Path,
    files: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    thresholds: Thresholds | None = None,
    detection: DetectionConfig | None = None,
    segment_s: float = SEGMENT_S,
    model: str | None = None,
    engine: str | Engine = "local",
    engine_config: EngineConfig | None = None,
    overwrite: bool = False,
    resume: bool = False,
    on_progress: OnProgress = silent,
) -> ListenTableResult:
    """Find the words of a run in any number of files, and write a Parquet table with one row per event.

    The columns are clip_id, path, start_s, end_s, label, score and error; the rows are in the order of clip_id and time. The
    events are those of `listen` on every engine, whatever `segment_s` is.

    Parameters
    ----------
    run : run directory of a finished training; a local path or a URL that every worker can access
    files, thresholds, detection, model : as in `listen`, without standard input
    out : Parquet file to create; a local path or a URL. Finished parts are in OUT.parts until all are finished
    segment_s : longest sound of one task, in seconds; longer local files are divided
    engine : a name in ENGINES, which is started with `engine_config` and stopped at the end; or a started Engine
    overwrite, resume : replace an existing table; or compute only what an interrupted call has not finished

    Raises
    ------
    RunError: the run is not finished. ConfigError: a setting is invalid, or there is no file. OutputExistsError: `out`
    exists. EngineError: the engine failed; `resume` continues. StorageError: an object store fails.
    """
    run, out = normalized(run), normalized(out)
    given = _paths(files)
    check_absent(out, overwrite=overwrite, resume=resume)
    key = check_finished(run, model)
    decoder = _decoder(run, model, *settings_of(run, thresholds, detection))
    found = sorted(set(find_audio_files(given)))
    parts = plan_event_parts(found, decoder.plan, segment_s)
    maker = PosteriorMaker(run=run, key=key, model=model, detection=decoder.detection, folder=out + PARTS_SUFFIX)
    settings = _settings(key, parts, decoder)
    table = PartTable(
        out=out,
        parts=parts,
        maker=maker,
        settings=settings,
        stage="listen",
        unit="segments",
        join=lambda path: decoder.join(maker.folder, parts, settings, path),
        count=event_counts,
        different="another run, other files or other settings",
        on_progress=on_progress,
    )
    result = table.run(engine, engine_config, overwrite=overwrite, resume=resume)
    return ListenTableResult(
        out=out,
        engine=name_of(engine),
        num_files=len(found),
        num_segments=sum(part.num_items for part in parts),
        num_events=result.counts[0],
        num_unusable=result.counts[1],
        num_computed=result.num_computed,
        startup_s=result.startup_s,
        work_s=result.work_s,
    )


def _paths(files: str | Path | Iterable[str | Path]) -> list[str | Path]:
    given = [files] if isinstance(files, (str, Path)) else list(files)
    if "-" in map(str, given):
        raise ConfigError('"-" (standard input) can not be written to a table; give audio files or folders')
    return given


def _decoder(run: str, model: str | None, thresholds: Thresholds, detection: DetectionConfig) -> EventDecoder:
    with fetched(run, *FINISHED_RUN_NAMES) as local_run:
        plan = RunDirectory(local_run).require_finished(model)
    labels = tuple(plan.labels)
    thresholds.of(labels)  # checks them
    windows = window_plan(plan.features, detection)
    return EventDecoder(thresholds=thresholds, detection=detection, plan=windows, labels=labels)


def _settings(key: str, parts: Sequence[EventPart], decoder: EventDecoder) -> str:
    """Return what the parts of a table depend on, as text: another text makes them anew."""
    segments = [segment for part in parts for segment in part.segments]
    versions = file_versions({segment.file.path for segment in segments})
    listing = [
        (segment.file.clip_id, segment.file.path, versions[segment.file.path], segment.first_window)
        for segment in segments
    ]
    settings = {
        "run": key,
        "files": hashlib.sha256(json.dumps(listing).encode()).hexdigest(),
        "thresholds": to_json(decoder.thresholds),
        "detection": to_json(decoder.detection),
    }
    return json.dumps(settings, sort_keys=True)
