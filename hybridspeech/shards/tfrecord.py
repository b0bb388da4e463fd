"""The wire format of a shard: TFRecord framing and tf.train.Example, encoded and decoded without TensorFlow.

A TFRecord is ``u64 length | u32 masked crc of length | data | u32 masked crc of data``, little-endian, the CRC being
CRC-32C. The data is a protobuf message ``Example{1: Features{1: map<string, Feature>}}`` in which a Feature is one of
``1: BytesList{1: bytes}``, ``2: FloatList{1: packed float}``, ``3: Int64List{1: packed varint}``. Sources:
tensorflow/core/lib/io/record_writer.cc and tensorflow/core/example/{example,feature}.proto.

Filling a FloatList value by value takes 30 ms per clip in TensorFlow; this encoder takes microseconds. Knows nothing of
file names, indexes and TensorFlow.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import google_crc32c
import numpy as np

from hybridspeech.audio.pcm import to_pcm16
from hybridspeech.errors import ConfigError, ShardError

HEADER_BYTES = 12
FOOTER_BYTES = 4
TEXT_ENCODING = ("utf-8", "surrogateescape")  # keeps the bytes of file names that are not UTF-8 (PEP 383)
MAX_RECORD_BYTES = 1 << 28  # far above any spectrogram (default: 205 KB); bounds what a wrong length allocates
_READ_BYTES = 1 << 20
_HEAD_BYTES = 1 << 14  # a clip id is a path, at most 4,096 bytes; a multiple of the cache line
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3

Feature = bytes | np.ndarray | int


def masked_crc(data: bytes | np.ndarray) -> int:
    """Compute the masked CRC-32C of TFRecord; `data` is bytes or a contiguous array, which is not copied."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record_header(length: int) -> bytes:
    """Return the 12 bytes that precede a record of `length` bytes."""
    packed = struct.pack("<Q", length)
    return packed + struct.pack("<I", masked_crc(packed))


def record_footer(crc: int) -> bytes:
    """Return the 4 bytes that follow a record whose masked CRC is `crc`."""
    return struct.pack("<I", crc)


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _open(field: int, length: int) -> bytes:
    """Return tag and length of a length-delimited field."""
    return bytes((field << 3 | _LENGTH,)) + _varint(length)


@functools.lru_cache(maxsize=1 << 12)
def _feature_head(name: str, kind: int, list_bytes: int) -> bytes:
    """Return one map entry up to the content of its list, whose only field has `list_bytes` bytes."""
    key = name.encode()
    inner = _open(1, list_bytes)
    value = _open(kind, len(inner) + list_bytes) + inner
    entry = _open(1, len(key)) + key + _open(2, len(value) + list_bytes) + value
    return _open(1, len(entry) + list_bytes) + entry


def encode_head(small: Mapping[str, bytes | int], name: str, dtype: str, num_bytes: int) -> bytes:
    """Encode an Example up to, but not including, the `num_bytes` of its last feature.

    Parameters
    ----------
    small : the features before it, in order: bytes become a BytesList, an int an Int64List of one value
    name : the last feature: a packed FloatList for dtype float32; for any other dtype raw little-endian bytes in a
        BytesList (tf.io.decode_raw), because protobuf has no half-precision type
    """
    body = b""
    for key, value in small.items():
        content = value if isinstance(value, bytes) else _varint(value)
        kind = _BYTES_LIST if isinstance(value, bytes) else _INT64_LIST
        body += _feature_head(key, kind, len(content)) + content
    body += _feature_head(name, _FLOAT_LIST if dtype == "float32" else _BYTES_LIST, num_bytes)
    return _open(1, len(body) + num_bytes) + body


class RecordBuffer:
    """Buffer of one framed record whose last feature is an array; it is reused for every record.

    The array has a fixed position and the head ends where it begins, so that the array is never moved or copied.

    Parameters
    ----------
    name, shape, dtype : of the array; float32, float16, or int16 (full scale 1.0 is 32,768)

    Raises
    ------
    ConfigError: the array, or the features before it, are too large for one record.
    """

    def __init__(self, name: str, shape: tuple[int, int], dtype: str) -> None:
        self._name, self._dtype = name, dtype
        self._num_bytes = shape[0] * shape[1] * np.dtype(dtype).itemsize
        if self._num_bytes + _HEAD_BYTES > MAX_RECORD_BYTES:
            raise ConfigError(f"{shape[0]} x {shape[1]} values are too many for one record; raise hop_length")
        self._buffer = np.zeros(_HEAD_BYTES + self._num_bytes + FOOTER_BYTES, np.uint8)
        content = self._buffer[_HEAD_BYTES:-FOOTER_BYTES].view(np.dtype(dtype).newbyteorder("<"))
        self._stored = content.reshape(shape)
        self.payload = self._stored if dtype == "float32" else np.zeros(shape, np.float32)
        """float32 [shape]: the array of the next record; the caller writes to it."""

    def packed(self, small: Mapping[str, bytes | int]) -> memoryview:
        """Return the record with these features before the array; valid until the next call."""
        if self._dtype == "int16":
            self._stored[...] = to_pcm16(self.payload)
        elif self._dtype == "float16":
            from hybridspeech.features.kernels import to_float16

            to_float16(self.payload.reshape(-1), self._stored.reshape(-1).view("<u2"))
        head = encode_head(small, self._name, self._dtype, self._num_bytes)
        if HEADER_BYTES + len(head) > _HEAD_BYTES:
            raise ConfigError(
                f"clip id, label and speaker take {len(head)} bytes; expected at most {_HEAD_BYTES - HEADER_BYTES}"
            )
        start = _HEAD_BYTES - HEADER_BYTES - len(head)
        header = record_header(len(head) + self._num_bytes)
        self._buffer[start:_HEAD_BYTES] = np.frombuffer(header + head, np.uint8)
        crc = masked_crc(self._buffer[start + HEADER_BYTES : -FOOTER_BYTES])
        self._buffer[-FOOTER_BYTES:] = np.frombuffer(record_footer(crc), np.uint8)
        return self._buffer[start:].data


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]  # IndexError past the end; decode_example translates it
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise ValueError("a varint of more than 10 bytes")


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield (field number, content) of each length-delimited field; skip other fields, as protobuf does."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        if tag & 7 == _LENGTH:
            length, at = _read_varint(data, at)
            end = at + length
            if end > len(data):
                raise ValueError(f"a field of {length} bytes where {len(data) - at} are left")
            yield tag >> 3, data[at:end]
        elif tag & 7 == _VARINT:
            _, end = _read_varint(data, at)
        elif tag & 7 in (_FIXED32, _FIXED64):
            end = at + (4 if tag & 7 == _FIXED32 else 8)
        else:
            raise ValueError(f"wire type {tag & 7} is unknown")
        at = end
    if at != len(data):
        raise ValueError("the last field is truncated")


def _decode_feature(data: memoryview) -> Feature:
    for kind, values in _fields(data):
        for field, content in _fields(values):
            if field != 1:
                continue
            if kind == _BYTES_LIST:
                return bytes(content)
            if kind == _FLOAT_LIST:
                return np.frombuffer(content, dtype="<f4")
            if kind == _INT64_LIST:
                value, _ = _read_varint(content, 0)
                return value - (1 << 64) if value >> 63 else value
    raise ValueError("a feature without a value")


def decode_example(data: bytes) -> dict[str, Feature]:
    """Decode a serialised Example: the first value of each bytes or int list, all values of a packed float list.

    Raises
    ------
    ValueError: the bytes are not an Example.
    """
    features: dict[str, Feature] = {}
    try:
        for _, message in (item for item in _fields(memoryview(data)) if item[0] == 1):
            for _, entry in (item for item in _fields(message) if item[0] == 1):
                parts = dict(_fields(entry))
                features[bytes(parts[1]).decode()] = _decode_feature(parts[2])
    except IndexError:
        raise ValueError("a number is truncated") from None
    except KeyError:
        raise ValueError("a feature without a name or a value") from None
    return features


def _read_up_to(file: BinaryIO, length: int) -> bytes:
    """Read `length` bytes, or fewer at the end of the file; allocate for the bytes that exist, not for `length`."""
    first = file.read(min(length, _READ_BYTES))
    if len(first) in (0, length):
        return first
    data = bytearray(first)
    while len(data) < length:
        block = file.read(min(length - len(data), _READ_BYTES))
        if not block:
            break
        data += block
    return bytes(data)


def read_records(file: BinaryIO, name: str, verify: bool = True) -> Iterator[tuple[int, bytes]]:
    """Yield (byte offset, data) of each record, until the end of the file.

    Raises
    ------
    ShardError: a record is truncated or too long, or (if `verify`) a CRC is wrong; names file, record and offset.
    """
    offset = number = 0
    while header := _read_up_to(file, HEADER_BYTES):
        record = f"{name}: record {number} at byte {offset}"
        if len(header) < HEADER_BYTES:
            raise ShardError(f"{record} is truncated: it has {len(header)} bytes of its 12-byte header")
        (length,) = struct.unpack_from("<Q", header)
        if verify and header != record_header(length):
            raise ShardError(f"{record} is damaged: the CRC of its length is wrong")
        if length > MAX_RECORD_BYTES:
            raise ShardError(f"{record} has a length of {length} bytes; expected at most {MAX_RECORD_BYTES}")
        data = _read_up_to(file, length)
        footer = _read_up_to(file, FOOTER_BYTES)
        if len(data) + len(footer) < length + FOOTER_BYTES:
            raise ShardError(f"{record} is truncated: it has {len(data)} of its {length} bytes")
        if verify and footer != record_footer(masked_crc(data)):
            raise ShardError(f"{record} is damaged: the CRC of its data is wrong")
        yield offset, data
        offset += HEADER_BYTES + length + FOOTER_BYTES
        number += 1
