"""Shards of spectrograms, or of waveforms, and their index, without TensorFlow.

    OUT/
      {split}-{i:05d}-of-{n:05d}.tfrecord[.gz]   records of tf.train.Example, published by rename
      index.json                                 written last: its presence means that preprocessing has finished

Keys of an Example: ``clip_id``, ``label_name``, ``speaker`` (bytes, UTF-8), ``label`` (int64) and ``spectrogram`` (dB,
rows are frequencies, C order): for dtype float32 a FloatList that ``tf.io.FixedLenFeature([num_bins, num_frames],
tf.float32)`` reads; for float16 one string of little-endian half floats for ``tf.io.decode_raw``, since protobuf has no
half-precision number. Waveform shards have ``waveform`` instead: one string of little-endian int16 (PCM 16).

    OUT/noise/{split}/{name}.wav               waveform shards: background noise, PCM 16, no file in two splits

Same clips and settings give the same bytes; gzip carries neither time nor name. Knows nothing of audio and engines.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

import numpy as np

from hybridspeech.config import AugmentConfig, FeatureConfig, ShardConfig, from_json, to_json
from hybridspeech.errors import ConfigError, ShardError
from hybridspeech.records import Feature, RecordBuffer, decode_example, read_records
from hybridspeech.runs import write_atomically

FORMAT_VERSION = 1
INDEX_NAME = "index.json"
MANIFEST_NAME = "manifest.parquet"
REJECTS_NAME = "rejects.jsonl"
_UTF8 = ("utf-8", "surrogateescape")  # bytes of a file name that are not UTF-8 come through as they are (PEP 383)
_GZIP = 16 + zlib.MAX_WBITS  # zlib's own gzip header: no time, no name
_GZIP_LEVEL = 1
_NAME = re.compile(r"(?P<split>[a-z]+)-(?P<number>\d{5})-of-\d{5}\.tfrecord(\.gz)?")


@dataclass(frozen=True, kw_only=True)
class ShardInfo:
    """One finished shard; `num_bytes` and `sha256` (hex) are of the file as it lies on disk."""

    name: str
    split: str
    num_examples: int
    num_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        for number in (self.num_examples, self.num_bytes):
            if not isinstance(number, int) or number < 0:
                raise ShardError(f"{self.name}: {number!r} is not a count of examples or bytes")
        if split_of(self.name) != self.split:
            raise ShardError(f"{self.name}: its name and its split ({self.split}) do not agree")


@dataclass(frozen=True, kw_only=True)
class NoiseInfo:
    """A recording of background noise that waveform shards bring along; `name` is its path below their folder."""

    name: str
    splits: tuple[str, ...]
    num_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Example:
    """One record; `values` are a spectrogram, float32 or float16, dB, or a waveform, int16 [shape as given, or flat]."""

    clip_id: str
    label: int
    label_name: str
    speaker: str
    values: np.ndarray


def shard_name(split: str, number: int, count: int, compression: str = "none") -> str:
    """File name of shard `number` (from 0) of `count` of a split."""
    return f"{split}-{number:05d}-of-{count:05d}.tfrecord" + (".gz" if compression == "gzip" else "")


def split_of(name: str) -> str:
    """The split in a shard's file name.

    Raises
    ------
    ShardError: it is not the name of a shard.
    """
    return _parts_of(name)["split"]


def number_of(name: str) -> int:
    """The number, from 0, in a shard's file name; errors as `split_of`."""
    return int(_parts_of(name)["number"])


def _parts_of(name: str) -> re.Match[str]:
    match = _NAME.fullmatch(str(name))
    if match is None:
        raise ShardError(f"{name!r} is not the name of a shard; expected e.g. {shard_name('training', 0, 4)}")
    return match


class ShardEncoder:
    """The bytes of one shard, given away piece by piece.

    The record is one buffer whose tail is the spectrogram, so a kernel can write straight into `payload`.

    Parameters
    ----------
    name : as `shard_name` gives it
    shape : (num_bins, num_frames) of every spectrogram
    sink : called with the next bytes, which are valid during the call only

    Raises
    ------
    ConfigError: a spectrogram is of another shape; a spectrogram, or its names, are too large for one record.
    """

    def __init__(
        self, name: str, config: ShardConfig, shape: tuple[int, int], sink: Callable[[bytes | memoryview], object]
    ) -> None:
        self._name, self._split, self._sink = name, split_of(name), sink
        self._record = RecordBuffer("waveform" if config.dtype == "int16" else "spectrogram", shape, config.dtype)
        gzipped = config.compression == "gzip"
        self._packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP) if gzipped else None
        self._sha256 = hashlib.sha256()
        self._num_examples = self._num_bytes = 0

    @property
    def payload(self) -> np.ndarray:
        """float32 [shape=(num_bins, num_frames)], C order: where the next spectrogram may be written without a copy."""
        return self._record.payload

    def write(self, clip_id: str, label: int, label_name: str, speaker: str, spectrogram: np.ndarray) -> None:
        """Append one example; `spectrogram` is `payload` itself, or an array of its shape that is copied there."""
        if spectrogram is not self.payload:
            if spectrogram.shape != self.payload.shape:
                raise ConfigError(f"{clip_id}: spectrogram of shape {spectrogram.shape}; expected {self.payload.shape}")
            self.payload[...] = spectrogram
        names = {"clip_id": clip_id, "label_name": label_name, "speaker": speaker}
        small: dict[str, bytes | int] = {key: text.encode(*_UTF8) for key, text in names.items()}
        record = self._record.packed({**small, "label": int(label)})
        self._give(self._packer.compress(record) if self._packer else record)
        self._num_examples += 1

    def _give(self, data: bytes | memoryview) -> None:
        self._sha256.update(data)
        self._num_bytes += len(data)
        self._sink(data)

    def finish(self) -> ShardInfo:
        """Give away what is left, and say what the shard is."""
        if self._packer:
            self._give(self._packer.flush())
        return ShardInfo(
            name=self._name,
            split=self._split,
            num_examples=self._num_examples,
            num_bytes=self._num_bytes,
            sha256=self._sha256.hexdigest(),
        )


class ShardWriter:
    """Writes one shard: a context manager whose clean exit publishes the file and sets `info`; an error leaves nothing.

    Spectrograms are written as a `ShardEncoder` takes them::

        with ShardWriter(out / "training-00000-of-00004.tfrecord", config, features.shape) as writer:
            extractor(wave, out=writer.payload)
            writer.write(clip_id, label, label_name, speaker, writer.payload)

    Parameters
    ----------
    path : final path; its name is that of `shard_name`. A unique temporary file next to it is written first
    shape : (num_bins, num_frames) of every spectrogram

    Raises
    ------
    ShardError: the file can't be written (from `__enter__`, `write` and `__exit__`).
    ConfigError: a spectrogram is of another shape; a spectrogram, or its names, are too large for one record.
    """

    def __init__(self, path: str | Path, config: ShardConfig, shape: tuple[int, int]) -> None:
        self.path = Path(path)
        self.info: ShardInfo | None = None
        self._encoder = ShardEncoder(self.path.name, config, shape, self._append)
        self._temporary = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}.tmp")

    @property
    def encoder(self) -> ShardEncoder:
        """What makes the bytes."""
        return self._encoder

    @property
    def payload(self) -> np.ndarray:
        """As `ShardEncoder.payload`."""
        return self._encoder.payload

    def __enter__(self) -> ShardWriter:
        try:
            self._file = self._temporary.open("xb", buffering=0)
        except OSError as error:
            raise self._translated(error) from error
        return self

    def write(self, clip_id: str, label: int, label_name: str, speaker: str, spectrogram: np.ndarray) -> None:
        """As `ShardEncoder.write`."""
        self._encoder.write(clip_id, label, label_name, speaker, spectrogram)

    def _append(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise self._translated(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._publish()
        finally:
            self._file.close()
            self._temporary.unlink(missing_ok=True)

    def _publish(self) -> None:
        info = self._encoder.finish()
        try:
            os.fsync(self._file.fileno())
            self._temporary.replace(self.path)
        except OSError as error:
            raise self._translated(error) from error
        self.info = info

    def _translated(self, error: OSError) -> ShardError:
        return ShardError(
            f"{self.path}: can't be written: {error.strerror}; free space or choose another output folder"
        )


def read_shard(
    path: str | Path, compression: str | None = None, verify: bool = True, shape: tuple[int, int] | None = None
) -> Iterator[Example]:
    """The examples of one shard, in order.

    Parameters
    ----------
    compression : "none" or "gzip"; None tells by the name
    verify : compare the CRCs of every record
    shape : (num_bins, num_frames), for two-dimensional spectrograms

    Raises
    ------
    ShardError: the file is missing, cut or damaged; names file, record and byte offset (in the unpacked stream).
    """
    path = Path(path)
    packed = path.suffix == ".gz" if compression is None else compression == "gzip"
    try:
        with cast(BinaryIO, gzip.open(path, "rb")) if packed else path.open("rb") as file:
            for number, (offset, data) in enumerate(read_records(file, str(path), verify)):
                try:
                    yield _to_example(decode_example(data), shape)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise ShardError(f"{path}: record {number} at byte {offset} is not an example: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise ShardError(f"{path}: can't be read: {error}") from error


def _to_example(features: Mapping[str, Feature], shape: tuple[int, int] | None) -> Example:
    texts = {key: cast(bytes, features[key]).decode(*_UTF8) for key in ("clip_id", "label_name", "speaker")}
    values, dtype = (features["waveform"], "<i2") if "waveform" in features else (features["spectrogram"], "<f2")
    flat = values if isinstance(values, np.ndarray) else np.frombuffer(cast(bytes, values), dtype)
    return Example(
        **texts, label=int(cast(int, features["label"])), values=flat if shape is None else flat.reshape(shape)
    )


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """What index.json says: how the shards were made, which they are, and one digest for the whole.

    `labels` are in index order. Of each training clip there are `augment_copies` varied ones besides it, made by `augment`.
    `versions` (of the packages that made the shards) is for the reader and not in the
    digest, which covers the settings that decide the bytes and the name, size and SHA-256 of every shard.
    """

    format_version: int = FORMAT_VERSION
    features: FeatureConfig
    shards_config: ShardConfig
    labels: tuple[str, ...]
    shards: tuple[ShardInfo, ...]
    num_rejects: int = 0
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    augment_copies: int = 0
    noises: tuple[NoiseInfo, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.num_rejects, int):
            raise ShardError(f"num_rejects is {self.num_rejects!r}; expected a count")
        if not all(isinstance(label, str) for label in self.labels):
            raise ShardError(f"labels are {self.labels!r}; expected texts")

    @property
    def num_clips(self) -> int:
        """Examples in all shards."""
        return sum(shard.num_examples for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        """Size of all shards on disk."""
        return sum(shard.num_bytes for shard in self.shards)

    @property
    def splits(self) -> dict[str, int]:
        """Examples by split, in the order of the shards."""
        return {
            split: sum(s.num_examples for s in self.of_split(split)) for split in {s.split: None for s in self.shards}
        }

    def of_split(self, split: str) -> tuple[ShardInfo, ...]:
        """The shards of one split; empty if there is none."""
        return tuple(shard for shard in self.shards if shard.split == split)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) that is the same wherever, whenever and by whichever engine the same data was made."""
        settings = {
            name: to_json(getattr(self, name)) for name in ("format_version", "features", "shards_config", "labels")
        }
        settings["shards_config"].pop("num_shards")  # the names of the shards say it, chosen or given
        settings["shards"] = to_json(sorted(self.shards, key=lambda shard: shard.name))
        if self.augment_copies:
            settings["augment"] = to_json([self.augment_copies, self.augment])
        if self.noises:
            settings["noises"] = to_json(sorted(self.noises, key=lambda noise: noise.name))
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def noise_paths(self, folder: str | Path, split: str) -> tuple[str, ...]:
        """The recordings of noise that may be heard in a split."""
        return tuple(str(Path(folder) / noise.name) for noise in self.noises if split in noise.splits)

    def save(self, folder: str | Path) -> None:
        """Write index.json, at once: the commit mark of a finished preprocessing."""
        counts = {"num_clips": self.num_clips, "splits": self.splits, "digest": self.digest}
        write_atomically(Path(folder) / INDEX_NAME, json.dumps({**counts, **to_json(self)}, indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> ShardIndex:
        """The index of a folder of shards.

        Raises
        ------
        ShardError: there is none, or it is damaged, edited by hand, or of another version.
        """
        path = Path(folder) / INDEX_NAME
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            version = data.pop("format_version")
            digest = [data.pop(name) for name in ("num_clips", "splits", "digest")][-1]
            if version != FORMAT_VERSION:
                raise ShardError(
                    f"{path}: written by format {version}; this version reads {FORMAT_VERSION}; preprocess again"
                )
            index = from_json(cls, data)
        except FileNotFoundError:
            raise ShardError(
                f"{folder}: no {INDEX_NAME}: preprocessing has not finished; run it again with --resume"
            ) from None
        except OSError as error:
            raise ShardError(f"{path}: can't be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ConfigError) as error:
            raise ShardError(f"{path}: is damaged ({error}); run preprocessing again with --resume") from error
        if index.digest != digest:
            raise ShardError(f"{path}: its digest does not fit its content; it was changed by hand; preprocess again")
        return index

    def lacking(self, folder: str | Path) -> list[str]:
        """Which shards are missing or of another size, a sentence each; contents are not read."""
        files: list[ShardInfo | NoiseInfo] = [*self.shards, *self.noises]
        return [problem for file in files for problem in _check_size(Path(folder) / file.name, file)]

    def verify(self, folder: str | Path) -> list[str]:
        """What is wrong with the shards of a folder: missing, extra, of another size or content; empty if nothing."""
        folder = Path(folder)
        files: list[ShardInfo | NoiseInfo] = [*self.shards, *self.noises]
        problems = [problem for file in files for problem in _check_shard(folder / file.name, file)]
        expected = {shard.name for shard in self.shards}
        found = sorted(path.name for path in folder.iterdir() if ".tfrecord" in path.name)
        return problems + [f"{folder / name}: not in {INDEX_NAME}; remove it" for name in found if name not in expected]


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
