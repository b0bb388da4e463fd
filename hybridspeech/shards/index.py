"""The index of a folder of shards: its content, its settings, and checks that it is unchanged.

OUT/
  {split}-{i:05d}-of-{n:05d}.tfrecord[.gz]   the shards
  noise/{split}/{name}.wav                   waveform shards: background noise, PCM 16, no file in two splits
  manifest.parquet, rejects.jsonl            all clips, and those that can't be used
  index.json                                 written last: its presence means that preprocessing has finished

Knows nothing of engines and of how shards are made.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from hybridspeech.config import NO_AUGMENTATION, AugmentConfig, FeatureConfig, from_json, to_json
from hybridspeech.errors import ConfigError, ShardError, reason_of
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.names import ShardInfo
from hybridspeech.storage.small_files import write_atomically

FORMAT_VERSION = 1
INDEX_NAME = "index.json"
MANIFEST_NAME = "manifest.parquet"
REJECTS_NAME = "rejects.jsonl"
PROGRESS_NAME = "_progress"


@dataclass(frozen=True, kw_only=True)
class NoiseInfo:
    """A recording of background noise beside waveform shards; `name` is its path relative to their folder."""

    name: str
    splits: tuple[str, ...]
    num_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """Content of index.json: the settings and records of all shards.

    `labels` are in index order. Each training clip has `augment_copies` augmented copies, made by `augment`. `manifest` are
    the settings of labels and splits; an index of an earlier version has the defaults. `digest` covers the settings that
    decide the bytes, and the name, size and SHA-256 of every shard.
    """

    format_version: int = FORMAT_VERSION
    features: FeatureConfig
    shards_config: ShardConfig
    labels: tuple[str, ...]
    shards: tuple[ShardInfo, ...]
    num_rejects: int = 0
    augment: AugmentConfig = NO_AUGMENTATION
    augment_copies: int = 0
    noises: tuple[NoiseInfo, ...] = ()
    manifest: ManifestConfig = field(default_factory=ManifestConfig)

    def __post_init__(self) -> None:
        if not isinstance(self.num_rejects, int):
            raise ShardError(f"num_rejects is {self.num_rejects!r}; expected a count")
        if not all(isinstance(label, str) for label in self.labels):
            raise ShardError(f"labels are {self.labels!r}; expected texts")

    @property
    def num_clips(self) -> int:
        """Number of examples in all shards."""
        return sum(shard.num_examples for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        """Size of all shards on disk, in bytes."""
        return sum(shard.num_bytes for shard in self.shards)

    @property
    def splits(self) -> dict[str, int]:
        """Number of examples by split, in the order of the shards."""
        return {
            split: sum(s.num_examples for s in self.of_split(split)) for split in {s.split: None for s in self.shards}
        }

    def of_split(self, split: str) -> tuple[ShardInfo, ...]:
        """Return the shards of one split; empty if there is none."""
        return tuple(shard for shard in self.shards if shard.split == split)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hexadecimal); the same data has the same digest on every engine, machine and storage."""
        settings = {
            name: to_json(getattr(self, name)) for name in ("format_version", "features", "shards_config", "labels")
        }
        settings["shards_config"].pop("num_shards")  # the names of the shards contain it, chosen or given
        settings["shards"] = to_json(sorted(self.shards, key=lambda shard: shard.name))
        if self.augment_copies:
            settings["augment"] = to_json([self.augment_copies, self.augment])
        if self.noises:
            settings["noises"] = to_json(sorted(self.noises, key=lambda noise: noise.name))
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def noise_paths(self, folder: str | Path, split: str) -> tuple[str, ...]:
        """Return the paths of the noise recordings that may be used in a split."""
        return tuple(str(Path(folder) / noise.name) for noise in self.noises if split in noise.splits)

    def save(self, folder: str | Path) -> None:
        """Write index.json atomically: the commit mark of a finished preprocessing."""
        counts = {"num_clips": self.num_clips, "splits": self.splits, "digest": self.digest}
        write_atomically(Path(folder) / INDEX_NAME, json.dumps({**counts, **to_json(self)}, indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> ShardIndex:
        """Read the index of a folder of shards.

        Raises
        ------
        ShardError: it is missing, damaged, edited by hand, or of another version.
        """
        path = Path(folder) / INDEX_NAME
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            version = data.pop("format_version")
            data.pop("versions", None)  # early files list package versions
            digest = [data.pop(name) for name in ("num_clips", "splits", "digest")][-1]
            if version != FORMAT_VERSION:
                raise ShardError(
                    f"{path}: written by format {version}; this version reads {FORMAT_VERSION}; preprocess again"
                )
            index = from_json(cls, data)
        except (FileNotFoundError, NotADirectoryError):
            raise ShardError(_why_no_index(Path(folder))) from None
        except OSError as error:
            raise ShardError(f"{path}: can't be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ConfigError) as error:
            raise ShardError(
                f"{path}: is damaged ({reason_of(error)}); run preprocessing again with --resume"
            ) from error
        if index.digest != digest:
            raise ShardError(f"{path}: its digest does not match its content: it was edited; preprocess again")
        return index

    def incomplete(self, folder: str | Path) -> list[str]:
        """Return a sentence for each file that is missing or has another size; contents are not read."""
        files: list[ShardInfo | NoiseInfo] = [*self.shards, *self.noises]
        return [problem for file in files for problem in _check_size(Path(folder) / file.name, file)]

    def verify(self, folder: str | Path) -> list[str]:
        """Return a sentence for each shard that is missing or extra, or has another size or content."""
        folder = Path(folder)
        files: list[ShardInfo | NoiseInfo] = [*self.shards, *self.noises]
        problems = [problem for file in files for problem in _check_shard(folder / file.name, file)]
        expected = {shard.name for shard in self.shards}
        found = sorted(path.name for path in folder.iterdir() if ".tfrecord" in path.name)
        return problems + [f"{folder / name}: not in {INDEX_NAME}; remove it" for name in found if name not in expected]


def _why_no_index(folder: Path) -> str:
    """Return the message for a folder without an index: what is there instead, and what to do."""
    if not folder.is_dir():
        found = "is not a folder" if folder.exists() else "no such folder"
    elif (folder / PROGRESS_NAME).exists():
        return f"{folder}: no {INDEX_NAME}: preprocessing has not finished; run it again with --resume"
    else:
        found = f"no {INDEX_NAME} in this folder"
    return f"{folder}: {found}; expected a folder written by `hybridspeech preprocess`"


def _check_shard(path: Path, shard: ShardInfo | NoiseInfo) -> list[str]:
    problems = _check_size(path, shard)
    try:
        if not problems and _sha256_of(path) != shard.sha256:
            problems.append(f"{path}: its content has changed (SHA-256 differs)")
    except OSError as error:
        problems.append(f"{path}: can't be read: {error.strerror}")
    return problems


def _check_size(path: Path, shard: ShardInfo | NoiseInfo) -> list[str]:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return [f"{path}: missing"]
    except OSError as error:
        return [f"{path}: can't be read: {error.strerror}"]
    return [] if size == shard.num_bytes else [f"{path}: {size} bytes; expected {shard.num_bytes}"]


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
