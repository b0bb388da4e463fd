"""The export for microcontrollers runs in TFLM's interpreter, with the bits of TFLite and the accuracy of the run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.trained_runs import sound_run, sound_shards, tone_run

from hybridspeech.commands.evaluate import evaluate
from hybridspeech.commands.export import ExportResult, export
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError, OutputExistsError, RunError
from hybridspeech.features.fixed_point import FixedPointLogMel, quantized, to_pcm
from hybridspeech.models import micro_format, micro_operators
from hybridspeech.records import from_json

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tones: Path) -> tuple[Path, Path]:
    base = tmp_path_factory.getbasetemp()
    return sound_run(base, tones), sound_shards(base, tones)


@pytest.fixture(scope="module")
def exported(trained: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    out = tmp_path_factory.mktemp("micro") / "micro"
    return export(trained[0], out, format="tflite-micro", calibrate=trained[1], measure=trained[1])


@pytest.fixture(scope="module")
def deployment(exported: ExportResult) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((Path(exported.path) / "deployment.json").read_text())
    return content


def test_it_loses_at_most_one_and_a_half_points(
    trained: tuple[Path, Path], exported: ExportResult, tmp_path: Path
) -> None:
    assert exported.measured is not None
    assert exported.measured.accuracy >= evaluate(*trained, out=tmp_path).accuracy - 0.015
    assert exported.agreement >= 0.99


def test_the_interpreters_agree_to_the_bit(exported: ExportResult, deployment: dict[str, Any], tones: Path) -> None:
    import tensorflow as tf
    from tflite_micro.python.tflite_micro import runtime

    content = (Path(exported.path) / "model.tflite").read_bytes()
    micro = runtime.Interpreter.from_bytes(content, arena_size=exported.arena_bytes)
    reference = tf.lite.Interpreter(
        model_content=content, experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF
    )
    reference.allocate_tensors()
    transform = FixedPointLogMel(from_json(FeatureConfig, deployment["features"]))
    for path in sorted(tones.glob("*/*.wav"))[::10]:
        decibels = transform(to_pcm(soundfile.read(path, dtype="float32")[0]))
        values = quantized(decibels, deployment["input_scale"], deployment["input_zero_point"])[
            np.newaxis, ..., np.newaxis
        ]
        micro.set_input(values, 0)
        micro.invoke()
        reference.set_tensor(reference.get_input_details()[0]["index"], values)
        reference.invoke()
        np.testing.assert_array_equal(
            micro.get_output(0), reference.get_tensor(reference.get_output_details()[0]["index"])
        )


def test_a_smaller_arena_is_too_small(exported: ExportResult) -> None:
    from tflite_micro.python.tflite_micro import runtime

    assert exported.arena_bytes is not None
    assert 50_000 < exported.arena_bytes < 300_000
    with pytest.raises(RuntimeError):
        runtime.Interpreter.from_file(str(Path(exported.path) / "model.tflite"), arena_size=exported.arena_bytes - 64)


def test_the_array_is_the_model_and_the_header_adds_its_operators(
    exported: ExportResult, deployment: dict[str, Any]
) -> None:
    folder = Path(exported.path)
    array = re.search(r"= \{(.*?)\};", (folder / "model.cc").read_text(), re.DOTALL)
    assert array is not None
    content = bytes(int(byte, 16) for byte in re.findall(r"0x([0-9a-f]{2}),", array[1]))
    assert content == (folder / "model.tflite").read_bytes()
    header = (folder / "model.h").read_text()
    added = re.findall(r"resolver\.Add(\w+)\(\);", header)
    assert [name.lower() for name in added] == [name.replace("_", "").lower() for name in deployment["operators"]]
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"} <= set(deployment["operators"])
    assert 'kLabels[kNumLabels] = {"high", "low", "middle"}' in header
    assert f"kArenaSize = {exported.arena_bytes};" in header


def test_the_result_describes_the_input(exported: ExportResult, deployment: dict[str, Any]) -> None:
    assert (exported.input_name, exported.input_shape) == ("spectrogram", (1, 64, 101, 1))
    assert deployment["labels"] == ["high", "low", "middle"]
    assert exported.num_bytes == (Path(exported.path) / "model.tflite").stat().st_size


def test_the_folder_is_replaced_with_overwrite_only(
    trained: tuple[Path, Path], exported: ExportResult, tmp_path: Path
) -> None:
    with pytest.raises(OutputExistsError, match="exists already"):
        export(trained[0], exported.path, format="tflite-micro", calibrate=trained[1])
    (tmp_path / "photos").mkdir()
    with pytest.raises(ConfigError, match="is not a tflite-micro export"):
        export(trained[0], tmp_path / "photos", format="tflite-micro", calibrate=trained[1], overwrite=True)


def test_what_a_microcontroller_can_not_run_is_refused(
    trained: tuple[Path, Path], tones: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(ConfigError, match="tflite-micro needs clips to calibrate on"):
        export(trained[0], tmp_path / "micro", format="tflite-micro")
    stft_run = tone_run(tmp_path_factory.getbasetemp(), tones)
    with pytest.raises(ConfigError, match="features are stft with n_fft 256; fixed point needs logmel"):
        export(stft_run, tmp_path / "micro", format="tflite-micro", calibrate=trained[1])
    assert not list(tmp_path.iterdir())


def test_an_operator_that_tflm_lacks_is_named(exported: ExportResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(micro_operators.RESOLVER_METHODS, "MEAN")
    with pytest.raises(ConfigError, match="the network has the operators MEAN, which TensorFlow Lite for"):
        micro_format._operators((Path(exported.path) / "model.tflite").read_bytes())


def test_other_outputs_than_those_of_tflite_are_refused(exported: ExportResult) -> None:
    content = (Path(exported.path) / "model.tflite").read_bytes()
    interpreter = micro_format._MicroInterpreter(content)
    run = interpreter.run
    interpreter.run = lambda values: run(values) ^ 1  # type: ignore[method-assign]
    with pytest.raises(RunError, match="the outputs of TFLM differ by up to 1 of 255"):
        micro_format._check_equal(content, interpreter, np.zeros((1, 64, 101, 1), np.int8))
