"""A Parquet table that an engine makes in parts: what `predict --out` and `listen --out` share.

    OUT.parts/settings.json         what decides the rows; first
    OUT.parts/part-NNNNN.parquet    the result of one task
    OUT                             all rows; last

Knows nothing of what is in the parts.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from hybridspeech.config import EngineConfig, OnProgress, Progress
from hybridspeech.engines import ENGINES
from hybridspeech.engines.base import Engine
from hybridspeech.errors import ConfigError, OutputExistsError
from hybridspeech.evaluation.parquet_parts import settings_of
from hybridspeech.processes.scratch import scratch_folder
from hybridspeech.storage.copies import fetched
from hybridspeech.storage.locations import is_url, join, parent_and_name
from hybridspeech.storage.objects import delete_files, exists, is_file, list_names, put_file, read_bytes, write_bytes
from hybridspeech.storage.output import CheckClaim, claim_output

SETTINGS_NAME = "settings.json"
PARTS_SUFFIX = ".parts"


class Part(Protocol):
    """The work of one task: the file name of its result, and its number of items for the progress."""

    @property
    def name(self) -> str: ...
    @property
    def num_items(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class TableResult:
    """`counts` is what `join` has returned; `num_computed` items were made by this call. `work_s` excludes the start-up."""

    counts: tuple[int, ...]
    num_computed: int
    startup_s: float
    work_s: float


@dataclass(frozen=True, kw_only=True)
class PartTable:
    """One table: what to compute, and where the rows go.

    Parameters
    ----------
    out : Parquet file to create; a local path or a URL
    maker : a frozen dataclass with the fields `folder` (OUT + PARTS_SUFFIX) and `num_threads`; an engine calls it in a worker
        with parts, and it returns their numbers of items
    settings : what decides the rows, in JSON
    stage, unit : of the progress
    join : writes the rows of all parts to a local Parquet file, with the settings in its metadata; returns counts
    count : returns the counts of such a file
    different : what a resume with other settings differs in, for the message
    """

    out: str
    parts: Sequence[Part]
    maker: Any
    settings: str
    stage: str
    unit: str
    join: Callable[[Path], tuple[int, ...]]
    count: Callable[[Path], tuple[int, ...]]
    different: str
    on_progress: OnProgress

    def run(self, engine: str | Engine, config: EngineConfig | None, *, overwrite: bool, resume: bool) -> TableResult:
        """Compute what is missing, and join the parts.

        Raises
        ------
        OutputExistsError: there are parts already. ConfigError: they were made with other settings. EngineError: the engine
        failed; `resume` continues.
        """
        folder = self.maker.folder
        if resume and exists(self.out):
            return self._finished_before()
        claim = claim_output(
            folder, marks=(SETTINGS_NAME,), ours=(SETTINGS_NAME, "part-*.parquet"), overwrite=overwrite, resume=resume
        )
        with claim as check_claim:
            self._prepare()
            there = set(list_names(folder))
            todo = [part for part in self.parts if part.name not in there]
            started = ready = time.monotonic()
            if todo:
                self.on_progress(Progress(stage="engine", message=f"starting engine {name_of(engine)}"))
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
        return TableResult(
            counts=counts,
            num_computed=sum(part.num_items for part in todo),
            startup_s=ready - started,
            work_s=ended - ready,
        )

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
        total = sum(part.num_items for part in self.parts)
        done = total - sum(part.num_items for part in todo)

        def on_done(results: list[int]) -> None:
            nonlocal done
            done += sum(results)
            self.on_progress(Progress(stage=self.stage, done=done, total=total, unit=self.unit))

        self.on_progress(Progress(stage=self.stage, done=done, total=total, unit=self.unit))
        maker = replace(self.maker, num_threads=1 if engine.parallelism > 1 else 0)
        engine.map_partitions(maker, [[part] for part in todo], on_done)

    def _join(self, check_claim: CheckClaim) -> tuple[int, ...]:
        with scratch_folder() as scratch:
            table = Path(scratch, "table.parquet")
            counts = self.join(table)
            check_claim()
            put_file(table, self.out)
        return counts

    def _finished_before(self) -> TableResult:
        parent, name = parent_and_name(self.out)
        with fetched(parent, name) as folder:
            if settings_of(folder / name) != self.settings:
                raise self._other_settings(self.out)
            counts = self.count(folder / name)
        return TableResult(counts=counts, num_computed=0, startup_s=0.0, work_s=0.0)

    def _other_settings(self, location: str) -> ConfigError:
        return ConfigError(
            f"{location}: was made from {self.different}; resume with the same, or start again with --overwrite"
        )


def check_absent(out: str, *, overwrite: bool, resume: bool) -> None:
    """Raise OutputExistsError if the table exists and may neither be replaced nor resumed."""
    if exists(out) and not (overwrite or resume):
        raise OutputExistsError(f"{out}: exists already; choose another file, or add --overwrite")


def name_of(engine: str | Engine) -> str:
    """Return the name of an engine."""
    return engine if isinstance(engine, str) else engine.name
