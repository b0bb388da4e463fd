"""The findings of the audit: each a clip, the kind of its fault, a score, and what to do.

Kinds whose clips are left out by default hurt every use: duplicates and silence. A clip of the other kinds may be what an
application hears, or may be right, so that a person decides. Knows nothing of files.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridspeech.config import SPLITS
from hybridspeech.errors import ConfigError, OutputExistsError
from hybridspeech.evaluation.audit.measurements import Measurements
from hybridspeech.evaluation.audit.thresholds import (
    CUT_BELOW_LOUDEST_DB,
    CUT_OVER_FLOOR_DB,
    MIN_CONTRAST_DB,
    MIN_DOUBT,
    MIN_FLAT_SAMPLES,
    ROUNDING_DB,
    SILENT_DB,
    TELEPHONE_DROP_DB,
    TELEPHONE_HIGH_DB,
)
from hybridspeech.manifest.config import SILENCE
from hybridspeech.manifest.exclusions import CLIP_ID, EXCLUDE
from hybridspeech.storage.small_files import write_atomically

EXACT, NEAR, SILENT, DOUBT = "exact-duplicate", "near-duplicate", "silence", "label-doubt"
CLIPPING, CUT, LOW_RATE = "clipping", "cut", "low-rate"
KINDS = (EXACT, NEAR, SILENT, DOUBT, CLIPPING, CUT, LOW_RATE)
EXCLUDED_KINDS = (EXACT, NEAR, SILENT)
"""Kinds whose rows have `exclude` yes."""
COLUMNS = (CLIP_ID, "split", "label", "speaker", "kind", "score", "detail", "proposal", EXCLUDE)


@dataclass(frozen=True, kw_only=True)
class AuditedClips:
    """All clips of some shards, in the order of the index.

    Parameters
    ----------
    labels : int [shape=(num_clips,)], indices of `names`
    positions : place of each clip in the shards of its split
    """

    clip_ids: Sequence[str]
    splits: Sequence[str]
    speakers: Sequence[str]
    labels: np.ndarray
    positions: Sequence[int]
    names: Sequence[str]
    measured: Measurements

    def label(self, place: int) -> str:
        """Return the label of a clip."""
        return self.names[int(self.labels[place])]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One clip with one fault.

    Parameters
    ----------
    place, other : places of the clip, and of the clip that it duplicates, in `AuditedClips`
    score : 0 to 1; 1 is the most certain
    """

    place: int
    kind: str
    score: float
    detail: str
    proposal: str
    other: int | None = None

    @property
    def is_excluded(self) -> bool:
        """Whether its row has `exclude` yes."""
        return self.kind in EXCLUDED_KINDS


def sound_findings(clips: AuditedClips) -> Iterator[Finding]:
    """Yield silence, clipping, cut words and low sample rates. Clips of the label _silence_ have no faults."""
    measured = clips.measured
    for place in range(len(clips.clip_ids)):
        if clips.label(place) == SILENCE:
            continue
        silence = _silence(place, float(measured.loudest_db[place]), float(measured.floor_db[place]))
        if silence:
            yield silence  # the other quantities mean nothing without sound
            continue
        yield from _clipping(place, int(measured.flat[place]))
        yield from _cut(place, measured)
        yield from _low_rate(place, measured)


def _silence(place: int, loudest_db: float, floor_db: float) -> Finding | None:
    contrast_db = loudest_db - floor_db
    if loudest_db < SILENT_DB:
        detail, score = f"loudest 20 ms at {loudest_db:.0f} dBFS", _score(SILENT_DB - loudest_db, 30)
    elif contrast_db < MIN_CONTRAST_DB:
        detail = f"steady noise: loudest 20 ms only {contrast_db:.1f} dB above the background"
        score = _score(MIN_CONTRAST_DB - contrast_db, MIN_CONTRAST_DB)
    else:
        return None
    return Finding(place=place, kind=SILENT, score=score, detail=detail, proposal="exclude")


def _clipping(place: int, flat: int) -> Iterator[Finding]:
    if flat >= MIN_FLAT_SAMPLES:
        score = _score(float(np.log2(flat / MIN_FLAT_SAMPLES)), 6)
        detail = f"{flat:,} samples in flat tops"
        yield Finding(
            place=place, kind=CLIPPING, score=score, detail=detail, proposal="listen; record with a lower level"
        )


def _cut(place: int, measured: Measurements) -> Iterator[Finding]:
    loudest, floor = float(measured.loudest_db[place]), float(measured.floor_db[place])
    ends = {"start": float(measured.start_db[place]), "end": float(measured.end_db[place])}
    least = max(loudest - CUT_BELOW_LOUDEST_DB, floor + CUT_OVER_FLOOR_DB)
    found = {name: level for name, level in ends.items() if level > least}
    if found:
        below = loudest - max(found.values())
        detail = f"the {' and the '.join(found)} at {max(below, 0):.0f} dB below the loudest 20 ms"
        score = _score(max(found.values()) - least, CUT_BELOW_LOUDEST_DB)
        yield Finding(
            place=place, kind=CUT, score=score, detail=detail, proposal="listen; exclude if the word is incomplete"
        )


def _low_rate(place: int, measured: Measurements) -> Iterator[Finding]:
    drop_db, high_db = float(measured.drop_db[place]), float(measured.high_db[place])
    is_rounding = measured.drop_db[place] != 0 and measured.over_rounding_db[place] < ROUNDING_DB
    if is_rounding or (high_db < TELEPHONE_HIGH_DB and drop_db > TELEPHONE_DROP_DB):
        score = 1.0 if is_rounding else _score(drop_db - TELEPHONE_DROP_DB, 40)
        detail = f"{-high_db:.0f} dB less power above 4 kHz than below" + (": only rounding" if is_rounding else "")
        proposal = "find the original: this was recorded at 8 kHz"
        yield Finding(place=place, kind=LOW_RATE, score=score, detail=detail, proposal=proposal)


def _score(excess: float, span: float) -> float:
    """Return 0.5 at a threshold, and 1 at `span` beyond it."""
    return 0.5 + 0.5 * float(np.clip(excess / span, 0, 1))


def duplicate_findings(clips: AuditedClips, pairs: Iterable[tuple[int, int, float]]) -> Iterator[Finding]:
    """Yield a finding for each duplicate to leave out.

    Of two clips in different splits, the one for training is left out, so that the splits for evaluation stay; else the later
    one. Of two clips with different labels, both are left out: one label is wrong. Silent clips are silence, no duplicates.
    """
    left_out: set[int] = set()
    ordered = sorted(pairs, key=lambda pair: (-pair[2], clips.clip_ids[pair[0]], clips.clip_ids[pair[1]]))
    for one, other, similarity in ordered:
        if _quiet(clips, one, other):
            continue
        kept, dropped = sorted(
            (one, other), key=lambda place: (-SPLITS.index(clips.splits[place]), clips.clip_ids[place])
        )
        is_same_label = clips.labels[one] == clips.labels[other]
        for place, twin in [(dropped, kept)] if is_same_label else [(dropped, kept), (kept, dropped)]:
            if place not in left_out and (twin not in left_out or not is_same_label):
                left_out.add(place)
                yield Finding(
                    place=place,
                    kind=EXACT if similarity == 1 else NEAR,
                    score=similarity,
                    detail=_describe_pair(clips, place, twin),
                    proposal="exclude" if is_same_label else "exclude: one of the two labels is wrong",
                    other=twin,
                )


def _quiet(clips: AuditedClips, *places: int) -> list[int]:
    return [place for place in places if clips.measured.loudest_db[place] < SILENT_DB or clips.label(place) == SILENCE]


def _describe_pair(clips: AuditedClips, place: int, twin: int) -> str:
    text = f"as {clips.clip_ids[twin]}"
    if clips.splits[place] != clips.splits[twin]:
        text += f" in {clips.splits[twin]}"
    if clips.labels[place] != clips.labels[twin]:
        text += f" with label {clips.label(twin)}"
    return text


def doubt_findings(clips: AuditedClips, doubts: Iterable[tuple[int, int, float]]) -> Iterator[Finding]:
    """Yield a finding for each doubted label; `doubts` are as of `find_doubts`. Silent clips are reported as silence."""
    for place, label, doubt in doubts:
        if not _quiet(clips, place):
            yield Finding(
                place=place,
                kind=DOUBT,
                score=1 - 0.5 * math.exp((MIN_DOUBT - doubt) / 2),
                detail=f"more like {clips.names[label]} to a network that has not heard this speaker",
                proposal=f"listen; if it is {clips.names[label]}, move the file there",
            )


def ranked(clips: AuditedClips, findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings, those with the highest scores first."""
    return sorted(
        findings, key=lambda found: (-round(found.score, 3), KINDS.index(found.kind), clips.clip_ids[found.place])
    )


def count_kinds(findings: Sequence[Finding]) -> dict[str, int]:
    """Return the number of findings of each kind, in the order of KINDS, zeros included."""
    counts = Counter(finding.kind for finding in findings)
    return {kind: counts[kind] for kind in KINDS}


def check_table_path(path: Path) -> None:
    """Check, before minutes of work, that the table can be written, and that it replaces nothing.

    Raises
    ------
    OutputExistsError: it exists. ConfigError: it can't be written.
    """
    if path.exists():
        raise OutputExistsError(f"{path}: exists, and may have your decisions; choose another file, or remove it")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ConfigError(f"{path}: can't be written ({parent} is no folder that can be written); choose another place")


def save_table(path: Path, clips: AuditedClips, findings: Sequence[Finding]) -> None:
    """Write the table of the findings.

    Raises
    ------
    ConfigError: the file can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, to_csv(clips, findings).encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise ConfigError(f"{path}: can't be written ({error.strerror}); choose another place") from error


def to_csv(clips: AuditedClips, findings: Sequence[Finding]) -> str:
    """Return the table of the findings, in their order."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for found in findings:
        writer.writerow(
            [
                *(clips.clip_ids[found.place], clips.splits[found.place], clips.label(found.place)),
                *(clips.speakers[found.place], found.kind, f"{found.score:.3f}", found.detail, found.proposal),
                "yes" if found.is_excluded else "no",
            ]
        )
    return file.getvalue()
