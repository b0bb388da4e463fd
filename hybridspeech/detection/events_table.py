"""Tables of the words that are known to be in recordings: CSV or TSV. Knows nothing of sound and networks."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hybridspeech.detection.config import NOT_DETECTED
from hybridspeech.detection.stream_sound import SpokenWord
from hybridspeech.errors import ManifestError, counted, reason_of
from hybridspeech.evaluation.audio_files import AudioFile
from hybridspeech.storage.objects import read_bytes

REQUIRED, OPTIONAL = ("start_s", "label"), ("end_s", "speaker", "file")
ROUNDING_S = 0.05
"""A word may end this much after its recording, because tables have rounded times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownWord:
    """A row of a table; times in seconds; end_s None: not known; speaker '': not known."""

    line: int
    start_s: float
    end_s: float | None
    label: str
    speaker: str


@dataclass(frozen=True, kw_only=True)
class EventsTable:
    """The words of each recording, by its path and in the order of time; and the columns that are not used."""

    location: str
    words: Mapping[str, tuple[KnownWord, ...]]
    unused_columns: tuple[str, ...]

    def check_inside(self, path: str, duration_s: float) -> None:
        """Check the words of a recording of this duration.

        Raises
        ------
        ManifestError: one is not inside.
        """
        for word in self.words[path]:
            last_s = word.start_s if word.end_s is None else word.end_s
            if word.start_s >= duration_s or last_s > duration_s + ROUNDING_S:
                raise ManifestError(
                    f"{self.location}: line {word.line}: {word.label!r} at {word.start_s:g} to {last_s:g} s is outside of "
                    f"{path}, which lasts {duration_s:.2f} s; correct the times, in seconds"
                )

    def spoken(self, path: str, clip_s: float) -> list[SpokenWord]:
        """Return the words of a recording, each with the clip that holds it.

        A word without an end has one clip from its start on. A shorter word than a clip is in the middle of one, as in
        recordings of single words: the events of tight boundaries and of clips are then matched alike.
        """
        held = []
        for word in self.words[path]:
            end_s = word.start_s + clip_s if word.end_s is None else word.end_s
            margin_s = max(0.0, clip_s - (end_s - word.start_s)) / 2
            held.append(
                SpokenWord(
                    start_s=word.start_s - margin_s, end_s=end_s + margin_s, label=word.label, speaker=word.speaker
                )
            )
        return sorted(held, key=lambda word: word.start_s)


def read_events(location: str, recordings: Sequence[AudioFile], labels: Sequence[str]) -> EventsTable:
    """Read a table with the columns start_s and label, and perhaps end_s, speaker and file.

    Parameters
    ----------
    location : path or URL; separated by tabs if the header has one, else by commas
    recordings : the column `file` has their ids or paths; it may be missing if there is only one
    labels : those of the run

    Raises
    ------
    ManifestError: the table can't be read, has no words, or a row is invalid or overlaps one of the same label.
    """
    try:
        text = read_bytes(location).decode("utf-8-sig")
        delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        _check_columns(location, columns, recordings)
        rows = _Rows(
            location=location, recordings=recordings, words=[each for each in labels if each not in NOT_DETECTED]
        )
        found = list(rows.parsed(reader))
    except FileNotFoundError:
        raise ManifestError(f"{location}: no such file; expected a CSV or TSV table of words") from None
    except (OSError, ValueError, csv.Error) as error:
        raise ManifestError(f"{location}: not a readable CSV or TSV table ({reason_of(error)})") from error
    if not found:
        raise ManifestError(f"{location}: no words; expected at least one row with {' and '.join(REQUIRED)}")
    words = {file.path: _ordered(location, [word for path, word in found if path == file.path]) for file in recordings}
    unused = tuple(name for name in columns if name not in (*REQUIRED, *OPTIONAL))
    return EventsTable(location=location, words=words, unused_columns=unused)


def _check_columns(location: str, columns: Sequence[str], recordings: Sequence[AudioFile]) -> None:
    given = f"(columns: {', '.join(columns) or 'none'})"
    for name in REQUIRED:
        if name not in columns:
            raise ManifestError(
                f"{location}: no column {name!r} {given}; expected start_s and label, and perhaps {', '.join(OPTIONAL)}"
            )
    if "file" not in columns and len(recordings) > 1:
        raise ManifestError(
            f"{location}: no column 'file' {given}; there are {counted(len(recordings), 'recording')}, "
            f"e.g. {recordings[0].clip_id}"
        )


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """What the rows of a table are checked against."""

    location: str
    recordings: Sequence[AudioFile]
    words: Sequence[str]

    def parsed(self, reader: csv.DictReader[str]) -> Iterator[tuple[str, KnownWord]]:
        """Yield the path of the recording and the word of each row."""
        paths = {name: file.path for file in self.recordings for name in (file.path, file.clip_id)}
        for row in reader:
            place = f"{self.location}: line {reader.line_num}"
            if None in row or None in row.values():
                raise ManifestError(f"{place} has another number of fields than the header; correct it")
            fields = {name: value.strip() for name, value in row.items()}
            word = self._word(place, reader.line_num, fields)
            file = fields.get("file", self.recordings[0].path)
            if file not in paths:
                raise ManifestError(
                    f"{place}: {file!r} is none of the {counted(len(self.recordings), 'recording')}; expected a name such "
                    f"as {self.recordings[0].clip_id}"
                )
            yield paths[file], word

    def _word(self, place: str, line: int, fields: Mapping[str, str]) -> KnownWord:
        start_s = _seconds(place, "start_s", fields["start_s"])
        end_s = _seconds(place, "end_s", fields["end_s"]) if fields.get("end_s") else None
        if end_s is not None and end_s <= start_s:
            raise ManifestError(f"{place}: end_s is {end_s:g}; expected more than start_s, {start_s:g}")
        label = fields["label"]
        if label not in self.words:
            raise ManifestError(
                f"{place}: {label!r} is no word of the run; expected {', '.join(self.words)}; leave out other sound"
            )
        return KnownWord(line=line, start_s=start_s, end_s=end_s, label=label, speaker=fields.get("speaker", ""))


def _seconds(place: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ManifestError(f"{place}: {name} is {text!r}; expected seconds from the start of the recording, e.g. 12.5")
    return value


def _ordered(location: str, words: Sequence[KnownWord]) -> tuple[KnownWord, ...]:
    """Return the words of one recording in the order of time, after a check that those of one label do not overlap."""
    ordered = sorted(words, key=lambda word: (word.start_s, word.line))
    for label in {word.label for word in ordered}:
        for first, second in pairwise(word for word in ordered if word.label == label):
            if second.start_s < (first.end_s or 0) or second.start_s == first.start_s:
                raise ManifestError(
                    f"{location}: {label!r} of line {second.line} (from {second.start_s:g} s) overlaps that of line "
                    f"{first.line} (from {first.start_s:g} s); correct the times, or leave one of them out"
                )
    return tuple(ordered)
