"""Inputs of the cases: clips, synthesized or from a folder, and shards of them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet

from hybridspeech.commands.preprocess import preprocess
from hybridspeech.commands.synthesize import synthesize
from hybridspeech.config import EngineConfig, FeatureConfig
from hybridspeech.corpora.synthesis import WORDS
from hybridspeech.errors import ConfigError
from hybridspeech.manifest.clips import Clip
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.processes.resources import num_cores

SEED = 0
KINDS = ("clips", "stft-shards", "logmel-shards", "waveform-shards", "table")
FIRST = "words/first.wav"
"""The only file of a table: the others are never opened."""
NUM_SYNTHESIZED = 1_200
TABLE_ROWS = 1 << 18


class Inputs:
    """Creates each input in `folder` when it is first requested.

    Parameters
    ----------
    data : a folder of clips in the layout of Speech Commands; None: synthesized clips
    task : labels of the shards; see ManifestConfig

    Raises
    ------
    ConfigError, ManifestError: `data` is not such a folder.
    """

    def __init__(self, folder: Path, data: Path | None = None, task: str = "all") -> None:
        self._manifest = ManifestConfig(task=task)
        self.folder = folder
        self._data = data
        self._found = _shuffled(read_manifest(data).clips) if data else ()
        if data and not data.is_dir():
            raise ConfigError(f"{data}: is a file; expected a folder with one folder per word")

    @property
    def source(self) -> str:
        """Description of the clips."""
        return f"folder {self._data.name}" if self._data else f"synthesized with seed {SEED}"

    def get(self, kind: str, num_clips: int) -> Path:
        """Return the folder of an input of this kind (one of KINDS) with about `num_clips` clips; 0: all clips."""
        if kind == "clips" and num_clips == 0 and self._data:
            return self._data
        num_clips = num_clips or (0 if self._data else NUM_SYNTHESIZED)
        path = self.folder / f"{kind}-{num_clips}"
        if not path.exists():
            if kind == "clips":
                self._make_clips(path, num_clips)
            elif kind == "table":
                write_table(path, num_clips)
            else:
                self._make_shards(path, kind.removesuffix("-shards"), num_clips)
        return path

    def _make_clips(self, path: Path, num_clips: int) -> None:
        if self._data is None:
            words = WORDS[: max(2, min(len(WORDS), num_clips // 8))]
            synthesize(path, words=words, clips_per_word=-(-num_clips // len(words)), seed=SEED)
            return
        for clip in self._found[:num_clips]:
            target = path / clip.clip_id
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(clip.path, target)

    def _make_shards(self, path: Path, features: str, num_clips: int) -> None:
        clips = self.get("clips", num_clips)
        processes = EngineConfig(num_executors=num_cores())
        preprocess(
            clips,
            path,
            features=FeatureConfig(kind=features),
            manifest=self._manifest,
            engine="local",
            engine_config=processes,
        )


def write_table(folder: Path, num_rows: int) -> None:
    """Write clips.parquet with names like those of Multilingual Spoken Words: 5,000 words and 100,000 speakers."""
    draw = np.random.default_rng(SEED)
    folder.mkdir(parents=True)
    schema = pyarrow.schema(dict.fromkeys(("path", "label", "speaker", "split"), pyarrow.string()))
    with pyarrow.parquet.ParquetWriter(folder / "clips.parquet", schema) as writer:
        for first in range(0, num_rows, TABLE_ROWS):
            numbers = draw.permutation(np.arange(first, min(first + TABLE_ROWS, num_rows)))
            words, speakers = draw.integers(0, 5_000, len(numbers)), draw.integers(0, 100_000, len(numbers))
            paths = [
                f"words/{word:04d}/common_voice_en_{number:08d}.wav"
                for word, number in zip(words, numbers, strict=True)
            ]
            paths[0] = FIRST if first == 0 else paths[0]
            rows = {
                "path": paths,
                "label": [f"word {word}" for word in words],
                "speaker": [f"speaker {speaker}" for speaker in speakers],
                "split": [("train", "dev", "test")[max(0, speaker % 10 - 7)] for speaker in speakers],
            }
            writer.write_table(pyarrow.table(rows, schema=schema))


def count_clips(source: Path) -> int:
    """Return the number of clips in a folder."""
    return len(read_manifest(source).clips)


def _shuffled(clips: Sequence[Clip]) -> Sequence[Clip]:
    """Return the clips in a fixed order that mixes words and speakers."""
    return sorted(clips, key=lambda clip: hashlib.sha256(clip.clip_id.encode()).digest())
