"""The commands on a finished run: `evaluate`, `predict` and `export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from hybridspeech.cli.app import Command, app
from hybridspeech.cli.options import DETECTION, INPUT, OUTPUT, argument, option, with_settings
from hybridspeech.cli.parameters import Audio, CustomModel, Json, Overwrite, Report, Resume, Run, TableEngine
from hybridspeech.cli.progress import ProgressReporter
from hybridspeech.cli.settings import SETTINGS
from hybridspeech.cli.stream_results import check_no_made_sound, check_recording, print_stream
from hybridspeech.cli.terminal import print_fields, print_json, print_table, print_text, print_warning
from hybridspeech.config import EngineConfig
from hybridspeech.detection.config import DetectionConfig
from hybridspeech.errors import ConfigError, counted
from hybridspeech.storage.locations import parent_and_name

if TYPE_CHECKING:
    from hybridspeech.commands.evaluate import EvaluateResult
    from hybridspeech.commands.predict_table import PredictTableResult
    from hybridspeech.evaluation.exported_model import Measured
    from hybridspeech.evaluation.file_predictions import Prediction


@app.command("evaluate", cls=Command, short_help="Measure the accuracy on a split.")
@with_settings(SETTINGS)
def evaluate_command(
    run: Run,
    shards: Annotated[
        Path | None,
        argument("SHARDS", "Shards with the labels and features of the run. Required, unless --recording is given."),
    ] = None,
    *,
    split: Annotated[Literal["training", "validation", "testing"], option("Split to evaluate.", INPUT)] = "testing",
    batch_size: Annotated[int, option("Batch size.", INPUT)] = 64,
    robustness: Annotated[
        bool,
        option(
            "Also measure the accuracy under background noise and time shifts (waveform shards).", INPUT, "--robustness"
        ),
    ] = False,
    stream: Annotated[
        bool,
        option(
            "Measure misses and false accepts per hour in continuous sound instead, and store a threshold for `listen` in "
            "RUN (waveform shards with _unknown_).",
            DETECTION,
            "--stream",
        ),
    ] = False,
    stream_hours: Annotated[float, option("Duration of the sound without target words, in hours.", DETECTION)] = 0.5,
    snr_db: Annotated[float, option("Signal-to-noise ratio of the noisy sound, in dB.", DETECTION)] = 10.0,
    target_fa_per_hour: Annotated[
        float | None,
        option(
            "Maximum number of false accepts per hour on the validation split; with --recording, in the recordings.",
            DETECTION,
            default="1; with --recording, no threshold is chosen",
        ),
    ] = None,
    stream_seed: Annotated[int, option("Seed of the continuous sound.", DETECTION)] = 0,
    recording: Annotated[
        Path | None,
        option(
            "With --stream: audio file of any length, or folder of them, to measure instead of SHARDS.",
            DETECTION,
            metavar="FILE",
        ),
    ] = None,
    events: Annotated[
        Path | None,
        option(
            "CSV or TSV table of all words in --recording: columns start_s, label, and perhaps end_s, speaker, file.",
            DETECTION,
            metavar="TABLE",
        ),
    ] = None,
    detection: DetectionConfig,
    report: Report = None,
    audio: Audio = None,
    model: CustomModel = None,
    json: Json = False,
) -> None:
    """Measure accuracy with a 95 % interval, per class and per speaker, and calibration.

    Writes the confusion matrix, predictions and plots to RUN/evaluation-SPLIT.
    """
    if recording is not None or events is not None:
        check_recording(stream, shards, recording, events)
        check_no_made_sound(stream_hours, snr_db, stream_seed)
        from hybridspeech.commands.evaluate_recording import evaluate_recording

        with ProgressReporter() as progress:
            streamed = evaluate_recording(
                run,
                cast("Path", recording),
                cast("Path", events),
                target_fa_per_hour=target_fa_per_hour,
                detection=None if detection == DetectionConfig() else detection,
                report=report,
                model=model,
                on_progress=progress,
            )
        return print_json(streamed) if json else print_stream(streamed)
    if shards is None:
        raise ConfigError(
            "SHARDS is missing; name shards with the labels of RUN, or give --stream --recording --events"
        )
    if stream:
        from hybridspeech.commands.evaluate_stream import evaluate_stream

        with ProgressReporter() as progress:
            streamed = evaluate_stream(
                run,
                shards,
                hours=stream_hours,
                snr_db=snr_db,
                target_fa_per_hour=1.0 if target_fa_per_hour is None else target_fa_per_hour,
                seed=stream_seed,
                detection=detection,
                report=report,
                model=model,
                on_progress=progress,
            )
        return print_json(streamed) if json else print_stream(streamed)
    from hybridspeech.commands.evaluate import evaluate

    with ProgressReporter() as progress:
        result = evaluate(
            run,
            shards,
            split=split,
            batch_size=batch_size,
            robustness=robustness,
            report=report,
            audio=audio,
            model=model,
            on_progress=progress,
        )
    return print_json(result) if json else _print_evaluation(result)


@app.command("predict", cls=Command, short_help="Predict the labels of audio files.")
@with_settings(SETTINGS, common=("top_k", "json", "out", "engine", "master", "overwrite", "resume"))
def predict_command(
    run: Run,
    files: Annotated[list[Path], argument("FILES", "Audio files, or folders with audio files.")],
    *,
    top_k: Annotated[int, option("Number of labels per file.", OUTPUT)] = 3,
    model: CustomModel = None,
    out: Annotated[
        Path | None, option("Parquet file to create, with one row per file, instead of printing.", OUTPUT)
    ] = None,
    engine: TableEngine = "local",
    engine_config: EngineConfig,
    overwrite: Overwrite = False,
    resume: Resume = False,
    json: Annotated[
        bool, option("Print one line of JSON per file; with --out, its summary.", OUTPUT, "--json")
    ] = False,
) -> None:
    """Predict the labels of audio files. Exit code 1 if a file is unusable.

    With --out, an engine predicts any number of files, and an unusable file has a row with its error.
    """
    if out is not None:
        from hybridspeech.commands.predict_table import predict_table

        with ProgressReporter() as report:
            result = predict_table(
                run,
                files,
                out,
                top_k=top_k,
                model=model,
                engine=engine,
                engine_config=engine_config,
                overwrite=overwrite,
                resume=resume,
                on_progress=report,
            )
        return _print_table_result(result, json)
    if engine != "local" or overwrite or resume:
        raise ConfigError("--engine, --overwrite and --resume need --out; name the Parquet file to create")
    return _print_predictions(run, files, top_k, model, json)


def _print_table_result(result: PredictTableResult, json: bool) -> None:
    if json:
        return print_json(result)
    speed = f", {result.num_computed / result.work_s:,.0f} files/s" if result.num_computed else ""
    return print_fields(
        {
            "table": result.out,
            "files": f"{result.num_files:,} ({result.num_computed:,} predicted now)",
            "unusable": f"{result.num_unusable:,}" + (" (see the column error)" if result.num_unusable else ""),
            "time": f"{result.startup_s:.1f} s start, {result.work_s:.1f} s work{speed}",
        }
    )


def _print_predictions(run: Path, files: list[Path], top_k: int, model: str | None, json: bool) -> None:
    from hybridspeech.commands.predict import predict

    unusable, rows = list[str](), []
    with ProgressReporter() as report:
        for prediction in predict(run, files, top_k=top_k, model=model, on_progress=report):
            if prediction.error:
                unusable.append(f"{prediction.path}: {prediction.error}")
            if json:
                print_json(prediction.line())
            else:
                rows.append(_row(prediction))
    if not json:
        print_table(("file", "label", "probability", "other labels"), rows)
        sys.stderr.writelines(f"unusable: {item}\n" for item in unusable)
    if unusable:
        raise typer.Exit(1)


ExportFormatName = Literal[
    "savedmodel", "keras", "tflite", "tflite-int8", "onnx", "savedmodel-streaming", "tflite-streaming", "tflite-micro"
]


@app.command("export", cls=Command, short_help="Export a model that takes raw audio.")
@with_settings(SETTINGS)
def export_command(
    run: Run,
    out: Annotated[Path, argument("OUT", "Folder (savedmodel, tflite-micro) or file (keras, tflite, onnx) to create.")],
    *,
    format: Annotated[
        ExportFormatName,
        option(
            "Format: savedmodel, keras, tflite, tflite-int8, onnx; for streams savedmodel-streaming, tflite-streaming; for "
            "microcontrollers tflite-micro.",
            OUTPUT,
            metavar="FORMAT",
        ),
    ] = "savedmodel",
    calibrate: Annotated[
        Path | None,
        option("Waveform shards whose training clips calibrate tflite-int8 and tflite-micro.", INPUT, metavar="SHARDS"),
    ] = None,
    measure: Annotated[
        Path | None,
        option("Waveform shards whose testing clips measure the export.", INPUT, metavar="SHARDS"),
    ] = None,
    model: CustomModel = None,
    card: Annotated[Path | None, option("Markdown file for a model card.", OUTPUT)] = None,
    data: Annotated[
        Path | None,
        option("Source of the shards, for licence and credit in --card.", INPUT, metavar="FOLDER"),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Export a model that takes raw audio and returns probabilities. It contains the features and the labels."""
    from hybridspeech.commands.export import export

    with ProgressReporter() as report:
        result = export(
            run,
            out,
            format=format,
            calibrate=calibrate,
            measure=measure,
            card=card,
            data=data,
            overwrite=overwrite,
            model=model,
            on_progress=report,
        )
    if json:
        return print_json(result)
    print_text(
        f"{result.format} in {result.path}, {result.num_bytes / 1e6:.2f} MB, {counted(len(result.labels), 'label')}"
    )
    if calibrate:
        print_text(f"same label as the run for {100 * result.agreement:.1f} % of the calibration clips")
    if result.arena_bytes:
        print_text(f"tensor arena {result.arena_bytes / 1000:.1f} kB; outputs equal those of TFLite")
    if result.measured:
        print_fields(
            {
                "accuracy": _accuracy(result.measured),
                "clips": _clips(result.measured),
                "latency": f"{result.measured.latency_ms:.2f} ms per clip, on one core",
            }
        )
    return None


def _row(prediction: Prediction) -> tuple[str, str, str, str]:
    """Return the row of one file."""
    if prediction.error:
        return prediction.path, "(unusable)", "", ""
    others = ", ".join(f"{item.label} {item.probability:.3f}" for item in prediction.top[1:])
    return prediction.path, str(prediction.label), f"{prediction.probability:.3f}", others


def _print_evaluation(result: EvaluateResult) -> None:
    for text in result.warnings:
        print_warning(text)
    spread = result.speaker_spread
    print_fields(
        {
            "accuracy": _accuracy(result),
            "by speaker": (
                f"mean {spread.mean:.4f}, median {spread.median:.4f}, 10th percentile {spread.tenth_percentile:.4f}, "
                f"minimum {spread.lowest:.4f}"
                if spread
                else "unknown"
            ),
            "calibration": f"ECE {result.ece:.4f}, loss {result.loss:.4f} nats, with temperature {result.temperature:g}",
            "uncalibrated": f"ECE {result.uncalibrated.ece:.4f}, loss {result.uncalibrated.loss:.4f} nats",
            "task": f"{counted(len(result.labels), 'label')}: {', '.join(result.labels)}",
            "clips": _clips(result),
            "files": parent_and_name(result.files.metrics)[0],
        }
    )
    print_table(
        ("label", "precision", "recall", "f1", "clips"),
        [(c.label, f"{c.precision:.3f}", f"{c.recall:.3f}", f"{c.f1:.3f}", c.num_clips) for c in result.classes],
    )
    if result.robustness:
        print_table(
            ("disturbance", "level", "accuracy", "95 % interval"),
            [
                (
                    row.disturbance,
                    f"{row.level:g} {row.unit}",
                    f"{row.accuracy:.4f}",
                    "{:.4f} to {:.4f}".format(*row.accuracy_ci95),
                )
                for row in result.robustness
            ],
        )


def _accuracy(result: EvaluateResult | Measured) -> str:
    low, high = result.accuracy_ci95
    return f"{result.accuracy:.4f} (95 % interval {low:.4f} to {high:.4f}, {result.ci_method})"


def _clips(result: EvaluateResult | Measured) -> str:
    speakers = counted(result.num_speakers, "speaker") if result.num_speakers else "unknown speakers"
    return f"{result.num_clips:,} of {speakers}, split {result.split}"
