"""The files of spectrograms, or of waveforms: written and read without TensorFlow.

    {split}-{i:05d}-of-{n:05d}.tfrecord[.gz]   records of tf.train.Example, published by rename

Keys of an Example: ``clip_id``, ``label_name``, ``speaker`` (bytes, UTF-8), ``label`` (int64) and ``spectrogram`` (dB,
rows are frequencies, C order): for dtype float32 a FloatList that ``tf.io.FixedLenFeature([num_bins, num_frames],
tf.float32)`` reads; for float16 one string of little-endian half floats for ``tf.io.decode_raw``, since protobuf has no
half-precision number. Waveform shards have ``waveform`` instead: one string of little-endian int16 (PCM 16).

Same clips and settings give the same bytes; gzip carries neither time nor name. Knows nothing of audio and engines.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

import numpy as np

from hybridspeech.errors import ConfigError, ShardError
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.tfrecord import Feature, RecordBuffer, decode_example, read_records

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
