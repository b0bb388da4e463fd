"""Writes a shard without TensorFlow: one TFRecord file of tf.train.Example.

Keys of an Example: ``clip_id``, ``label_name``, ``speaker`` (bytes, UTF-8), ``label`` (int64) and ``spectrogram`` (dB,
rows are frequencies, C order). For dtype float32 the spectrogram is a FloatList that
``tf.io.FixedLenFeature([num_bins, num_frames], tf.float32)`` reads; for float16 it is one string of little-endian half
floats for ``tf.io.decode_raw``, because protobuf has no half-precision type. Waveform shards have ``waveform`` instead:
one string of little-endian int16 (PCM 16).

The same clips and settings give the same bytes; the gzip header has no time and no name. Knows nothing of audio and
engines.
"""

from __future__ import annotations

import os
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np

from hybridspeech.errors import ConfigError
from hybridspeech.processes.scratch import scratch_folder
from hybridspeech.shards.checksums import Checksum
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.names import ShardInfo, split_of
from hybridspeech.shards.tfrecord import TEXT_ENCODING, RecordBuffer
from hybridspeech.shards.write_errors import write_error
from hybridspeech.storage.locations import is_url, parent_and_name
from hybridspeech.storage.objects import upload

_GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS  # 16: zlib writes the gzip header itself, without time and name
_GZIP_LEVEL = 1


class ShardEncoder:
    """Encodes one shard and passes its bytes to a function, piece by piece.

    The record is one buffer whose tail is the spectrogram, so a kernel can write straight into `payload`.

    Parameters
    ----------
    name : file name of the shard, as `shard_name` gives it
    shape : (num_bins, num_frames) of every spectrogram
    sink : is called with the next bytes, which are valid during the call only

    Raises
    ------
    ConfigError: a spectrogram has another shape; a spectrogram, or its names, are too large for one record.
    """

    def __init__(
        self, name: str, config: ShardConfig, shape: tuple[int, int], sink: Callable[[bytes | memoryview], object]
    ) -> None:
        self._name, self._split, self._sink = name, split_of(name), sink
        self._record = RecordBuffer("waveform" if config.dtype == "int16" else "spectrogram", shape, config.dtype)
        is_gzip = config.compression == "gzip"
        self._compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW_BITS) if is_gzip else None
        self._checksum = Checksum()
        self._num_examples = self._num_bytes = 0

    @property
    def payload(self) -> np.ndarray:
        """float32 [shape=(num_bins, num_frames)], C order: buffer for the next spectrogram, written without a copy."""
        return self._record.payload

    def write(self, clip_id: str, label: int, label_name: str, speaker: str, spectrogram: np.ndarray) -> None:
        """Append one example; `spectrogram` is `payload` itself, or an array of its shape that is copied into it."""
        if spectrogram is not self.payload:
            if spectrogram.shape != self.payload.shape:
                raise ConfigError(f"{clip_id}: spectrogram of shape {spectrogram.shape}; expected {self.payload.shape}")
            self.payload[...] = spectrogram
        names = {"clip_id": clip_id, "label_name": label_name, "speaker": speaker}
        small: dict[str, bytes | int] = {key: text.encode(*TEXT_ENCODING) for key, text in names.items()}
        record = self._record.packed({**small, "label": int(label)})
        self._emit(self._compressor.compress(record) if self._compressor else record)
        self._num_examples += 1

    def _emit(self, data: bytes | memoryview) -> None:
        self._checksum.update(data)
        self._num_bytes += len(data)
        self._sink(data)

    def finish(self) -> ShardInfo:
        """Pass on the remaining bytes, and return the record of the shard."""
        if self._compressor:
            self._emit(self._compressor.flush())
        return ShardInfo(
            name=self._name,
            split=self._split,
            num_examples=self._num_examples,
            num_bytes=self._num_bytes,
            checksum=str(self._checksum),
        )


class ShardWriter:
    """Writes one shard to a file: a context manager that publishes the file and sets `info` if it exits without an error.

    An error leaves no file. Spectrograms are written as a `ShardEncoder` takes them::

        with ShardWriter(out / "training-00000-of-00004.tfrecord", config, features.shape) as writer:
            extractor(wave, out=writer.payload)
            writer.write(clip_id, label, label_name, speaker, writer.payload)

    Parameters
    ----------
    path : final location, with a name as `shard_name` gives it. A temporary file is written first: beside a local path, or
        in a scratch folder, from where it is uploaded
    shape : (num_bins, num_frames) of every spectrogram
    is_deferred : leave the file where it is at the end; the caller calls `publish` or `discard`

    Raises
    ------
    ShardError: the file can't be written (from `__enter__`, `write`, `publish` and `__exit__`).
    StorageError: it can't be uploaded.
    ConfigError: a spectrogram has another shape; a spectrogram, or its names, are too large for one record.
    """

    def __init__(
        self, path: str | Path, config: ShardConfig, shape: tuple[int, int], *, is_deferred: bool = False
    ) -> None:
        self._is_deferred = is_deferred
        self.path = str(path)
        self.info: ShardInfo | None = None
        folder, name = parent_and_name(self.path)
        self._encoder = ShardEncoder(name, config, shape, self._append)
        self._scratch = scratch_folder() if is_url(self.path) else None
        parent = self._scratch.name if self._scratch else folder
        self._temporary = Path(parent, f".{name}.{uuid.uuid4().hex}.tmp")

    @property
    def encoder(self) -> ShardEncoder:
        """The encoder that writes into this file."""
        return self._encoder

    @property
    def payload(self) -> np.ndarray:
        """As `ShardEncoder.payload`."""
        return self._encoder.payload

    def __enter__(self) -> ShardWriter:
        try:
            self._file = self._temporary.open("xb", buffering=0)
        except OSError as error:
            raise write_error(self.path, error) from error
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
            raise write_error(self.path, error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            info = self._encoder.finish()
        except BaseException:
            self.discard()
            raise
        if not self._is_deferred:
            self.publish()
        self.info = info

    def publish(self) -> None:
        """Move the finished file to its location, or upload it."""
        try:
            if is_url(self.path):
                upload(self._temporary, self.path)
            else:
                os.fsync(self._file.fileno())
                self._temporary.replace(self.path)
        except OSError as error:
            raise write_error(self.path, error) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove the temporary file."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)
        if self._scratch:
            self._scratch.cleanup()
