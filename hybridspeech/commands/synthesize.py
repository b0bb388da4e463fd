"""The verb `data synthesize`: writes a synthetic data set with eSpeak NG, for demos and benchmarks.

The bytes do not depend on the number of processes. Until the data set is complete it is in ``OUT/_unfinished``, and
`read_manifest` refuses it. Knows nothing of voices, spectrograms and shards.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hybridspeech.audio.background_noise import NOISE_FOLDER
from hybridspeech.config import EngineConfig, OnProgress, Progress, check, silent
from hybridspeech.corpora.synthesis import (
    SYNTHESIS_NAME,
    WORDS,
    SynthesisPlan,
    write_clips,
    write_description,
    write_lists,
    write_noises,
)
from hybridspeech.engines import ENGINES
from hybridspeech.manifest.folders import UNFINISHED_NAME
from hybridspeech.processes.resources import num_cores
from hybridspeech.registry import requires
from hybridspeech.storage.locations import refuse_urls
from hybridspeech.storage.output import claim_output


@dataclass(frozen=True, kw_only=True)
class SynthesizeResult:
    """The data set that was made; `splits` holds the number of clips per split."""

    out: str
    num_clips: int
    num_words: int
    num_speakers: int
    splits: Mapping[str, int]
    seconds: float
    clips_per_s: float


def synthesize(
    out: str | Path,
    *,
    words: Sequence[str] = WORDS,
    clips_per_word: int = 50,
    num_speakers: int | None = None,
    seed: int = 0,
    num_workers: int | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = silent,
) -> SynthesizeResult:
    """Make a synthetic data set: `clips_per_word` clips of each word; the speakers take turns.

    Parameters
    ----------
    num_speakers : None gives each clip of a word its own speaker
    num_workers : number of processes; None is one per core. The bytes do not depend on it

    Raises
    ------
    ConfigError: a setting is invalid. MissingExtraError: espeakng-loader is not installed. OutputExistsError: `out` is
        not empty. EngineError: a process failed, e.g. because the disk is full.
    """
    plan = SynthesisPlan(words=tuple(words), clips_per_word=clips_per_word, num_speakers=num_speakers, seed=seed)
    check(num_workers is None or num_workers >= 1, f"num_workers is {num_workers}; expected 1 or more")
    with requires("demo", "speech synthesis"):
        import espeakng_loader  # noqa: F401 - reports a missing package before anything is written
    started = time.monotonic()
    refuse_urls(OUT=out)
    out = Path(out).absolute()
    with claim_output(out, marks=(SYNTHESIS_NAME, UNFINISHED_NAME), overwrite=overwrite, resume=False):
        work = out / UNFINISHED_NAME
        work.mkdir(mode=0o700)
        try:
            for folder in (*plan.words, NOISE_FOLDER):
                (work / folder).mkdir()
            _write_all_clips(work, plan, num_workers or num_cores(), on_progress)
            write_noises(work, seed)
            splits = write_lists(work, plan)
            write_description(work, plan)
            for path in sorted(work.iterdir(), key=lambda path: (path.name == SYNTHESIS_NAME, path.name)):
                path.rename(out / path.name)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    seconds = time.monotonic() - started
    return SynthesizeResult(
        out=str(out),
        num_clips=plan.num_clips,
        num_words=len(plan.words),
        num_speakers=len(plan.speakers),
        splits=splits,
        seconds=seconds,
        clips_per_s=plan.num_clips / seconds,
    )


def _write_all_clips(work: Path, plan: SynthesisPlan, num_workers: int, on_progress: OnProgress) -> None:
    done = 0

    def count(num_clips: int) -> None:
        nonlocal done
        done += num_clips
        on_progress(Progress(stage="synthesize", done=done, total=plan.num_clips, unit="clips"))

    config = EngineConfig(num_executors=min(num_workers, plan.clips_per_word))
    with ENGINES.load("local")(config) as engine:
        engine.map_partitions(partial(write_clips, str(work), plan), [[take] for take in plan.takes()], count)
