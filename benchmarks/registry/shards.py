"""Reading and writing of shards. Imports none of the peers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.spec import Case, Peer, Size, sizes


def _writer(name: str, *needs: str) -> Peer:
    return Peer({"writer": f"benchmarks.peers.writers:{name}"}, needs)


def _reader(name: str, *needs: str, **options: Any) -> Peer:
    return Peer({"reader": f"benchmarks.peers.readers:{name}", **options}, needs)


CASES: Mapping[str, Case] = {
    "write": Case(
        title="Spectrograms to TFRecord files",
        about="The same spectrograms from memory to one file, with fsync; one process. `tf-append` fills a FloatList value by "
        "value, `tf-floatlist` from the whole array; `tf-bytes` stores raw bytes in a BytesList.",
        target="benchmarks.cases.write:measure",
        unit="records/s",
        sizes=sizes(
            Size(16, repeats=1, timeout_s=120, settings={"num_records": 12}),
            Size(600, settings={"num_records": 2_000}),
            Size(600, repeats=5, settings={"num_records": 10_000}),
        ),
        peers={
            "tf-append": _writer("tf_append", "tensorflow"),
            "tf-floatlist": _writer("tf_float_list", "tensorflow"),
            "tf-bytes": _writer("tf_bytes", "tensorflow"),
            "tfrecord-package": _writer("tfrecord_package", "tfrecord"),
            "hybridspeech": _writer("hybridspeech"),
        },
    ),
    "read": Case(
        title="TFRecord files to spectrograms",
        about="All records of the training shards, from the page cache; one process. `tf-data` is a TFRecordDataset "
        "with `tf.io.parse_example` on batches of 16; `hybridspeech` is `read_shard`, which checks every CRC.",
        target="benchmarks.cases.read:measure",
        unit="records/s",
        input="stft-shards",
        sizes=sizes(Size(24, repeats=1, timeout_s=120), Size(2_000), Size(6_000, repeats=5)),
        peers={
            "tf-data": _reader("tf_data", "tensorflow"),
            "tfrecord-package": _reader("tfrecord_package", "tfrecord"),
            "hybridspeech": _reader("hybridspeech", verify=True),
            "hybridspeech-unverified": _reader("hybridspeech", verify=False),
        },
    ),
    "sizes": Case(
        title="Size of a clip on disk",
        about="`preprocess` with the engine `local`, one process per core, for each format of shards.",
        target="benchmarks.cases.sizes:measure",
        unit="clips/s",
        sizes=sizes(Size(24, repeats=1, timeout_s=120), Size(3_000), Size(6_000, repeats=5)),
        peers={
            "float32": Peer(),
            "float32-gzip": Peer({"compression": "gzip"}),
            "float16": Peer({"dtype": "float16"}),
            "float16-gzip": Peer({"dtype": "float16", "compression": "gzip"}),
            "logmel": Peer({"features": "logmel"}),
            "logmel-gzip": Peer({"features": "logmel", "compression": "gzip"}),
        },
    ),
    "ingest": Case(
        title="The training input alone",
        about="The second shuffled epoch of `worker_dataset` for one worker, without a model. `cold` shards are dropped from "
        "the page cache before it.",
        target="benchmarks.cases.ingest:measure",
        unit="examples/s",
        sizes=sizes(Size(24, repeats=1, timeout_s=120), Size(2_000), Size(6_000, repeats=5)),
        peers={
            "warm": Peer({"cold": False}, ("tensorflow",)),
            "cold": Peer({"cold": True}, ("tensorflow",)),
        },
        input="stft-shards",
    ),
}
