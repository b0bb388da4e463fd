"""Every case at its smallest size, with its checks of the output.

Of peers that differ only in a setting, such as the Spark master or the training backend, one is run.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.inputs import Inputs
from benchmarks.records import Outcome
from benchmarks.registry import CASES
from benchmarks.runner import run_case
from benchmarks.worker import load

HERE = [
    *(f"stft-kernel/{peer}" for peer in CASES["stft-kernel"].peers),
    *("write/tf-append", "write/tf-floatlist", "write/tf-bytes", "write/hybridspeech"),
    *("read/tf-data", "read/hybridspeech", "read/hybridspeech-unverified"),
    *("sizes/float16-gzip", "sizes/logmel", "ingest/cold"),
]
"""Cases that run in this process, which imports TensorFlow once for all."""
APART = [
    *("write/tfrecord-package", "read/tfrecord-package"),  # can't be in one process with TensorFlow
    "plan-scale/tenth",  # keeps to one core
]
SLOW = [
    *(f"stft-stage/{peer}" for peer in ("original", "bare-loop", "local", "tf-data", "hf-datasets")),
    "logmel-stage/bare-loop",
    "stft-scale/few",
    "storage-preprocess/s3",
    *("train-throughput/keras-fit", "train-startup/local-1"),
]


TRAINED = ["accuracy/cnn-stft", "curve-by-workers/local-1", "stream/dscnn-tflite-streaming", "listen/dscnn-live"]
"""Cases that run in this process too."""
LONG = [
    "finetune/dscnn",
    "storage-training/s3",
    "handoff/run-tfos",
    "stft-stage/ray-data",
    "train-throughput-logmel/bare-2",
]
"""Cases that take half a minute and are covered by other tests."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return Inputs(tmp_path_factory.mktemp("inputs"))


def check_installed(name: str) -> None:
    case, _, peer = name.partition("/")
    if missing := CASES[case].peers[peer].missing():
        pytest.skip(f"{missing} not installed; the report says so too")


@pytest.mark.parametrize("name", [*HERE, *(pytest.param(name, marks=pytest.mark.slow) for name in TRAINED)])
def test_the_output_is_right(name: str, inputs: Inputs, tmp_path: Path) -> None:
    check_installed(name)
    case, peer = CASES[name.partition("/")[0]], name.partition("/")[2]
    size = case.sizes["tiny"]
    source = inputs.get(case.input, size.num_clips)
    more: dict[str, object] = {"seed": 0} if case.seeded else {}
    if kind := case.peers[peer].shards:
        more["shards"] = inputs.get(kind, size.num_clips)
    outcome: Outcome = load(case.target)(source, tmp_path, **size.settings, **case.peers[peer].settings, **more)
    assert outcome.problem == ""
    assert outcome.value > 0 or case.seeded  # after one epoch the accuracy may be that of chance


@pytest.mark.parametrize(
    "name",
    [
        *APART,
        *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW),
        *(pytest.param(name, marks=[pytest.mark.cluster, pytest.mark.soak]) for name in LONG),
    ],
)
def test_the_output_is_right_in_a_process_of_its_own(name: str, inputs: Inputs, tmp_path: Path) -> None:
    check_installed(name)
    case, _, peer = name.partition("/")
    (result,) = run_case(case, [peer], "tiny", inputs).peers
    assert result.problem == ""
    assert result.median > 0


def test_every_case_is_run_here() -> None:
    assert {name.partition("/")[0] for name in (*HERE, *TRAINED, *APART, *SLOW, *LONG)} == set(CASES)


def test_a_wrong_output_is_detected(inputs: Inputs, tmp_path: Path) -> None:
    measure = load(CASES["stft-kernel"].target)
    source = inputs.get("clips", CASES["stft-kernel"].sizes["tiny"].num_clips)
    outcome = measure(source, tmp_path, transform="support.benchmark_jobs:silence", dtype="float32", seconds=0.0)
    assert "dB from the reference; expected at most 0.05 dB" in outcome.problem
