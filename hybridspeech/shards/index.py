"""The index of a folder of shards: its content, its settings, and checks that it is unchanged.

OUT/
  {split}-{i:05d}-of-{n:05d}.tfrecord[.gz]   the shards
  noise/{split}/{name}.wav                   waveform shards: background noise, PCM 16, no file in two splits
  manifest.parquet, rejects.jsonl            all clips, and those that can't be used
  dataset_info.json, features.json, label.labels.txt    the description of the shards for TFDS (see `tfds`)
  index.json                                 written last: its presence means that preprocessing has finished

Knows nothing of engines and of how shards are made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hybridspeech.config import NO_AUGMENTATION, AugmentConfig, FeatureConfig
from hybridspeech.errors import ConfigError, ShardError, reason_of
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.records import from_json, to_json
from hybridspeech.shards.checksums import SHA256, XXH3, checksum_of, is_intact
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.names import ShardInfo
from hybridspeech.shards.tfds import TFDS_NAMES, tfds_files
from hybridspeech.storage.locations import is_url, join
from hybridspeech.storage.objects import is_file, list_files, list_names, read_bytes, write_bytes
from hybridspeech.storage.parallel_reads import read_many

FORMAT_VERSION = 2
"""Version that is written. Version 1, which has SHA-256 instead of XXH3, is read and verified too."""
INDEX_NAME = "index.json"
MANIFEST_NAME = "manifest.parquet"
REJECTS_NAME = "rejects.jsonl"
PROGRESS_NAME = "_progress"
VERIFIED_IN_FLIGHT = 2
"""Whole shards of an object store that are in memory at the same time."""


@dataclass(frozen=True, kw_only=True)
class NoiseInfo:
    """A recording of background noise beside waveform shards; `name` is its path relative to their folder."""

    name: str
    splits: tuple[str, ...]
    num_bytes: int
    checksum: str


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """Content of index.json: the settings and records of all shards.

    `labels` are in index order. Each training clip has `augment_copies` augmented copies, made by `augment`. `manifest` are
    the settings of labels and splits; an index of an earlier version has the defaults. `excluded` are the ids of the clips of
    the source that were left out on request, sorted. `digest` covers the settings that decide the bytes, the excluded clips,
    and the name, size and checksum of every shard.
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
    excluded: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.num_rejects, int):
            raise ShardError(f"num_rejects is {self.num_rejects!r}; expected a count")
        if not all(isinstance(label, str) for label in self.labels):
            raise ShardError(f"labels are {self.labels!r}; expected texts")
        if not all(isinstance(clip_id, str) for clip_id in self.excluded):
            raise ShardError(f"excluded are {self.excluded!r}; expected ids of clips")

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
        """XXH3 of 128 bits (hexadecimal); the same data has the same digest on every engine, machine and storage.

        For format version 1 it is the SHA-256.
        """
        settings = {
            name: to_json(getattr(self, name)) for name in ("format_version", "features", "shards_config", "labels")
        }
        settings["shards_config"].pop("num_shards")  # the names of the shards contain it, chosen or given
        settings["shards"] = self._files_as_json(self.shards)
        if self.augment_copies:
            settings["augment"] = to_json([self.augment_copies, self.augment.digested])
        if self.noises:
            settings["noises"] = self._files_as_json(self.noises)
        if self.excluded:
            settings["excluded"] = list(self.excluded)
        algorithm = XXH3 if self.format_version == FORMAT_VERSION else SHA256
        return checksum_of(json.dumps(settings, sort_keys=True).encode(), algorithm).partition(":")[2]

    def _files_as_json(self, files: Sequence[ShardInfo | NoiseInfo]) -> list[dict[str, Any]]:
        """Return the records as index.json of this version holds them, sorted by name."""
        records = [to_json(file) for file in sorted(files, key=lambda file: file.name)]
        if self.format_version == FORMAT_VERSION:
            return records
        return [{SHA256: r.pop("checksum").removeprefix(f"{SHA256}:"), **r} for r in records]

    def noise_paths(self, folder: str | Path, split: str) -> tuple[str, ...]:
        """Return the paths of the noise recordings that may be used in a split."""
        return tuple(join(folder, noise.name) for noise in self.noises if split in noise.splits)

    @property
    def tfds_files(self) -> dict[str, str]:
        """Content of the files for TensorFlow Datasets by name; empty if the shards are compressed."""
        return tfds_files(self.features, self.shards_config, self.labels, self.shards, self.digest)

    def save_tfds_files(self, folder: str | Path) -> None:
        """Write the files for TensorFlow Datasets, where they are missing or differ."""
        for name, content in self.tfds_files.items():
            path = join(folder, name)
            if not is_file(path) or read_bytes(path) != content.encode():
                write_bytes(path, content)

    def save(self, folder: str | Path) -> None:
        """Write index.json atomically: the commit mark of a finished preprocessing."""
        counts = {"num_clips": self.num_clips, "splits": self.splits, "digest": self.digest}
        write_bytes(join(folder, INDEX_NAME), json.dumps({**counts, **to_json(self)}, indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> ShardIndex:
        """Read the index of a folder of shards.

        Raises
        ------
        ShardError: it is missing, damaged, edited by hand, or of another version.
        """
        path = join(folder, INDEX_NAME)
        try:
            data = json.loads(read_bytes(path))
            version = data.pop("format_version")
            data.pop("versions", None)  # early files list package versions
            digest = [data.pop(name) for name in ("num_clips", "splits", "digest")][-1]
            if version not in (1, FORMAT_VERSION):
                raise ShardError(
                    f"{path}: written by format {version}; this version reads 1 and {FORMAT_VERSION}; preprocess again"
                )
            if version == 1:
                for record in (*data["shards"], *data.get("noises", ())):
                    record["checksum"] = f"{SHA256}:{record.pop(SHA256)}"
            index = from_json(cls, {"format_version": version, **data})
        except (FileNotFoundError, NotADirectoryError):
            raise ShardError(_why_no_index(str(folder))) from None
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
        if not is_url(folder):
            return [problem for file in files for problem in _check_size(Path(folder) / file.name, file)]
        sizes = {stat.name: stat.num_bytes for stat in list_files(str(folder))}
        return [
            problem
            for file in files
            for problem in _compare(join(folder, file.name), sizes.get(file.name), file.num_bytes)
        ]

    def verify(self, folder: str | Path) -> list[str]:
        """Return a sentence for each file that is missing or extra, or has another size or content.

        Shards without any file for TensorFlow Datasets are those of an earlier version.
        """
        files: list[ShardInfo | NoiseInfo] = [*self.shards, *self.noises]
        if is_url(folder):
            contents = read_many((join(folder, file.name) for file in files), in_flight=VERIFIED_IN_FLIGHT)
            checks = (_check_content(join(folder, f.name), c, f) for f, c in zip(files, contents, strict=True))
        else:
            checks = (_check_shard(Path(folder) / file.name, file) for file in files)
        problems = [problem for found in checks for problem in found]
        expected = {shard.name for shard in self.shards}
        names = list_names(str(folder))
        problems += self._verify_tfds_files(folder, [name for name in names if name in TFDS_NAMES])
        extra = [name for name in names if ".tfrecord" in name and name not in expected]
        return problems + [f"{join(folder, name)}: not in {INDEX_NAME}; remove it" for name in extra]

    def _verify_tfds_files(self, folder: str | Path, there: Sequence[str]) -> list[str]:
        files = self.tfds_files
        extra = [f"{join(folder, name)}: TFDS can't read compressed shards; remove it" for name in there if not files]
        problems = []
        for name, expected in files.items() if there else ():
            path = join(folder, name)
            if name not in there:
                problems.append(f"{path}: missing; run preprocessing again with --resume")
            elif read_bytes(path) != expected.encode():
                problems.append(f"{path}: does not agree with {INDEX_NAME}; run preprocessing again with --resume")
        return problems + extra


def _why_no_index(folder: str) -> str:
    """Return the message for a folder without an index: what is there instead, and what to do."""
    if list_names(join(folder, PROGRESS_NAME)):
        return f"{folder}: no {INDEX_NAME}: preprocessing has not finished; run it again with --resume"
    if is_url(folder):
        found = f"no {INDEX_NAME} here"
    elif Path(folder).is_dir():
        found = f"no {INDEX_NAME} in this folder"
    else:
        found = "is not a folder" if Path(folder).exists() else "no such folder"
    return f"{folder}: {found}; expected a folder written by `hybridspeech preprocess`"


def _check_shard(path: Path, shard: ShardInfo | NoiseInfo) -> list[str]:
    problems = _check_size(path, shard)
    try:
        if not problems and not is_intact(path, shard.checksum):
            problems.append(f"{path}: its content has changed (its checksum differs)")
    except OSError as error:
        problems.append(f"{path}: can't be read: {error.strerror}")
    return problems


def _check_content(path: str, content: bytes | Exception, shard: ShardInfo | NoiseInfo) -> list[str]:
    if isinstance(content, FileNotFoundError):
        return [f"{path}: missing"]
    if isinstance(content, Exception):
        raise content
    problems = _compare(path, len(content), shard.num_bytes)
    if not problems and not is_intact(content, shard.checksum):
        problems.append(f"{path}: its content has changed (its checksum differs)")
    return problems


def _compare(path: str | Path, size: int | None, expected: int) -> list[str]:
    if size is None:
        return [f"{path}: missing"]
    return [] if size == expected else [f"{path}: {size} bytes; expected {expected}"]


def _check_size(path: Path, shard: ShardInfo | NoiseInfo) -> list[str]:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return [f"{path}: missing"]
    except OSError as error:
        return [f"{path}: can't be read: {error.strerror}"]
    return _compare(path, size, shard.num_bytes)
