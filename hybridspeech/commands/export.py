"""The verb `export`: write a finished run as a model that takes raw audio and contains its labels.

Every format but those for streams and microcontrollers maps `waveform`, float32 [shape=(batch, num_samples)], full scale =
1.0, mono, at the sample rate of the run, to `probabilities`, float32 [shape=(batch, num_labels)]. The model computes the
features itself; the caller pads shorter clips with zeros at the end. `export_formats`, `streaming_formats` and `micro_format`
of `hybridspeech.models` describe the formats. Knows nothing of how the run was trained.
"""

from __future__ import annotations

import logging
import shutil
import uuid
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.config import OnProgress, Progress, silent
from hybridspeech.corpora.download_folder import DOWNLOAD_NAME
from hybridspeech.detection.threshold_file import read_thresholds
from hybridspeech.errors import ConfigError, OutputExistsError, RunError
from hybridspeech.evaluation.export_comparison import Agreement, check_agreement, compare
from hybridspeech.evaluation.exported_model import Measured, measure
from hybridspeech.evaluation.recordings import read_recordings, sample_waves
from hybridspeech.evaluation.reports.model_card import ModelCard, read_json, write_model_card
from hybridspeech.evaluation.shard_checks import check_fit, check_sound
from hybridspeech.evaluation.summary import evaluation_files
from hybridspeech.models.export_formats import FORMATS
from hybridspeech.models.export_source import OUTPUT_NAME, Classify, ExportSource
from hybridspeech.models.export_target import check_target, check_url, publish, size_of
from hybridspeech.models.frontend import INPUT_NAME
from hybridspeech.models.tensorflow_errors import disk_errors_translated
from hybridspeech.processes.native_stderr import native_errors_muted
from hybridspeech.processes.scratch import scratch_folder
from hybridspeech.records import to_json
from hybridspeech.registry import requires
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.local_copies import fetched_split
from hybridspeech.storage.copies import fetched, upload_files
from hybridspeech.storage.locations import is_url, normalized, parent_and_name, refuse_urls
from hybridspeech.storage.objects import delete_below, list_files
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.run_directory import FINISHED_RUN_NAMES, RunDirectory

NUM_CALIBRATION = 256
MEASURED_SPLIT = "testing"
_BATCH_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """An exported model, and how it compares with the run.

    None in `input_shape` stands for any batch size. Before it is published, the model is compared with the run on its
    calibration clips (tflite-int8, tflite-micro) or on synthetic signals: `max_difference` is the largest difference of a
    probability, `agreement` the share of clips with the same predicted label. `measured` is None unless clips to measure on
    were given.
    Of a tflite-micro export, `num_bytes` is that of the network alone, and `arena_bytes` the size of the tensor arena.
    """

    path: str
    format: str
    num_bytes: int
    labels: tuple[str, ...]
    sample_rate_hz: int
    input_name: str
    input_shape: tuple[int | None, ...]
    output_name: str
    max_difference: float
    agreement: float
    measured: Measured | None
    arena_bytes: int | None = None


def export(
    run: str | Path,
    out: str | Path,
    *,
    format: str = "savedmodel",
    calibrate: str | Path | None = None,
    measure: str | Path | None = None,
    card: str | Path | None = None,
    data: str | Path | None = None,
    overwrite: bool = False,
    model: str | None = None,
    on_progress: OnProgress = silent,
) -> ExportResult:
    """Write a finished run as one self-contained model. The model is published only after it was compared with the run.

    Parameters
    ----------
    run : run directory of a finished training; a local path or a URL, as `out`, `calibrate` and `measure`
    out : folder (savedmodel, tflite-micro) or file (*.keras, *.tflite, *.onnx) to write
    format : savedmodel, keras, tflite, tflite-int8, onnx, savedmodel-streaming, tflite-streaming or tflite-micro
    calibrate : for tflite-int8 and tflite-micro, shards of waveforms; up to NUM_CALIBRATION of their training clips set the
        ranges of int8
    measure : shards of waveforms; the exported model is measured on their testing clips
    card : Markdown file for a model card, with the accuracy of the last evaluation of the testing split
    data : source of the shards; if `download` wrote it, the model card states its licence and credit
    overwrite : replace an earlier export of the same format, and an earlier model card
    model : "module:function" of a custom network, which is imported only if it is named here

    Raises
    ------
    RunError: the run is not finished, a streaming format is requested and its network is not causal, or the predictions of
    the export differ from those of the run.
    OutputExistsError: `out` or `card` exists. ConfigError: the format is unknown, `out` has a wrong name, or the shards do
    not fit. ShardError: they are damaged.
    """
    refuse_urls(card=card, data=data)
    if card and Path(card).exists() and not overwrite:
        raise OutputExistsError(f"{card}: exists already; choose another name, or add --overwrite")
    clips = _Clips(calibrate=calibrate, measure=measure)
    request = _Request(format=format, overwrite=overwrite, model=model, card=card, data=data, on_progress=on_progress)
    if any(map(is_url, (str(run), str(out), str(calibrate or ""), str(measure or "")))):
        return _export_urls(run, out, clips, request)
    return _export_local(run, out, clips, request)


@dataclass(frozen=True, kw_only=True)
class _Clips:
    """Shards of waveforms: to calibrate int8 on, and to measure the export on."""

    calibrate: str | Path | None
    measure: str | Path | None


@dataclass(frozen=True, kw_only=True)
class _Request:
    """The options of `export` that do not name a run, an export or shards."""

    format: str
    overwrite: bool
    model: str | None
    card: str | Path | None
    data: str | Path | None
    on_progress: OnProgress


def _export_local(run: str | Path, out: str | Path, clips: _Clips, request: _Request) -> ExportResult:
    """Export from local folders to a local path."""
    directory, target, format = RunDirectory(run), Path(out).absolute(), request.format
    plan = directory.require_finished(request.model)
    check_target(target, format, request.overwrite)
    _check_streaming(plan, directory.path, format)
    facts = _card_facts(directory, request)
    waves = _calibration_waves(plan, directory.path, format, clips.calibrate)
    measured_on = _measured_index(plan, directory.path, clips.measure)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    staging.mkdir()
    try:
        request.on_progress(Progress(stage="start", message="importing TensorFlow and loading the network"))
        with requires("train", "export"), _quiet(), native_errors_muted():
            written = staging / f"model{FORMATS[format].suffix}"
            with disk_errors_translated(target):
                agreement, settings, classify = _write(directory, plan, format, waves, written)
            if clips.measure:
                message = f"measuring the export on split {MEASURED_SPLIT}"
                request.on_progress(Progress(stage="measure", message=message))
            measured = _measured(classify, clips.measure, measured_on)
        publish(written, target, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    result = ExportResult(
        path=str(target),
        format=format,
        num_bytes=settings.get("model_bytes") or size_of(target),
        labels=plan.labels,
        sample_rate_hz=plan.features.sample_rate_hz,
        input_name=settings.get("input", INPUT_NAME),
        input_shape=tuple(settings.get("input_shape", (None, plan.features.num_samples))),
        output_name=OUTPUT_NAME,
        max_difference=agreement.max_difference,
        agreement=agreement.share,
        measured=measured,
        arena_bytes=settings.get("arena_bytes"),
    )
    if request.card:
        write_model_card(Path(request.card), _model_card(result, plan, *facts))
    return result


def _card_facts(run: RunDirectory, request: _Request) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the metrics of the last evaluation, and the facts of the data set; empty where there are none."""
    if not request.card:
        return {}, {}
    metrics = read_json(Path(evaluation_files(run.evaluation_dir(MEASURED_SPLIT)).metrics))
    return metrics, read_json(Path(request.data) / DOWNLOAD_NAME) if request.data else {}


def _export_urls(run: str | Path, out: str | Path, clips: _Clips, request: _Request) -> ExportResult:
    """Export with local copies of what is on an object store, and upload the result."""
    with ExitStack() as stack:
        local_run = stack.enter_context(fetched(run, *FINISHED_RUN_NAMES))
        for name, split in (("calibrate", "training"), ("measure", MEASURED_SPLIT)):
            if (shards := getattr(clips, name)) is not None:
                clips = replace(clips, **{name: stack.enter_context(fetched_split(shards, split))})
        if not is_url(out):
            return _export_local(local_run, out, clips, request)
        url = normalized(str(out))
        check_url(url, request.format, request.overwrite)
        target = Path(stack.enter_context(scratch_folder())) / Path(url).name
        result = _export_local(local_run, target, clips, request)
        delete_below(url)
        folder, names = (target, _names_below(target)) if target.is_dir() else (target.parent, [target.name])
        upload_files(folder, names, url if target.is_dir() else parent_and_name(url)[0])
        return replace(result, path=url)


def _names_below(folder: Path) -> list[str]:
    """Files of an exported folder; the one that makes it loadable comes last."""
    names = [stat.name for stat in list_files(str(folder))]
    return sorted(names, key=lambda name: name in {format.main_file for format in FORMATS.values()})


def _model_card(result: ExportResult, plan: TrainPlan, metrics: dict[str, Any], facts: dict[str, Any]) -> ModelCard:
    return ModelCard(
        name=Path(result.path).name,
        format=result.format,
        num_bytes=result.num_bytes,
        plan=plan,
        metrics=metrics,
        measured=result.measured,
        data=facts,
    )


def _check_streaming(plan: TrainPlan, run: Path, format: str) -> None:
    if FORMATS[format].is_streaming and not (plan.model.causal and plan.features.causal):
        raise RunError(
            f"{run}: its network is not causal, so it can not be exported as {format}; train with --causal (dscnn or bcresnet)"
        )


def _calibration_waves(plan: TrainPlan, run: Path, format: str, shards: str | Path | None) -> np.ndarray:
    """Read the calibration clips, float32 [shape=(num_clips, num_samples)]; none for a format without calibration."""
    if not FORMATS[format].is_quantized:
        if shards:
            raise ConfigError(
                f"calibration clips were given for format {format!r}; only tflite-int8 and tflite-micro use them"
            )
        return np.zeros((0, plan.features.num_samples), np.float32)
    if not shards:
        raise ConfigError(
            f"{format} needs clips to calibrate on; give shards of waveforms (preprocess --features waveform) with "
            "--calibrate SHARDS"
        )
    index = ShardIndex.load(shards)
    check_sound(index, Path(shards), "calibration")
    check_fit(plan, index, "training", run, Path(shards))
    return sample_waves(shards, index, "training", NUM_CALIBRATION)


def _measured_index(plan: TrainPlan, run: Path, shards: str | Path | None) -> ShardIndex | None:
    if not shards:
        return None
    index = ShardIndex.load(shards)
    check_sound(index, Path(shards), "measuring an export")
    check_fit(plan, index, MEASURED_SPLIT, run, Path(shards))
    return index


def _write(
    run: RunDirectory, plan: TrainPlan, format: str, waves: np.ndarray, path: Path
) -> tuple[Agreement, dict[str, Any], Classify]:
    """Write a format and compare it with the run; the results are the agreement, the settings of the format, and the model.

    Raises
    ------
    RunError: its predictions differ from those of the run.
    """
    from hybridspeech.training.trained_model import load_model

    chosen = FORMATS[format]
    stored = read_thresholds(run.thresholds_path)
    source = ExportSource(
        model=load_model(run, plan),
        features=plan.features,
        labels=plan.labels,
        waves=waves,
        thresholds={} if stored is None else to_json(stored),
    )
    settings = chosen.write(source, path) or {}
    classify = chosen.read(path)
    agreement = compare(source, classify)
    check_agreement(agreement, format, chosen.is_quantized, run.path, len(waves))
    return agreement, settings, classify


def _measured(classify: Classify, shards: str | Path | None, index: ShardIndex | None) -> Measured | None:
    if shards is None or index is None:
        return None
    return measure(classify, read_recordings(shards, index, MEASURED_SPLIT, _BATCH_SIZE), MEASURED_SPLIT)


@contextmanager
def _quiet() -> Iterator[None]:
    """Mute TensorFlow's messages on saving and converting; none of them needs an action of the user."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
