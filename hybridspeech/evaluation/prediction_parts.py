"""Predictions of many files as a Parquet file that is made in parts, each by one task of an engine.

    OUT.parts/settings.json         what decides the rows; first
    OUT.parts/part-NNNNN.parquet    the rows of the files of one task
    OUT                             all rows, in the order of the clip ids; last

Knows nothing of engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridspeech.evaluation.audio_files import AudioFile, read_clips
from hybridspeech.evaluation.file_predictions import Prediction, TrainedRun, loaded_run
from hybridspeech.evaluation.parquet_parts import SETTINGS_KEY, count_rows, part_name, read_part, write_part
from hybridspeech.records import to_json

FILES_PER_PART = 256
BATCH_SIZE = 64
"""Files in one batch of the network. Batches and parts are the same on every engine, and so are the rows."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The files of one task, in the order of their rows."""

    number: int
    files: tuple[AudioFile, ...]

    @property
    def name(self) -> str:
        """File name of the part."""
        return part_name(self.number)

    @property
    def num_items(self) -> int:
        """Number of files of the part."""
        return len(self.files)


@dataclass(frozen=True, kw_only=True)
class PartMaker:
    """Predicts the files of parts; an engine calls it in a worker, which loads the network once.

    Parameters
    ----------
    folder : location of the parts
    key : hash of the files of the run
    num_threads : of TensorFlow in one worker; 0: as many as there are cores
    """

    run: str
    key: str
    model: str | None
    top_k: int
    folder: str
    num_threads: int = 0

    def __call__(self, parts: Sequence[Part]) -> list[int]:
        """Write the parts, and return their numbers of files.

        Raises
        ------
        RunError: this worker can't load the run. StorageError, OSError: a part can't be written.
        """
        trained = loaded_run(self.run, self.key, self.model, self.num_threads)
        return [self._make(part, trained) for part in parts]

    def _make(self, part: Part, trained: TrainedRun) -> int:
        paths = [file.path for file in part.files]
        clips = read_clips(paths, trained.features)
        predictions: list[Prediction] = []
        for first in range(0, len(paths), BATCH_SIZE):
            batch = paths[first : first + BATCH_SIZE]
            predictions += trained.predict(batch, [next(clips) for _ in batch], self.top_k)
        write_part(self.folder, part.name, _rows(part.files, predictions), schema())
        return len(paths)


def plan_parts(files: Sequence[AudioFile]) -> list[Part]:
    """Divide the files, in the order of their clip ids, into parts of equal size."""
    ordered = sorted(files)
    starts = range(0, len(ordered), FILES_PER_PART)
    return [
        Part(number=number, files=tuple(ordered[first : first + FILES_PER_PART])) for number, first in enumerate(starts)
    ]


def schema() -> Any:
    """Return the columns of the table."""
    import pyarrow as pa

    candidate = pa.struct({"label": pa.string(), "probability": pa.float64()})
    text, number = pa.string(), pa.float64()
    return pa.schema(
        {
            "clip_id": text,
            "path": text,
            "label": text,
            "probability": number,
            "top": pa.list_(candidate),
            "cut_s": number,
            "error": text,
        }
    )


def _rows(files: Sequence[AudioFile], predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    return [
        {"clip_id": file.clip_id, **{name: to_json(value) for name, value in vars(prediction).items()}}
        for file, prediction in zip(files, predictions, strict=True)
    ]


def join_parts(folder: str, parts: Sequence[Part], settings: str, path: Path) -> tuple[int, int]:
    """Write the rows of all parts to one local Parquet file, with `settings` in its metadata; return as `count_rows`."""
    import pyarrow.parquet

    metadata = {SETTINGS_KEY: settings}
    with pyarrow.parquet.ParquetWriter(path, schema().with_metadata(metadata)) as writer:
        for part in parts:
            writer.write_table(read_part(folder, part.name).replace_schema_metadata(metadata))
    return count_rows(path)
