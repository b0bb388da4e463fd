"""Object stores. Imports none of the peers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.spec import Case, Peer, Size, Target, sizes


def _stored(store: bool, *needs: str, **settings: Any) -> Peer:
    return Peer({"store": store, **settings}, (*needs, "s3fs"))


CASES: Mapping[str, Case] = {
    "storage-preprocess": Case(
        title="Preprocessing from and to an object store",
        about="`preprocess` with the engine `local` and two processes, from listing the source to the index: from local disk "
        "to local disk, and from S3 to S3, with 20 ms between a request and its answer. `CPU` is that of the driver and its "
        "workers, per clip; `store` is that of SeaweedFS and of the process that delays the packets, which have other "
        "machines in practice. Here they share the cores, and need more than the job. So both peers have a quarter of a core "
        "(control group), and the store has the rest. Imports of the workers are start-up; on S3, the start of the server and "
        "the upload of the clips too.",
        target="benchmarks.cases.storage:preprocessing",
        unit="clips/s",
        sizes=sizes(
            Size(24, repeats=1, timeout_s=240), Size(6_000, timeout_s=900), Size(20_000, repeats=5, timeout_s=3_600)
        ),
        peers={
            "local": _stored(False, features="stft", cores=0.25),
            "s3": _stored(True, features="stft", cores=0.25),
        },
        targets=(Target("s3", "local", 0.7), Target("s3", "local", 0.7, fact="clip_cpu_ms")),
    ),
    "storage-training": Case(
        title="Training from shards on an object store: steady state",
        about="Examples per second of the median epoch after the first, one worker of the backend `local`: shards on local "
        "disk, and on S3 with 20 ms of latency per request, which are copied to local disk ahead of reading.",
        target="benchmarks.cases.storage:training",
        unit="examples/s",
        input="logmel-shards",
        sizes=sizes(
            Size(36, repeats=1, timeout_s=240, settings={"epochs": 2}),
            Size(3_000, settings={"epochs": 5}),
            Size(12_000, repeats=5, timeout_s=3_600, settings={"epochs": 6}),
        ),
        peers={name: _stored(name == "s3", "tensorflow", "tf_keras") for name in ("local", "s3")},
        targets=(Target("s3", "local", 0.95),),
    ),
}
