"""The verb `predict` on any number of files: a Parquet table, made by an engine. Knows nothing of Spark and Ray."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hybridspeech.config import EngineConfig, OnProgress, silent
from hybridspeech.engines import Engine
from hybridspeech.engines.part_table import PARTS_SUFFIX, PartTable, check_absent, name_of
from hybridspeech.errors import ConfigError
from hybridspeech.evaluation.audio_files import find_audio_files
from hybridspeech.evaluation.file_predictions import check_finished
from hybridspeech.evaluation.parquet_parts import count_rows
from hybridspeech.evaluation.prediction_parts import PartMaker, join_parts, plan_parts
from hybridspeech.shards.sources import file_versions
from hybridspeech.storage.locations import normalized


@dataclass(frozen=True, kw_only=True)
class PredictTableResult:
    """Result of `predict_table`. `num_unusable` files have a value in the column `error`.

    `num_computed` is the number of files that this call has predicted; a resume computes the rest only. `work_s` excludes
    the start-up of the engine.
    """

    out: str
    engine: str
    num_files: int
    num_unusable: int
    num_computed: int
    startup_s: float
    work_s: float


def predict_table(
    run: str | Path,
    files: Iterable[str | Path],
    out: str | Path,
    *,
    top_k: int = 3,
    model: str | None = None,
    engine: str | Engine = "local",
    engine_config: EngineConfig | None = None,
    overwrite: bool = False,
    resume: bool = False,
    on_progress: OnProgress = silent,
) -> PredictTableResult:
    """Predict the labels of any number of files, and write a Parquet table with one row per file.

    The columns are clip_id, path, label, probability, top (list of label and probability), cut_s and error; the rows are in
    the order of clip_id, and are the same on every engine. An unusable file has a row with its error.

    Parameters
    ----------
    run : run directory of a finished training; a local path or a URL that every worker can access
    files : as in `predict`
    out : Parquet file to create; a local path or a URL. Finished parts are in OUT.parts until all are finished
    top_k : number of labels of each file in the column top
    model : "module:function" of a custom network, which is imported only if it is named here
    engine : a name in ENGINES, which is started with `engine_config` and stopped at the end; or a started Engine
    overwrite, resume : replace an existing table; or predict only the files that an interrupted call has not finished

    Raises
    ------
    RunError: the run is not finished. ConfigError: a setting is invalid, or there is no file. OutputExistsError: `out`
    exists. EngineError: the engine failed; `resume` continues. StorageError: an object store fails.
    """
    run, out = normalized(run), normalized(out)
    if top_k < 1:
        raise ConfigError(f"top_k is {top_k}; expected 1 or more")
    check_absent(out, overwrite=overwrite, resume=resume)
    key = check_finished(run, model)
    found = find_audio_files(files)
    versions = file_versions({file.path for file in found})
    parts = plan_parts(found)
    listing = [(file.clip_id, file.path, versions[file.path]) for part in parts for file in part.files]
    source = hashlib.sha256(json.dumps(listing).encode()).hexdigest()
    settings = json.dumps({"run": key, "files": source, "top_k": top_k}, sort_keys=True)
    maker = PartMaker(run=run, key=key, model=model, top_k=top_k, folder=out + PARTS_SUFFIX)
    table = PartTable(
        out=out,
        parts=parts,
        maker=maker,
        settings=settings,
        stage="predict",
        unit="files",
        join=lambda path: join_parts(maker.folder, parts, settings, path),
        count=count_rows,
        different="another run, other files or another number of labels",
        on_progress=on_progress,
    )
    result = table.run(engine, engine_config, overwrite=overwrite, resume=resume)
    return PredictTableResult(
        out=out,
        engine=name_of(engine),
        num_files=result.counts[0],
        num_unusable=result.counts[1],
        num_computed=result.num_computed,
        startup_s=result.startup_s,
        work_s=result.work_s,
    )
