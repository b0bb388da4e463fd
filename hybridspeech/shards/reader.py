"""Reads the examples of a shard without TensorFlow. Knows nothing of audio, engines and the index."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from hybridspeech.errors import ShardError
from hybridspeech.shards.tfrecord import TEXT_ENCODING, Feature, decode_example, read_records
from hybridspeech.storage.locations import is_url
from hybridspeech.storage.objects import read_bytes


@dataclass(frozen=True, kw_only=True)
class Example:
    """One record of a shard.

    `values` are a spectrogram in dB (float32 or float16) or a waveform (int16, full scale = 32,768), flat or of the
    shape that was requested.
    """

    clip_id: str
    label: int
    label_name: str
    speaker: str
    values: np.ndarray


def read_shard(
    path: str | Path, compression: str | None = None, verify: bool = True, shape: tuple[int, int] | None = None
) -> Iterator[Example]:
    """Read the examples of one shard, in order.

    Parameters
    ----------
    path : local path, or a URL, whose content is read into memory
    compression : "none" or "gzip"; None decides by the file name
    verify : compare the CRCs of every record
    shape : (num_bins, num_frames) of every `Example.values`; None leaves them flat

    Raises
    ------
    ShardError: the file is missing, truncated or damaged; the message names file, record and byte offset (in the
        uncompressed stream).
    """
    is_gzip = str(path).endswith(".gz") if compression is None else compression == "gzip"
    try:
        stored = io.BytesIO(read_bytes(str(path))) if is_url(path) else Path(path).open("rb")  # noqa: SIM115
        with stored, cast(BinaryIO, gzip.open(stored, "rb")) if is_gzip else stored as file:
            for number, (offset, data) in enumerate(read_records(file, str(path), verify)):
                try:
                    yield _to_example(decode_example(data), shape)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise ShardError(f"{path}: record {number} at byte {offset} is not an example: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise ShardError(f"{path}: can't be read: {error}") from error


def _to_example(features: Mapping[str, Feature], shape: tuple[int, int] | None) -> Example:
    texts = {key: cast(bytes, features[key]).decode(*TEXT_ENCODING) for key in ("clip_id", "label_name", "speaker")}
    values, dtype = (features["waveform"], "<i2") if "waveform" in features else (features["spectrogram"], "<f2")
    flat = values if isinstance(values, np.ndarray) else np.frombuffer(cast(bytes, values), dtype)
    return Example(
        **texts, label=int(cast(int, features["label"])), values=flat if shape is None else flat.reshape(shape)
    )
