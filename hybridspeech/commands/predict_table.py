"""The verb `predict` on any number of files: a Parquet table, made by an engine. Knows nothing of Spark and Ray."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from hybridspeech.config import EngineConfig, OnProgress, Progress, silent
from hybridspeech.engines import ENGINES, Engine
from hybridspeech.errors import ConfigError, OutputExistsError
from hybridspeech.evaluation.audio_files import find_audio_files
from hybridspeech.evaluation.file_predictions import check_finished
from hybridspeech.evaluation.prediction_parts import (
    Part,
    PartMaker,
    PartResult,
    count_rows,
    join_parts,
    plan_parts,
    settings_of,
)
from hybridspeech.processes.scratch import scratch_folder
from hybridspeech.shards.sources import file_versions
from hybridspeech.storage.copies import fetched
from hybridspeech.storage.locations import is_url, join, normalized, parent_and_name
from hybridspeech.storage.objects import delete_files, exists, is_file, list_names, put_file, read_bytes, write_bytes
from hybridspeech.storage.output import CheckClaim, claim_output

SETTINGS_NAME = "settings.json"
PARTS_SUFFIX = ".parts"


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
    if exists(out) and not (overwrite or resume):
        raise OutputExistsError(f"{out}: exists already; choose another file, or add --overwrite")
    key = check_finished(run, model)
    found = find_audio_files(files)
    versions = file_versions({file.path for file in found})
    parts = plan_parts(found)
    listing = [(file.clip_id, file.path, versions[file.path]) for part in parts for file in part.files]
    source = hashlib.sha256(json.dumps(listing).encode()).hexdigest()
    settings = json.dumps({"run": key, "files": source, "top_k": top_k}, sort_keys=True)
    maker = PartMaker(run=run, key=key, model=model, top_k=top_k, folder=out + PARTS_SUFFIX)
    job = _TableJob(out=out, parts=parts, maker=maker, settings=settings, on_progress=on_progress)
    return job.run(engine, engine_config, overwrite=overwrite, resume=resume)


@dataclass(frozen=True, kw_only=True)
class _TableJob:
    """One table: what to predict, and where the rows go."""

    out: str
    parts: Sequence[Part]
    maker: PartMaker
    settings: str
    on_progress: OnProgress

    def run(
        self, engine: str | Engine, config: EngineConfig | None, *, overwrite: bool, resume: bool
    ) -> PredictTableResult:
        """Predict what is missing, and join the parts."""
        folder = self.maker.folder
        if resume and exists(self.out):
            return self._finished_before(engine)
        claim = claim_output(
            folder, marks=(SETTINGS_NAME,), ours=(SETTINGS_NAME, "part-*.parquet"), overwrite=overwrite, resume=resume
        )
        with claim as check_claim:
            self._prepare()
            there = set(list_names(folder))
            todo = [part for part in self.parts if part.name not in there]
            started = ready = time.monotonic()
            if todo:
                self.on_progress(Progress(stage="engine", message=f"starting engine {_name_of(engine)}"))
                session = (
                    ENGINES.load(engine)(config or EngineConfig()) if isinstance(engine, str) else nullcontext(engine)
                )
                with session as opened:
                    ready = time.monotonic()
                    self._make(todo, opened)
            counts = self._join(check_claim)
            ended = time.monotonic()
            delete_files(join(folder, name) for name in (SETTINGS_NAME, *(part.name for part in self.parts)))
        if not is_url(folder):
            with contextlib.suppress(OSError):  # it contains files of other programs
                Path(folder).rmdir()
        num_computed = sum(len(part.files) for part in todo)
        return self._result(engine, counts, num_computed, ready - started, ended - ready)

    def _prepare(self) -> None:
        """Write the settings, or compare them with those of the parts that exist.

        Raises
        ------
        ConfigError: the parts were made with other settings.
        """
        path = join(self.maker.folder, SETTINGS_NAME)
        if is_file(path) and read_bytes(path).decode(errors="replace") != self.settings:
            raise self._other_settings(self.maker.folder)
        write_bytes(path, self.settings)

    def _make(self, todo: Sequence[Part], engine: Engine) -> None:
        total = sum(len(part.files) for part in self.parts)
        done = total - sum(len(part.files) for part in todo)

        def on_done(results: list[PartResult]) -> None:
            nonlocal done
            done += sum(result.num_files for result in results)
            self.on_progress(Progress(stage="predict", done=done, total=total, unit="files"))

        self.on_progress(Progress(stage="predict", done=done, total=total, unit="files"))
        maker = replace(self.maker, num_threads=1 if engine.parallelism > 1 else 0)
        engine.map_partitions(maker, [[part] for part in todo], on_done)

    def _join(self, check_claim: CheckClaim) -> tuple[int, int]:
        with scratch_folder() as scratch:
            table = Path(scratch, "table.parquet")
            counts = join_parts(self.maker.folder, self.parts, self.settings, table)
            check_claim()
            put_file(table, self.out)
        return counts

    def _finished_before(self, engine: str | Engine) -> PredictTableResult:
        parent, name = parent_and_name(self.out)
        with fetched(parent, name) as folder:
            if settings_of(folder / name) != self.settings:
                raise self._other_settings(self.out)
            counts = count_rows(folder / name)
        return self._result(engine, counts, 0, 0.0, 0.0)

    def _other_settings(self, location: str) -> ConfigError:
        return ConfigError(
            f"{location}: was made from another run, other files or another number of labels; resume with the same, or "
            "start again with --overwrite"
        )

    def _result(
        self, engine: str | Engine, counts: tuple[int, int], num_computed: int, startup_s: float, work_s: float
    ) -> PredictTableResult:
        return PredictTableResult(
            out=self.out,
            engine=_name_of(engine),
            num_files=counts[0],
            num_unusable=counts[1],
            num_computed=num_computed,
            startup_s=startup_s,
            work_s=work_s,
        )


def _name_of(engine: str | Engine) -> str:
    return engine if isinstance(engine, str) else engine.name
