"""From clips to features and shards. Imports none of the peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.spec import Case, Peer, Size, Target, sizes

_TORCH = ("torch==2.13.0", "lhotse==1.33.0", "lilcom==1.8.2")
"""Packages of one environment; an index with CPU builds spares several GB of CUDA libraries."""


def _transform(name: str, *needs: str, dtype: str = "float32", packages: tuple[str, ...] = ()) -> Peer:
    return Peer({"transform": f"benchmarks.peers.transforms:{name}", "dtype": dtype}, needs, packages=packages)


def _pipeline(target: str, *needs: str, packages: tuple[str, ...] = (), **options: Any) -> Peer:
    return Peer({"pipeline": f"benchmarks.peers.{target}", **options}, needs, packages=packages)


def _planned(share: float, columns: Sequence[str] = ("path", "label", "speaker", "split")) -> Peer:
    return Peer({"share": share, "columns": columns})


_STAGE_SIZES = sizes(
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
        sizes=sizes(
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
        sizes=sizes(
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
        sizes=sizes(
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
}
