"""Events of many files as a Parquet table: workers compute posteriors of segments, the driver decodes them.

    OUT.parts/part-NNNNN.parquet    one row per segment: clip_id, path, first_window, posteriors, error
    OUT                             one row per event, in the order of clip_id and time; and one per unusable file

A long local file is divided into segments of whole batches of windows. Workers compute their posteriors from the same samples,
and the decoder runs over those of the whole file, so that the events do not depend on the division. Knows nothing of engines.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.audio.streams import header_duration_s, sound_blocks
from hybridspeech.detection.config import DecoderSettings, DetectionConfig, Thresholds
from hybridspeech.detection.decoder import Decoder, Peak
from hybridspeech.detection.listener import BATCH_SIZE, Posteriors, WindowPlan, decoder_settings, window_plan
from hybridspeech.errors import AudioError
from hybridspeech.evaluation.audio_files import AudioFile
from hybridspeech.evaluation.file_predictions import TrainedRun, loaded_run
from hybridspeech.evaluation.parquet_parts import SETTINGS_KEY, count_rows, part_name, read_part, write_part
from hybridspeech.storage.locations import is_url

SEGMENT_S = 1800.0
"""Longest sound of a segment, and of a part with several files, in seconds."""
FILES_PER_PART = 256
SHORT_BYTES = 1 << 20
"""The duration of a smaller file is not looked up."""
BYTES_PER_S = 32_000
ROWS_PER_GROUP = 100_000
_OF_EVENT = ("start_s", "end_s", "label", "score")


@dataclass(frozen=True, slots=True)
class Segment:
    """Windows of a file: `num_windows` from `first_window` on; None: to the end."""

    file: AudioFile
    first_window: int = 0
    num_windows: int | None = None


@dataclass(frozen=True, kw_only=True)
class EventPart:
    """The segments of one task."""

    number: int
    segments: tuple[Segment, ...]

    @property
    def name(self) -> str:
        """File name of the part."""
        return part_name(self.number)

    @property
    def num_items(self) -> int:
        """Number of segments."""
        return len(self.segments)


def plan_event_parts(files: Sequence[AudioFile], plan: WindowPlan, segment_s: float = SEGMENT_S) -> list[EventPart]:
    """Divide files, in the order of their clip ids, into parts of about `segment_s` of sound.

    Files on an object store are not divided: a worker downloads a whole file.
    """
    per_batch_s = BATCH_SIZE * plan.hop / plan.sample_rate_hz
    num_windows = BATCH_SIZE * max(1, int(segment_s / per_batch_s))
    segments: list[tuple[Segment, float]] = []
    for file in sorted(set(files)):
        duration_s = _duration_s(file.path)
        count = plan.count(int(duration_s * plan.sample_rate_hz))
        starts = range(0, max(count, 1), num_windows)
        for first in starts:
            is_last = first == starts[-1]
            segment = Segment(file, first, None if is_last else num_windows)
            segments.append((segment, min(duration_s, segment_s)))
    groups: list[list[Segment]] = []
    filled_s = 0.0
    for segment, duration_s in segments:
        if not groups or filled_s + duration_s > segment_s or len(groups[-1]) == FILES_PER_PART:
            groups.append([])
            filled_s = 0.0
        groups[-1].append(segment)
        filled_s += duration_s
    return [EventPart(number=number, segments=tuple(group)) for number, group in enumerate(groups)]


def _duration_s(path: str) -> float:
    """Return the duration that the header of a long local file declares, else an estimate."""
    if is_url(path):
        return 1.0
    try:
        size = Path(path).stat().st_size
    except OSError:
        return 0.0
    return size / BYTES_PER_S if size < SHORT_BYTES else header_duration_s(path)


@dataclass(frozen=True, kw_only=True)
class PosteriorMaker:
    """Computes the posteriors of parts; an engine calls it in a worker, which loads the network once.

    Parameters
    ----------
    folder : location of the parts
    key : hash of the files of the run
    num_threads : of TensorFlow in one worker; 0: as many as there are cores
    """

    run: str
    key: str
    model: str | None
    detection: DetectionConfig
    folder: str
    num_threads: int = 0

    def __call__(self, parts: Sequence[EventPart]) -> list[int]:
        """Write the parts, and return their numbers of segments.

        Raises
        ------
        RunError: this worker can't load the run. StorageError, OSError: a part can't be written.
        """
        trained = loaded_run(self.run, self.key, self.model, self.num_threads)
        for part in parts:
            rows = [_row(segment, *segment_posteriors(segment, trained, self.detection)) for segment in part.segments]
            write_part(self.folder, part.name, rows, _part_schema())
        return [part.num_items for part in parts]


def segment_posteriors(
    segment: Segment, trained: TrainedRun, detection: DetectionConfig
) -> tuple[np.ndarray, str | None]:
    """Return the probabilities of the windows of a segment, and the error if it can't be read to its end."""
    plan = window_plan(trained.features, detection)
    first = segment.first_window
    posteriors, rows, error = Posteriors(trained, plan, first_window=first), list[np.ndarray](), None
    count = 0
    try:
        with closing(sound_blocks(segment.file.path, plan.sample_rate_hz, plan.first_sample(first))) as blocks:
            for block in blocks:
                rows.append(posteriors.push(block))
                count += len(rows[-1])
                if segment.num_windows is not None and count >= segment.num_windows:
                    break
    except AudioError as raised:
        error = str(raised)
    if segment.num_windows is None or count < segment.num_windows:
        rows.append(posteriors.finish())
    return np.concatenate(rows)[: segment.num_windows], error


def _row(segment: Segment, posteriors: np.ndarray, error: str | None) -> dict[str, Any]:
    return {
        "clip_id": segment.file.clip_id,
        "path": segment.file.path,
        "first_window": segment.first_window,
        "posteriors": posteriors.astype("<f4").tobytes(),
        "error": error,
    }


@dataclass(frozen=True, kw_only=True)
class EventDecoder:
    """Decodes the posteriors of files. It is made with the labels and windows of a run."""

    thresholds: Thresholds
    detection: DetectionConfig
    plan: WindowPlan
    labels: tuple[str, ...]

    def join(self, folder: str, parts: Sequence[EventPart], settings: str, path: Path) -> tuple[int, ...]:
        """Write the events of all parts to a local Parquet file, with `settings` in its metadata; return `event_counts`."""
        import pyarrow
        import pyarrow.parquet

        schema = _event_schema().with_metadata({SETTINGS_KEY: settings})
        with pyarrow.parquet.ParquetWriter(path, schema) as writer:
            rows: list[dict[str, Any]] = []
            for _, segments in itertools.groupby(_rows_of(folder, parts), key=_file_of):
                rows += self._events(segments)
                if len(rows) >= ROWS_PER_GROUP:
                    writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
                    rows = []
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
        return event_counts(path)

    def _events(self, segments: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the rows of one file; those behind an error are left out."""
        settings = decoder_settings(self.plan, self.detection, self.thresholds, self.labels)
        decoder, row = Decoder(settings), dict[str, Any]()
        for row in segments:
            posteriors = np.frombuffer(row["posteriors"], "<f4").reshape(-1, len(self.labels))
            yield from (self._row(row, peak, settings) for peak in decoder.push(posteriors))
            if row["error"] is not None:
                break
        yield from (self._row(row, peak, settings) for peak in decoder.finish())
        if row["error"] is not None:
            yield {"clip_id": row["clip_id"], "path": row["path"], "error": row["error"]}

    def _row(self, row: dict[str, Any], peak: Peak, settings: DecoderSettings) -> dict[str, Any]:
        event = self.plan.event(row["path"], peak, self.labels, settings.num_smoothed)
        return {"clip_id": row["clip_id"], "path": row["path"], **{name: getattr(event, name) for name in _OF_EVENT}}


def _file_of(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["clip_id"], row["path"]


def _rows_of(folder: str, parts: Sequence[EventPart]) -> Iterator[dict[str, Any]]:
    for part in parts:
        yield from read_part(folder, part.name).to_pylist()


def event_counts(path: Path) -> tuple[int, int]:
    """Return the number of events of a table, and the number of unusable files."""
    num_rows, num_unusable = count_rows(path)
    return num_rows - num_unusable, num_unusable


def _part_schema() -> Any:
    import pyarrow as pa

    text = pa.string()
    return pa.schema(
        {"clip_id": text, "path": text, "first_window": pa.int64(), "posteriors": pa.large_binary(), "error": text}
    )


def _event_schema() -> Any:
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    return pa.schema(
        {
            "clip_id": text,
            "path": text,
            "start_s": number,
            "end_s": number,
            "label": text,
            "score": number,
            "error": text,
        }
    )
