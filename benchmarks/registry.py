"""The cases as data: peers, sizes and targets. Imports none of the peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.spec import SIZES, Case, Peer, Size, Target
from hybridspeech.errors import ConfigError


def _sizes(tiny: Size, small: Size, full: Size) -> Mapping[str, Size]:
    return dict(zip(SIZES, (tiny, small, full), strict=True))


_TORCH = ("torch==2.13.0", "lhotse==1.33.0", "lilcom==1.8.2")
"""Packages of one environment; an index with CPU builds spares several GB of CUDA libraries."""


def _transform(name: str, *needs: str, dtype: str = "float32", packages: tuple[str, ...] = ()) -> Peer:
    return Peer({"transform": f"benchmarks.peers.transforms:{name}", "dtype": dtype}, needs, packages=packages)


def _pipeline(target: str, *needs: str, packages: tuple[str, ...] = (), **options: Any) -> Peer:
    return Peer({"pipeline": f"benchmarks.peers.{target}", **options}, needs, packages=packages)


def _writer(name: str, *needs: str) -> Peer:
    return Peer({"writer": f"benchmarks.peers.writers:{name}"}, needs)


def _reader(name: str, *needs: str, **options: Any) -> Peer:
    return Peer({"reader": f"benchmarks.peers.readers:{name}", **options}, needs)


def _network(
    features: str,
    model: str,
    width: float | None = None,
    *,
    recipe: str = "default",
    shards: str = "waveform",
    causal: bool = False,
) -> Peer:
    network = {"features": features, "model": model, "width": width, "recipe": recipe, "causal": causal}
    return Peer({"network": network}, ("tensorflow", "tf_keras"), shards=f"{shards}-shards")


def _fine_tuning(clips_per_word: int, recordings_per_word: int, epochs: Mapping[str, int]) -> dict[str, Any]:
    return {"clips_per_word": clips_per_word, "recordings_per_word": recordings_per_word, "epochs": epochs}


def _stream(network: str, format: str) -> Peer:
    return Peer({"network": network, "format": format}, ("tensorflow", "tf_keras"))


def _trainer(backend: str, num_workers: int, *needs: str) -> Peer:
    return Peer({"backend": backend, "num_workers": num_workers}, ("tensorflow", "tf_keras", *needs))


def _stored(store: bool, *needs: str, **settings: Any) -> Peer:
    return Peer({"store": store, **settings}, (*needs, "s3fs"))


def _planned(share: float, columns: Sequence[str] = ("path", "label", "speaker", "split")) -> Peer:
    return Peer({"share": share, "columns": columns})


def _hand_off(backend: str, engine: str = "") -> Peer:
    packages = {"tfos": ("tensorflowonspark", "pyspark"), "ray": ("ray", "raydp")}[backend]
    return Peer({"backend": backend, "engine": engine}, ("tensorflow", *packages))


_TRAINERS = {
    "keras-fit": _trainer("keras-fit", 1),
    "bare-1": _trainer("bare", 1),
    "bare-2": _trainer("bare", 2),
    "local-1": _trainer("local", 1),
    "tfos-1": _trainer("tfos", 1, "tensorflowonspark", "pyspark"),
    "tfos-2": _trainer("tfos", 2, "tensorflowonspark", "pyspark"),
    "ray-1": _trainer("ray", 1, "ray"),
    "ray-2": _trainer("ray", 2, "ray"),
}
_BACKEND_TARGETS = tuple(Target(f"{backend}-{n}", f"bare-{n}", 0.95) for backend in ("tfos", "ray") for n in (1, 2))
_ABOUT_TRAINERS = (
    "`keras-fit` is plain `model.fit` of the same network on the same shards. `bare-N` are N processes started by hand with "
    "TF_CONFIG (MultiWorkerMirroredStrategy for two) that run the training loop of this package; `local`, `tfos` and `ray` "
    "run it through the backends. The workers share the cores evenly."
)

_STAGE_SIZES = _sizes(
    Size(24, repeats=1, timeout_s=240), Size(6_000, timeout_s=900), Size(64_721, repeats=2, timeout_s=7_200)
)

CASES: Mapping[str, Case] = {
    "stft-kernel": Case(
        title="One clip on one core: waveform to spectrogram",
        about="The (1025, 50) spectrogram in dB of waveforms in memory, one clip at a time, one thread. `original` is the "
        "function of the 2020 report's pipeline (librosa in float64); the error is the largest difference from it. "
        "`torch-stft` is the function that torchaudio calls.",
        target="benchmarks.cases.kernel:measure",
        unit="clips/s",
        sizes=_sizes(
            Size(16, repeats=1, timeout_s=120, settings={"seconds": 0.0}),
            Size(600, repeats=5, settings={"seconds": 3.0}),
            Size(6_000, repeats=5, settings={"seconds": 10.0}),
        ),
        peers={
            "original": _transform("original", dtype="float64"),
            "librosa-float32": _transform("librosa_float32"),
            "hybridspeech-fast": _transform("fast"),
            "hybridspeech-reference": _transform("reference"),
            "scipy": _transform("scipy_short_time_fft"),
            "tf-signal": _transform("tf_signal", "tensorflow"),
            "torch-stft": _transform("torch_stft", "torch", packages=_TORCH),
        },
        targets=(Target("hybridspeech-fast", "original", 5.0),),
        single_threaded=True,
    ),
    "stft-stage": Case(
        title="The whole stage: a folder of clips to spectrograms",
        about="From listing the folder to the last byte written; the start of a session or of processes is not included. "
        "`original` is the 2020 report's pipeline, rewritten from its description: `binaryFiles`, soundfile from bytes, "
        "librosa in a map, padding after the transform; its records are counted, and nothing is written. `bare-loop` is "
        "one process per core that calls the reader, kernel and shard writer of this package, without an engine; its "
        "imports and compilation are start-up. `ray-data`, `tf-data` and `hf-datasets` write their usual formats: Parquet, "
        "TFRecords of serialized tensors, Arrow; `ray-data` and `hf-datasets` call the reader and kernel of this package. "
        "`torch-loader` is `torch.stft` in a DataLoader with one worker per core, whose batches of 64 are appended to one "
        "file.",
        target="benchmarks.cases.stage:measure",
        unit="clips/s",
        sizes=_STAGE_SIZES,
        peers={
            "original": _pipeline("original:run", "pyspark"),
            "bare-loop": _pipeline("bare_loop:run"),
            "local": _pipeline("ours:run", engine="local"),
            "spark-1": _pipeline("ours:run", "pyspark", engine="spark", master="local[1]"),
            "spark-all-cores": _pipeline("ours:run", "pyspark", engine="spark", master="local[*]"),
            "spark-local-cluster": _pipeline("ours:run", "pyspark", engine="spark", master="local-cluster[2,1,1024]"),
            "raydp": _pipeline("ours:run", "raydp", engine="raydp"),
            "ray-data": _pipeline("ray_data:run", "ray"),
            "tf-data": _pipeline("tf_data:run", "tensorflow"),
            "hf-datasets": _pipeline("hf_datasets:run", "datasets"),
            "torch-loader": _pipeline("torch_loader:run", "torch", packages=_TORCH),
        },
        baselines=("original", "bare-loop"),
        targets=(
            Target("spark-all-cores", "original", 30.0, bound="bare-loop"),
            Target(
                "spark-all-cores",
                "bare-loop",
                0.9,
                reason="Spark's JVM and driver take 0.12 ms of CPU time per clip, beside 0.74 ms for reader, kernel and writer",
            ),
            Target("local", "spark-all-cores", 0.95),
            Target("spark-all-cores", "torch-loader", 1.6, bound="bare-loop"),
            Target("spark-all-cores", "torch-loader", 1.6, bound="bare-loop", fact="clip_cpu_ms"),
        ),
    ),
    "logmel-stage": Case(
        title="The whole stage: a folder of clips to log-mel features",
        about="As above, to 64 bands of 10 ms. `lhotse` is `compute_and_store_features` with Fbank and lilcom archives, one "
        "job per core: Kaldi's filter banks, with lossy compression, so that only number, shape and range of its output are "
        "checked. `torch-loader` is as above, with the filters of librosa.",
        target="benchmarks.cases.stage:measure",
        unit="clips/s",
        sizes=_STAGE_SIZES,
        peers={
            "lhotse": _pipeline("lhotse_features:run", "lhotse", packages=_TORCH),
            "torch-loader": _pipeline("torch_loader:run", "torch", packages=_TORCH, features="logmel"),
            "bare-loop": _pipeline("bare_loop:run", features="logmel"),
            "local": _pipeline("ours:run", engine="local", features="logmel"),
            "spark-all-cores": _pipeline("ours:run", "pyspark", engine="spark", master="local[*]", features="logmel"),
        },
        baselines=("lhotse", "bare-loop"),
        targets=(
            Target("spark-all-cores", "lhotse", 2.0),
            Target("spark-all-cores", "torch-loader", 1.6, bound="bare-loop"),
            Target(
                "spark-all-cores",
                "bare-loop",
                0.9,
                reason="Spark takes 0.09 ms of CPU time per clip, beside 0.45 ms for reader, kernel and writer",
            ),
        ),
    ),
    "stft-scale": Case(
        title="The whole stage, on few and on many clips",
        about="`preprocess` on Spark `local[*]`: `few` takes every ninth clip of `many`. `listing` is the share of the time "
        "for listing the source and writing the manifest; the driver is its Python process and its JVM, a worker the largest "
        "of Spark's Python processes (resident memory). A clip is 205 KB: when the unwritten pages exceed a fifth of the "
        "memory, the speed is that of the disk.",
        target="benchmarks.cases.scale:measure",
        unit="clips/s",
        sizes=_sizes(
            Size(36, repeats=1, timeout_s=240),
            Size(9_000, timeout_s=900),
            Size(64_721, repeats=3, timeout_s=3_600),
        ),
        peers={"few": Peer({"every": 9}, ("pyspark",)), "many": Peer({"every": 1}, ("pyspark",))},
        targets=(Target("many", "few", 0.9),),
    ),
    "plan-scale": Case(
        title="A table of many clips to a plan",
        about="From a Parquet table with path, label, speaker and split to groups of STFT shards, on one core, without audio: "
        "`read_manifest`, `select_task`, `plan_shards` and `group_tasks`, in a process of their own. `all-two-columns` has "
        "path and label only, so that the hash rule hashes each name. `peak` is the largest resident memory, `task per clip` "
        "the pickled size of a shard's task. Aim: ten million rows in under 90 s and 3,000 MB.",
        target="benchmarks.cases.plan:measure",
        unit="clips/s",
        input="table",
        sizes=_sizes(
            Size(2_000, repeats=1, timeout_s=120), Size(1_000_000, timeout_s=900), Size(10_000_000, timeout_s=3_600)
        ),
        peers={
            "tenth": _planned(0.1),
            "three-tenths": _planned(0.3),
            "all": _planned(1.0),
            "all-two-columns": _planned(1.0, ("path", "label")),
        },
        single_threaded=True,
    ),
    "write": Case(
        title="Spectrograms to TFRecord files",
        about="The same spectrograms from memory to one file, with fsync; one process. `tf-append` fills a FloatList value by "
        "value, `tf-floatlist` from the whole array; `tf-bytes` stores raw bytes in a BytesList.",
        target="benchmarks.cases.write:measure",
        unit="records/s",
        sizes=_sizes(
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
        sizes=_sizes(Size(24, repeats=1, timeout_s=120), Size(2_000), Size(6_000, repeats=5)),
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
        sizes=_sizes(Size(24, repeats=1, timeout_s=120), Size(3_000), Size(6_000, repeats=5)),
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
        sizes=_sizes(Size(24, repeats=1, timeout_s=120), Size(2_000), Size(6_000, repeats=5)),
        peers={
            "warm": Peer({"cold": False}, ("tensorflow",)),
            "cold": Peer({"cold": True}, ("tensorflow",)),
        },
        input="stft-shards",
    ),
    "train-throughput": Case(
        title="Training on STFT shards: steady state",
        about=f"Examples per second of the median epoch after the first. {_ABOUT_TRAINERS}",
        target="benchmarks.cases.training:throughput",
        unit="examples/s",
        input="stft-shards",
        sizes=_sizes(
            Size(36, repeats=1, timeout_s=240, settings={"epochs": 2}),
            Size(900, settings={"epochs": 8}),
            Size(3_000, repeats=5, timeout_s=3_600, settings={"epochs": 6}),
        ),
        peers=_TRAINERS,
        baselines=("keras-fit", "bare-1", "bare-2"),
        targets=(*_BACKEND_TARGETS, Target("local-1", "keras-fit", 1.3)),
    ),
    "train-throughput-logmel": Case(
        title="Training on log-mel shards: steady state",
        about="As above, on 64 x 101 log-mel spectrograms, where a step is short and overhead is visible.",
        target="benchmarks.cases.training:throughput",
        unit="examples/s",
        input="logmel-shards",
        sizes=_sizes(
            Size(36, repeats=1, timeout_s=240, settings={"epochs": 2}),
            Size(6_000, settings={"epochs": 8}),
            Size(12_000, repeats=5, timeout_s=3_600, settings={"epochs": 6}),
        ),
        peers=_TRAINERS,
        baselines=("keras-fit", "bare-1", "bare-2"),
        targets=_BACKEND_TARGETS,
    ),
    "train-startup": Case(
        title="Training: from the call to the first step",
        about=f"Seconds until the end of the first step; shut-down is from the last step to the return. "
        f"{_ABOUT_TRAINERS}",
        target="benchmarks.cases.training:startup",
        unit="s",
        better="lower",
        input="stft-shards",
        sizes=_sizes(
            Size(36, repeats=1, timeout_s=240),
            Size(90),
            Size(90, repeats=5),
        ),
        peers=_TRAINERS,
        baselines=("keras-fit", "bare-1", "bare-2"),
    ),
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
        sizes=_sizes(
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
        sizes=_sizes(
            Size(36, repeats=1, timeout_s=240, settings={"epochs": 2}),
            Size(3_000, settings={"epochs": 5}),
            Size(12_000, repeats=5, timeout_s=3_600, settings={"epochs": 6}),
        ),
        peers={name: _stored(name == "s3", "tensorflow", "tf_keras") for name in ("local", "s3")},
        targets=(Target("s3", "local", 0.95),),
    ),
    "curve-by-workers": Case(
        title="Accuracy with one worker and with two",
        about="`dscnn` on waveform shards, global batch size 64; validation accuracy and loss are means over the last quarter "
        "of the epochs. Each repeat has its own seed: the brackets are the spread of the seeds. Every worker normalises its "
        "own part of a batch (BatchNorm), so the values differ as those of seeds do.",
        target="benchmarks.cases.accuracy:by_workers",
        unit="accuracy",
        input="waveform-shards",
        sizes=_sizes(
            Size(36, repeats=1, timeout_s=240, settings={"epochs": 1}),
            Size(1_200, timeout_s=1_800, settings={"epochs": 24}),
            Size(6_000, repeats=5, timeout_s=7_200, settings={"epochs": 48}),
        ),
        peers={name: _TRAINERS[name] for name in ("local-1", "tfos-2", "ray-2")},
        seeded=True,
    ),
    "accuracy": Case(
        title="Accuracy of the networks",
        about="Accuracy on speakers that are not in the training clips, with the recipe of each network. Every repeat has its "
        "own seed. The table is in docs/models.md.",
        target="benchmarks.cases.accuracy:measure",
        unit="accuracy",
        input="waveform-shards",
        sizes=_sizes(
            Size(36, repeats=1, timeout_s=240, settings={"epochs": 1}),
            Size(0, timeout_s=86_400),  # the whole of Speech Commands on two cores: hours for each network
            Size(0, repeats=5, timeout_s=86_400),
        ),
        peers={
            "cnn-report": _network("stft", "cnn", recipe="report", shards="stft"),
            "cnn-stft": _network("stft", "cnn", shards="stft"),
            "cnn-waveform": _network("stft", "cnn"),
            "dscnn": _network("logmel", "dscnn"),
            "dscnn-causal": _network("logmel", "dscnn", causal=True),
            "dscnn-1.5": _network("logmel", "dscnn", width=1.5),
            "bcresnet-2": _network("logmel", "bcresnet", width=2.0),
            "bcresnet": _network("logmel", "bcresnet"),
        },
        seeded=True,
    ),
    "finetune": Case(
        title="Words without recordings: what ten recordings of each add",
        about="Accuracy on real clips of speakers that are not in training: of a network trained on synthetic voices only, of "
        "the same network fine-tuned on ten recordings of each word, and of one trained on these recordings only. Every "
        "repeat has its own seed, voices and recordings. The table is in docs/models.md.",
        target="benchmarks.cases.fine_tuning:measure",
        unit="accuracy",
        input="waveform-shards",
        sizes=_sizes(
            Size(
                36,
                repeats=1,
                timeout_s=240,
                settings=_fine_tuning(2, 1, {"synthetic": 1, "fine-tuned": 1, "recorded": 1}),
            ),
            Size(0, repeats=2, timeout_s=7_200, settings=_fine_tuning(200, 10, {"synthetic": 15})),
            Size(0, repeats=5, timeout_s=86_400, settings=_fine_tuning(1_000, 10, {})),
        ),
        peers={
            "dscnn": Peer(
                {"network": {"features": "logmel", "model": "dscnn", "width": None}}, ("tensorflow", "tf_keras")
            )
        },
        seeded=True,
    ),
    "stream": Case(
        title="A second of a stream",
        about="CPU time per second of sound, in one thread, with a result after each step: 80 ms for `dscnn`, 20 ms for "
        "`bcresnet`. `streaming` formats compute what is new; the others compute the last second again. The networks are "
        "causal and untrained.",
        target="benchmarks.cases.stream:measure",
        unit="ms",
        better="lower",
        sizes=_sizes(
            Size(16, repeats=1, timeout_s=120, settings={"seconds": 1.0}),
            Size(60, repeats=3, settings={"seconds": 20.0}),
            Size(600, repeats=5, settings={"seconds": 300.0}),
        ),
        peers={
            f"{network}-{format}": _stream(network, format)
            for network in ("dscnn", "bcresnet")
            for format in ("tflite", "tflite-streaming", "savedmodel", "savedmodel-streaming")
        },
        baselines=("dscnn-tflite", "bcresnet-tflite"),
        single_threaded=True,
    ),
    "listen": Case(
        title="Words in continuous sound: sound that one core takes",
        about="Seconds of sound per second of CPU time, in one thread, with a window every 100 ms and the decoder of `listen`: "
        "a WAV file (`file`), and live sound in chunks of 20 ms, in which each window is classified as soon as it is complete. "
        "The networks are untrained.",
        target="benchmarks.cases.listen:measure",
        unit="s/s",
        sizes=_sizes(
            Size(16, repeats=1, timeout_s=120, settings={"seconds": 5.0}),
            Size(60, settings={"seconds": 120.0}),
            Size(600, repeats=5, settings={"seconds": 1_800.0}),
        ),
        peers={
            f"{network}-{name}": Peer({"network": network, "is_live": is_live}, ("tensorflow", "tf_keras"))
            for network in ("dscnn", "bcresnet")
            for name, is_live in (("file", False), ("live", True))
        },
        baselines=("dscnn-file", "bcresnet-file"),
        single_threaded=True,
    ),
    "handoff": Case(
        title="From clips to a trained network, with and without shards on disk",
        about="Total seconds with two workers and (1025, 50) spectrograms; start-up is the time to the first step. `shards-*` "
        "is `preprocess` (engine spark or raydp) and then `train`; `run-*` is `run`, in which Spark feeds the workers. The "
        "loss curves are the same. Peak memory is that of all processes, without the records that `run` keeps in memory "
        "files: at most 1 GiB per worker.",
        target="benchmarks.cases.handoff:measure",
        unit="s",
        better="lower",
        sizes=_sizes(
            Size(60, repeats=1, timeout_s=400, settings={"epochs": 1}),
            Size(1_700, timeout_s=1_200, settings={"epochs": 2}),
            Size(6_000, repeats=3, timeout_s=3_600, settings={"epochs": 2}),
        ),
        peers={
            "shards-tfos": _hand_off("tfos", "spark"),
            "run-tfos": _hand_off("tfos"),
            "shards-ray": _hand_off("ray", "raydp"),
            "run-ray": _hand_off("ray"),
        },
        baselines=("shards-tfos", "shards-ray"),
    ),
}


def select(patterns: Sequence[str]) -> dict[str, list[str]]:
    """Return the cases and the names of their peers that match one of the patterns; all if there are none.

    Parameters
    ----------
    patterns : part of a case's name, or of "case/peer", such as ``train``, ``stft-stage/spark`` or ``/tf-``

    Raises
    ------
    ConfigError: a pattern matches nothing.
    """
    names = {case: [f"{case}/{peer}" for peer in CASES[case].peers] for case in CASES}
    for pattern in patterns:
        if not any(pattern in name for found in names.values() for name in found):
            raise ConfigError(f"no case or peer matches {pattern!r}; the cases are {', '.join(CASES)}")
    chosen = {
        case: [name.partition("/")[2] for name in found if not patterns or any(p in name for p in patterns)]
        for case, found in names.items()
    }
    return {case: peers for case, peers in chosen.items() if peers}
