"""The verb `export`: a finished run as a model to deploy, that takes raw audio and carries its labels.

Every form maps `waveform`, float32 [shape=(batch, num_samples)], full scale = 1.0, mono, at the run's sample rate,
to `probabilities`, float32 [shape=(batch, num_labels)]. The features are computed inside; the caller pads shorter
clips with zeros at the end.

| format | what it is | labels | read it with |
|---|---|---|---|
| savedmodel | a folder without Keras in it | assets/labels.txt | `tf.saved_model.load`, signature serving_default |
| keras | a file of tf_keras | labels.txt in its zip | `import hybridspeech.frontend`, `tf_keras.models.load_model` |
| tflite | a file of builtin operations | labels.txt in a zip at its end | `Interpreter`, signature serving_default |

A TFLite file starts at a batch of 1; its signature runner (or `resize_tensor_input`) takes any other. Reading any of
them runs no code of the file's. Knows nothing of shards.
"""

from __future__ import annotations

import logging
import shutil
import uuid
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hybridspeech.config import FeatureConfig, TrainPlan
from hybridspeech.errors import ConfigError, OutputExistsError, RunError
from hybridspeech.features import FeatureExtractor
from hybridspeech.quiet import native_errors_muted
from hybridspeech.registry import requires
from hybridspeech.runs import RunDirectory

if TYPE_CHECKING:
    import tf_keras

LABELS_NAME = "labels.txt"
INPUT_NAME, OUTPUT_NAME, SIGNATURE = "waveform", "probabilities", "serving_default"
TOLERANCE = 1e-3
"""How far a probability of the exported model may be from what `predict` says."""


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What `export` made. None in `input_shape` is any number; `max_difference` is from the run's own probabilities."""

    path: str
    format: str
    num_bytes: int
    labels: tuple[str, ...]
    sample_rate_hz: int
    input_name: str
    input_shape: tuple[int | None, int]
    output_name: str
    max_difference: float


Classify = Callable[[np.ndarray], np.ndarray]
"""float32 [shape=(batch, num_samples)] -> float32 [shape=(batch, num_labels)]."""


@dataclass(frozen=True)
class _Format:
    """How one format is written to a path, and read back. `suffix` is what its file name ends in; '' means a folder."""

    suffix: str
    write: Callable[[tf_keras.Model, TrainPlan, Path], None]
    read: Callable[[Path], Classify]


def export(run: str | Path, out: str | Path, *, format: str = "savedmodel", overwrite: bool = False) -> ExportResult:
    """Write a finished run as one self-contained model; it appears under its name when it is whole and has been tried.

    Parameters
    ----------
    out : folder (savedmodel), or file called *.keras or *.tflite, to make
    format : savedmodel, keras or tflite
    overwrite : replace an earlier export of the same format

    Raises
    ------
    RunError: the run is not finished, or its export answers otherwise than the run. OutputExistsError: `out` is there.
    ConfigError: no such format, or `out` can't be its name.
    """
    directory, target = RunDirectory(run), Path(out).absolute()
    plan = directory.require_finished()
    _check_target(target, format, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    staging.mkdir()
    try:
        with requires("train", "export"), _quiet(), native_errors_muted():
            from hybridspeech.model import load_model

            model = load_model(directory)
            made = staging / f"model{FORMATS[format].suffix}"
            FORMATS[format].write(model, plan, made)
            difference = _difference(model, FORMATS[format].read(made), plan.features)
        if not difference <= TOLERANCE:
            raise RunError(
                f"{run}: as {format} its probabilities are up to {difference:.2g} away from the run's own; expected at "
                f"most {TOLERANCE:g}; nothing was written; export as savedmodel, which computes in double precision"
            )
        _publish(made, target, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return ExportResult(
        path=str(target),
        format=format,
        num_bytes=_size(target),
        labels=plan.labels,
        sample_rate_hz=plan.features.sample_rate_hz,
        input_name=INPUT_NAME,
        input_shape=(None, plan.features.num_samples),
        output_name=OUTPUT_NAME,
        max_difference=difference,
    )


def _check_target(target: Path, format: str, overwrite: bool) -> None:
    if format not in FORMATS:
        raise ConfigError(f"format {format!r} is unknown; choose one of {', '.join(FORMATS)}")
    suffix = FORMATS[format].suffix
    if suffix and target.suffix != suffix:
        raise ConfigError(f"{target}: a {format} export is a file whose name ends in {suffix}")
    if not target.exists():
        return
    if not overwrite:
        raise OutputExistsError(f"{target}: is there already; choose another name, or add --overwrite")
    ours = target.is_file() if suffix else (target / "saved_model.pb").is_file()
    if not ours:
        raise ConfigError(f"{target}: is no {format} export, and is left as it is; choose another name")


def _publish(made: Path, target: Path, staging: Path) -> None:
    """Put the export in its place by rename; an earlier one goes first, as a folder can't be renamed over another."""
    if target.is_dir():
        target.rename(staging / "replaced")
    made.replace(target)


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)


def _with_features(model: tf_keras.Model, features: FeatureConfig, precision: Literal["float32", "float64"]) -> Any:
    """The network behind the transform: waveform in, probabilities out."""
    import tf_keras

    from hybridspeech.frontend import Spectrogram

    waveform = tf_keras.Input((features.num_samples,), name=INPUT_NAME)
    return tf_keras.Model(waveform, model(Spectrogram(features, precision, name="spectrogram")(waveform)))


def _write_savedmodel(
    model: tf_keras.Model, plan: TrainPlan, path: Path, precision: Literal["float32", "float64"] = "float64"
) -> None:
    """Variables, one function and the labels, without anything of Keras in it."""
    import tensorflow as tf

    whole = _with_features(model, plan.features, precision)
    labels = path.with_name(LABELS_NAME)
    labels.write_text(_lines(plan.labels), encoding="utf-8")
    module = tf.Module()
    module.weights, module.labels = list(whole.variables), tf.saved_model.Asset(str(labels))
    waveform = tf.TensorSpec((None, plan.features.num_samples), tf.float32, name=INPUT_NAME)
    module.classify = tf.function(
        lambda waveform: {OUTPUT_NAME: whole(waveform, training=False)}, input_signature=[waveform]
    )
    tf.saved_model.save(module, str(path), signatures={SIGNATURE: module.classify})


def _read_savedmodel(path: Path) -> Classify:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def classify(waves: np.ndarray) -> np.ndarray:
        return np.asarray(loaded.signatures[SIGNATURE](**{INPUT_NAME: tf.constant(waves)})[OUTPUT_NAME])

    return classify


def _write_keras(model: tf_keras.Model, plan: TrainPlan, path: Path) -> None:
    _with_features(model, plan.features, "float64").save(path)
    _append_labels(path, plan)


def _read_keras(path: Path) -> Classify:
    import tf_keras

    loaded = tf_keras.models.load_model(path, safe_mode=True)
    return lambda waves: np.asarray(loaded.predict_on_batch(waves))


def _write_tflite(model: tf_keras.Model, plan: TrainPlan, path: Path) -> None:
    import tensorflow as tf

    folder = path.with_name("for-tflite")
    _write_savedmodel(model, plan, folder, precision="float32")
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[SIGNATURE])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    path.write_bytes(converter.convert())
    _append_labels(path, plan)


def _read_tflite(path: Path) -> Classify:
    import tensorflow as tf

    runner = tf.lite.Interpreter(str(path)).get_signature_runner(SIGNATURE)
    return lambda waves: np.asarray(runner(**{INPUT_NAME: waves})[OUTPUT_NAME])


FORMATS = {
    "savedmodel": _Format("", _write_savedmodel, _read_savedmodel),
    "keras": _Format(".keras", _write_keras, _read_keras),
    "tflite": _Format(".tflite", _write_tflite, _read_tflite),
}


def _append_labels(path: Path, plan: TrainPlan) -> None:
    """Add labels.txt to the zip that a .keras file is, or to one at the file's end, where TFLite's metadata has it."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(LABELS_NAME, _lines(plan.labels))


def _lines(labels: tuple[str, ...]) -> str:
    return "".join(f"{label}\n" for label in labels)


def _difference(model: tf_keras.Model, classify: Classify, features: FeatureConfig) -> float:
    """Largest difference of a probability between an export and the way of `predict`: noise, rising tones, silence."""
    generator = np.random.default_rng(0)
    times = np.arange(features.num_samples) / features.sample_rate_hz
    noises = 0.01 * generator.standard_normal((4, times.size))
    sweeps = [0.5 * np.sin(2 * np.pi * pitch_hz * (1 + times) * times) for pitch_hz in (110, 440, 1200)]
    waves = np.stack([*noises, *sweeps, 0 * times]).astype(np.float32)
    extractor = FeatureExtractor(features)
    spectrograms = np.stack([extractor(wave).copy() for wave in waves])[..., np.newaxis]
    return float(np.abs(classify(waves) - model.predict_on_batch(spectrograms)).max())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps TensorFlow's notes on saving and converting from the user: none of them asks for anything to be done."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
