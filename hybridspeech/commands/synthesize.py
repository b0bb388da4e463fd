"""The verb `data synthesize`: writes a synthetic data set with eSpeak NG, for demos and benchmarks.

The bytes do not depend on the number of processes. Until the data set is complete it is in ``OUT/_unfinished``, and
`read_manifest` refuses it. Knows nothing of voices, spectrograms and shards.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from hybridspeech.audio.background_noise import NOISE_FOLDER
from hybridspeech.config import EngineConfig, OnProgress, Progress, silent
from hybridspeech.corpora.espeak import check_language
from hybridspeech.corpora.pronunciation import check_speakable, near_misses
from hybridspeech.corpora.speakers import ENGLISH, SIMILAR, VARIED, Variety, accents_of, spoken_seconds
from hybridspeech.corpora.synthesis import (
    BLOCK,
    SYNTHESIS_NAME,
    WORDS,
    SynthesisPlan,
    write_clips,
    write_description,
    write_lists,
    write_noises,
)
from hybridspeech.corpora.word_list import read_words, words_of
from hybridspeech.engines import ENGINES
from hybridspeech.errors import counted
from hybridspeech.manifest.config import UNKNOWN
from hybridspeech.manifest.folders import UNFINISHED_NAME
from hybridspeech.processes.resources import num_cores
from hybridspeech.records import check, check_choice
from hybridspeech.registry import requires
from hybridspeech.storage.locations import refuse_urls
from hybridspeech.storage.output import claim_output

MAX_NEGATIVES = 1_000
VARIETIES: Mapping[str, Variety] = {"similar": SIMILAR, "varied": VARIED}
FULLEST = 0.9
"""How much of a clip a word may take at the usual rate: slower voices speak it faster, so that it fits."""


@dataclass(frozen=True, kw_only=True)
class SynthesizeResult:
    """The data set that was made.

    Parameters
    ----------
    num_words : number of labels, without near misses
    negatives : texts of the near misses, whose label is ``_unknown_``
    splits : number of clips per split
    """

    out: str
    num_clips: int
    num_words: int
    num_speakers: int
    splits: Mapping[str, int]
    seconds: float
    clips_per_s: float
    negatives: tuple[str, ...] = ()


def synthesize(
    out: str | Path,
    *,
    words: Sequence[str] | str | Path = WORDS,
    language: str = ENGLISH,
    negatives: int = 0,
    variety: Literal["similar", "varied"] | None = None,
    clips_per_word: int = 50,
    num_speakers: int | None = None,
    clip_duration_ms: int = 1_000,
    seed: int = 0,
    num_workers: int | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = silent,
) -> SynthesizeResult:
    """Make a synthetic data set: `clips_per_word` clips of each word; the speakers take turns.

    Parameters
    ----------
    words : words or phrases, each its own label; or the path of a file of them, see `corpora.word_list`
    language : language of espeak-ng, such as "de", or several with commas between them; "en" has seven accents
    negatives : number of near misses of each word, which get the label ``_unknown_``; each has a tenth of the clips of a word
    variety : "similar" or "varied" rates, pitches, rooms and noises; None: varied for a file of words
    num_speakers : None gives each clip of a word its own speaker
    clip_duration_ms : longest duration of a clip; `preprocess` needs the same one
    num_workers : number of processes; None is one per core. The bytes do not depend on it

    Raises
    ------
    ConfigError: a setting is invalid; a word can't be a label, is there twice, is too long, or can't be spoken in this
        language. MissingExtraError: espeakng-loader is not installed. OutputExistsError: `out` is not empty. EngineError: a
        process failed, e.g. because the disk is full.
    """
    is_file = isinstance(words, (str, Path))
    listed = read_words(words) if isinstance(words, (str, Path)) else words_of(_placed(words))
    check(0 <= negatives <= MAX_NEGATIVES, f"negatives is {negatives}; expected 0 to {MAX_NEGATIVES}")
    name = variety or ("varied" if is_file else "similar")
    check_choice("variety", name, tuple(VARIETIES))
    plan = SynthesisPlan(
        words=listed,
        clips_per_word=clips_per_word,
        num_speakers=num_speakers,
        language=language,
        variety=VARIETIES[name],
        clip_duration_ms=clip_duration_ms,
        seed=seed,
    )
    check(num_workers is None or num_workers >= 1, f"num_workers is {num_workers}; expected 1 or more")
    with requires("demo", "speech synthesis"):
        import espeakng_loader  # noqa: F401 - reports a missing package before anything is written
    refuse_urls(OUT=out)
    _check_words(plan)
    if negatives:
        plan = replace(plan, negatives=_find_negatives(plan, negatives, on_progress))
    started = time.monotonic()
    out = Path(out).absolute()
    with claim_output(out, marks=(SYNTHESIS_NAME, UNFINISHED_NAME), overwrite=overwrite, resume=False):
        work = out / UNFINISHED_NAME
        work.mkdir(mode=0o700)
        try:
            for folder in (*plan.labels, NOISE_FOLDER):
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
        negatives=plan.negatives,
    )


def _placed(words: Sequence[str]) -> list[tuple[str, str]]:
    return [(f"word {number}", word) for number, word in enumerate(words, start=1)]


def _check_words(plan: SynthesisPlan) -> None:
    """Check that the voices can speak every word, and that it fits into a clip.

    Raises
    ------
    ConfigError: the language is unknown, or it is not so.
    """
    accents = accents_of(plan.language)
    for accent in accents:
        check_language(accent)
    check_speakable(plan.words, accents)
    texts = [text for word in plan.words for text in word.texts]
    for first in range(0, len(texts), BLOCK):
        block = texts[first : first + BLOCK]
        for text, seconds in zip(block, spoken_seconds(block, plan.language), strict=True):
            needed_ms = int(-(-seconds * 10 // FULLEST) * 100)
            check(
                needed_ms <= plan.clip_duration_ms,
                f"{text!r} takes {seconds:.1f} s, and a clip has {plan.clip_duration_ms} ms; give --clip-duration-ms "
                f"{needed_ms} here and to preprocess, or choose a shorter phrase",
            )


def _find_negatives(plan: SynthesisPlan, count: int, on_progress: OnProgress) -> tuple[str, ...]:
    words = [word for word in plan.words if word.label != UNKNOWN]
    found = near_misses(words, count, accents_of(plan.language), plan.seed)
    some = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
    fewer = f" instead of {counted(count * len(words), 'near miss', 'near misses')}: the words have no more neighbours"
    message = (
        f"{counted(len(found), 'near miss', 'near misses')}{fewer if len(found) < count * len(words) else ''}: {some}"
    )
    on_progress(Progress(stage="negatives", message=message))
    return found


def _write_all_clips(work: Path, plan: SynthesisPlan, num_workers: int, on_progress: OnProgress) -> None:
    done = 0

    def count(num_clips: int) -> None:
        nonlocal done
        done += num_clips
        on_progress(Progress(stage="synthesize", done=done, total=plan.num_clips, unit="clips"))

    parts = plan.parts()
    config = EngineConfig(num_executors=min(num_workers, len(parts)))
    with ENGINES.load("local")(config) as engine:
        engine.map_partitions(partial(write_clips, str(work), plan), [[part] for part in parts], count)
