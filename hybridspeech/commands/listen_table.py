"""The verb `listen` on any number of files: a Parquet table of events, made by an engine. Knows nothing of Spark and Ray."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hybridspeech.config import EngineConfig, OnProgress, silent
from hybridspeech.detection.config import DetectionConfig, Thresholds
from hybridspeech.detection.event_parts import (
    SEGMENT_S,
    EventDecoder,
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
    given = [files] if isinstance(files, (str, Path)) else list(files)
    if "-" in map(str, given):
        raise ConfigError('"-" (standard input) can not be written to a table; give audio files or folders')
    check_absent(out, overwrite=overwrite, resume=resume)
    key = check_finished(run, model)
    with fetched(run, *FINISHED_RUN_NAMES) as local_run:
        plan = RunDirectory(local_run).require_finished(model)
    thresholds, detection = settings_of(run, thresholds, detection)
    decoder = EventDecoder(
        thresholds=thresholds,
        detection=detection,
        plan=window_plan(plan.features, detection),
        labels=tuple(plan.labels),
    )
    thresholds.of(decoder.labels)  # checks them
    found = sorted(set(find_audio_files(given)))
    parts = plan_event_parts(found, decoder.plan, segment_s)
    versions = file_versions({file.path for file in found})
    listing = [
        (segment.file.clip_id, segment.file.path, versions[segment.file.path], segment.first_window)
        for part in parts
        for segment in part.segments
    ]
    settings = {
        "run": key,
        "files": hashlib.sha256(json.dumps(listing).encode()).hexdigest(),
        "thresholds": to_json(thresholds),
        "detection": to_json(detection),
    }
    maker = PosteriorMaker(run=run, key=key, model=model, detection=detection, folder=out + PARTS_SUFFIX)
    text = json.dumps(settings, sort_keys=True)
    table = PartTable(
        out=out,
        parts=parts,
        maker=maker,
        settings=text,
        stage="listen",
        unit="segments",
        join=lambda path: decoder.join(maker.folder, parts, text, path),
        count=event_counts,
        different="another run, other files or other settings",
        on_progress=on_progress,
    )
    result = table.run(engine, engine_config, overwrite=overwrite, resume=resume)
    return ListenTableResult(
        out=out,
        engine=name_of(engine),
        num_files=len(found),
        num_segments=len(listing),
        num_events=result.counts[0],
        num_unusable=result.counts[1],
        num_computed=result.num_computed,
        startup_s=result.startup_s,
        work_s=result.work_s,
    )
