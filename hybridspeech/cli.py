"""The command line: parse, one library call, print. No logic.

Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted,
143 terminated.
Nothing heavy is imported before a command runs, so that --help answers at once.
"""

from __future__ import annotations

import math
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hybridspeech import __version__
from hybridspeech.config import (
    ClusterConfig,
    EngineConfig,
    FeatureConfig,
    FitConfig,
    ManifestConfig,
    ModelConfig,
    ShardConfig,
)
from hybridspeech.errors import ConfigError, HybridspeechError
from hybridspeech.terminal import ProgressReporter, print_fields, print_json, print_table, print_text

EPILOG = (
    "Every command has --help and --json. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated."
)


GO_ON = "what is finished stays: the same command with --resume goes on from there"
INTERRUPTED = {"preprocess": GO_ON, "train": GO_ON, "demo": "start it anew with --overwrite"}


class Terminated(KeyboardInterrupt):
    """SIGTERM: what a batch system sends first. It ends a command as Ctrl-C does."""


def _terminate(number: int, frame: object) -> None:
    raise Terminated


class Commands(TyperGroup):
    """Turns our own errors into one line and an exit code. Anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; see the module's exit codes."""
        try:
            return super().invoke(ctx)
        except HybridspeechError as error:
            sys.stderr.write(f"error: {error}\n")
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            advice = INTERRUPTED.get(ctx.invoked_subcommand or "", "give the same command again")
            by_signal = isinstance(error, Terminated)
            sys.stderr.write(f"{'terminated' if by_signal else 'interrupted'}; {advice}\n")
            raise typer.Exit(128 + (signal.SIGTERM if by_signal else signal.SIGINT)) from error


app = typer.Typer(
    name="hybridspeech",
    cls=Commands,
    help="Recorded words in, a trained and exported classifier out, on Spark, TensorFlowOnSpark and Ray.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(name="data", help="Get a set of recorded words.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app)

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Let the logs of Spark, Ray and TensorFlow through.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an output that is unfinished.")]
Conf = Annotated[
    list[str] | None, typer.Option("--conf", metavar="K=V", help="A Spark setting; may be given several times.")
]
RayAddress = Annotated[
    str | None, typer.Option("--ray-address", help="A Ray cluster to join.  [default: start one on this machine]")
]


def _version(value: bool) -> None:
    if value:
        print_text(f"hybridspeech {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


def _pairs(conf: list[str] | None) -> dict[str, str]:
    pairs = {}
    for item in conf or []:
        name, separator, value = item.partition("=")
        if not separator or not name:
            raise ConfigError(f"--conf {item!r}: expected NAME=VALUE, e.g. --conf spark.local.dir=/data/tmp")
        pairs[name] = value
    return pairs


@app.command(short_help="The whole way on synthesised words.")
def demo(
    out: Annotated[Path, typer.Argument(help="Folder to make.")] = Path("demo"),
    backend: Annotated[str, typer.Option(help="tfos: Spark and TensorFlowOnSpark; ray: RayDP and Ray Train.")] = "tfos",
    seed: Annotated[int, typer.Option(help="Decides voices, shards and training.")] = 0,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """The whole way on synthesised words: voices, shards, training on two workers, evaluation, prediction."""
    from hybridspeech.demo import demo

    with ProgressReporter() as report:
        result = demo(out, backend=backend, seed=seed, overwrite=overwrite, verbose=verbose, on_progress=report)
    if json:
        return print_json(result)
    return print_text(result.story())


@data_app.command("synthesize", short_help="Words spoken by espeak-ng voices.")
def synthesize_command(
    out: Annotated[Path, typer.Argument(help="Folder to make: one folder of WAV files per word.")],
    clips_per_word: Annotated[int, typer.Option(help="Clips of each of the 30 words.")] = 50,
    num_speakers: Annotated[int | None, typer.Option(help="Voices.  [default: one a clip of a word]")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    num_workers: Annotated[int | None, typer.Option(help="Processes.  [default: cores]")] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Speak the 30 words of Speech Commands with espeak-ng voices (extra: demo)."""
    from hybridspeech.synthesize import synthesize

    with ProgressReporter() as report:
        result = synthesize(
            out,
            clips_per_word=clips_per_word,
            num_speakers=num_speakers,
            seed=seed,
            num_workers=num_workers,
            overwrite=overwrite,
            on_progress=report,
        )
    return print_json(result) if json else print_text(f"{result.num_clips:,} clips in {result.out}")


@data_app.command("download", short_help="A published set, checked and unpacked.")
def download_command(
    name: Annotated[
        str,
        typer.Argument(
            help="speech-commands-v0.01 (1.5 GB), speech-commands-v0.02 (2.4 GB) or mini-speech-commands (0.2 GB)."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to make: one folder of WAV files per word.")],
    url: Annotated[
        str | None, typer.Option(help="A mirror: http, https or file.  [default: the publisher's address]")
    ] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", help="Of the mirror's archive.  [default: the published one]")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Fetch a published set of recorded words, check and unpack it; the same command goes on after a failure."""
    from hybridspeech.download import download

    with ProgressReporter() as report:
        result = download(name, out, url=url, sha256=sha256, overwrite=overwrite, on_progress=report)
    if json:
        return print_json(result)
    return print_fields(
        {
            "set": f"{result.name} in {result.out}" + ("" if result.is_new else " (was there already)"),
            "clips": f"{result.num_clips:,} of {result.num_words} words",
            "archive": f"{result.num_bytes / 1e6:,.1f} MB, SHA-256 {result.sha256} as expected",
            "license": result.license,
            "credit": result.credit,
        }
    )


@app.command(short_help="Recorded words to spectrogram shards.")
def preprocess(
    source: Annotated[
        Path, typer.Argument(help="A folder with one folder per word, or a CSV, JSONL or Parquet table.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder to make: shards, index.json, manifest.parquet, rejects.jsonl.")],
    engine: Annotated[str, typer.Option(help="spark, raydp (Spark on Ray), or local (this process).")] = "spark",
    features: Annotated[str, typer.Option(help="stft (spectrogram in dB) or logmel.")] = "stft",
    n_fft: Annotated[int | None, typer.Option(help="Samples of a window.  [default: stft 2048, logmel 512]")] = None,
    hop_length: Annotated[
        int | None, typer.Option(help="Samples from window to window.  [default: stft 321, logmel 160]")
    ] = None,
    top_db: Annotated[float, typer.Option(help="Dynamic range in dB below each clip's loudest cell.")] = 80.0,
    n_mels: Annotated[int | None, typer.Option(help="logmel: bands.  [default: 64]")] = None,
    fmin: Annotated[float | None, typer.Option(help="logmel: lowest frequency in Hz.  [default: 20]")] = None,
    fmax: Annotated[float | None, typer.Option(help="logmel: highest frequency in Hz.  [default: 7600]")] = None,
    sample_rate: Annotated[int, typer.Option(help="Hz; clips of other rates are resampled.")] = 16_000,
    clip_duration_ms: Annotated[
        int, typer.Option(help="Shorter clips are padded with silence, longer ones cut.")
    ] = 1000,
    kernel: Annotated[str, typer.Option(help="fast (float32), or reference (librosa).")] = "fast",
    split: Annotated[
        str, typer.Option(help="auto, lists (testing_list.txt, validation_list.txt), hash, column (of a table), none.")
    ] = "auto",
    validation_percentage: Annotated[float, typer.Option(help="hash: share of the speakers.")] = 10.0,
    testing_percentage: Annotated[float, typer.Option(help="hash: share of the speakers.")] = 10.0,
    allow_speaker_overlap: Annotated[
        bool, typer.Option("--allow-speaker-overlap", help="Let a speaker be in two splits.")
    ] = False,
    dtype: Annotated[str, typer.Option(help="float32 or float16.")] = "float32",
    compression: Annotated[str, typer.Option(help="none or gzip.")] = "none",
    shards: Annotated[
        int | None, typer.Option(help="Shards of each split.  [default: about 64 MiB each, at least 8]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the order of the clips.")] = 0,
    max_rejects: Annotated[
        float | None, typer.Option(help="Stop past so many unusable clips: a count, or a fraction below 1.")
    ] = None,
    master: Annotated[str | None, typer.Option(help="Spark master.  [default: local[*]]")] = None,
    conf: Conf = None,
    num_executors: Annotated[int | None, typer.Option(help="Spark executors.")] = None,
    executor_cores: Annotated[int | None, typer.Option(help="Cores of an executor (local: processes).")] = None,
    executor_memory: Annotated[str | None, typer.Option(help="Memory of an executor, e.g. 2g.")] = None,
    ray_address: RayAddress = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Decode recorded words, compute spectrograms and write TFRecord shards."""
    from hybridspeech.preprocess import preprocess

    with ProgressReporter() as report:
        result = preprocess(
            source,
            out,
            features=FeatureConfig.of(
                features,
                n_fft=n_fft,
                hop_length=hop_length,
                top_db=top_db,
                n_mels=n_mels,
                fmin_hz=fmin,
                fmax_hz=fmax,
                sample_rate_hz=sample_rate,
                clip_duration_ms=clip_duration_ms,
                kernel=kernel,
            ),
            manifest=ManifestConfig(
                split=split,  # type: ignore[arg-type]
                validation_percentage=validation_percentage,
                testing_percentage=testing_percentage,
                allow_speaker_overlap=allow_speaker_overlap,
            ),
            shards=ShardConfig(dtype=dtype, compression=compression, num_shards=shards, seed=seed),  # type: ignore[arg-type]
            engine=engine,
            engine_config=EngineConfig(
                master=master,
                conf=_pairs(conf),
                num_executors=num_executors,
                executor_cores=executor_cores,
                executor_memory=executor_memory,
                ray_address=ray_address,
                verbose=verbose,
            ),
            max_rejects=math.inf if max_rejects is None else max_rejects,
            overwrite=overwrite,
            resume=resume,
            on_progress=report,
        )
    if json:
        return print_json(result)
    return print_fields(
        {
            "shards": f"{result.num_shards} in {result.out}, {result.num_bytes / 1e6:,.1f} MB",
            "clips": f"{result.num_clips:,} ({', '.join(f'{count:,} {name}' for name, count in result.splits.items())})",
            "rejects": f"{result.num_rejects:,}" + (f" (see {result.out}/rejects.jsonl)" if result.num_rejects else ""),
            "time": f"{result.startup_s:.1f} s start, {result.work_s:.1f} s work, {result.clips_per_s:,.0f} clips/s",
            "digest": result.digest,
        }
    )


@app.command("inspect", short_help="What is in a folder of shards.")
def inspect_command(
    shards: Annotated[Path, typer.Argument(help="Folder that preprocess has written.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Hash every shard again; exit code 1 if one differs.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="PNG file to draw spectrograms into.")] = None,
    json: Json = False,
) -> None:
    """Counts, sizes, settings, rejects and digest of shards."""
    from hybridspeech.describe import describe

    result = describe(shards, verify=verify, plot=plot)
    if json:
        print_json(result)
    else:
        print_text(result.text())
    if result.problems:
        raise typer.Exit(1)


@app.command(short_help="Shards to a trained classifier.")
def train(
    shards: Annotated[Path, typer.Argument(help="Folder that preprocess has written; every worker must reach it.")],
    run: Annotated[Path, typer.Argument(help="Run directory to make, on storage that every worker reaches.")],
    backend: Annotated[
        str, typer.Option(help="tfos (TensorFlowOnSpark), ray (Ray Train), local (this process).")
    ] = "tfos",
    num_workers: Annotated[int, typer.Option(help="Training workers.")] = 1,
    epochs: Annotated[int, typer.Option(help="Times that every training clip is seen.")] = 8,
    batch_size: Annotated[int, typer.Option(help="Clips a step of each worker.")] = 16,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 1e-3,
    model: Annotated[str, typer.Option(help="Network: cnn.")] = "cnn",
    dropout: Annotated[float, typer.Option(help="Share of cells left out in training.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Decides weights, order and dropout.")] = 0,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Same seed, same curve (slower operations).")
    ] = False,
    shuffle_buffer: Annotated[int, typer.Option(help="Examples that a worker shuffles at a time.")] = 1024,
    keep_checkpoints: Annotated[int, typer.Option(help="Last checkpoints kept; the best epoch's is kept too.")] = 2,
    checkpoint_steps: Annotated[
        int | None, typer.Option(help="Steps from checkpoint to checkpoint.  [default: one an epoch]")
    ] = None,
    threads_per_worker: Annotated[
        int | None, typer.Option(help="TensorFlow threads.  [default: cores / workers]")
    ] = None,
    master: Annotated[str | None, typer.Option(help="tfos: Spark master.  [default: a local-cluster]")] = None,
    conf: Conf = None,
    executor_memory: Annotated[str, typer.Option(help="tfos: memory of an executor's JVM.")] = "1g",
    ray_address: RayAddress = None,
    max_restarts: Annotated[int, typer.Option(help="Times to go on by itself after a failure.")] = 0,
    start_timeout: Annotated[float, typer.Option(help="Seconds until every worker must run.")] = 300.0,
    stall_timeout: Annotated[float, typer.Option(help="Seconds that a worker may be without progress.")] = 300.0,
    overwrite: Overwrite = False,
    resume: Resume = False,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Train a classifier on shards with one or more workers."""
    from hybridspeech.train import train

    with ProgressReporter() as report:
        result = train(
            shards,
            run,
            model=ModelConfig(name=model, dropout=dropout),
            fit=FitConfig(
                epochs=epochs,
                batch_size=batch_size,
                learning_rate=learning_rate,
                seed=seed,
                deterministic=deterministic,
                shuffle_buffer=shuffle_buffer,
                keep_checkpoints=keep_checkpoints,
                checkpoint_steps=checkpoint_steps,
            ),
            cluster=ClusterConfig(
                num_workers=num_workers,
                master=master,
                conf=_pairs(conf),
                ray_address=ray_address,
                threads_per_worker=threads_per_worker,
                executor_memory=executor_memory,
                max_restarts=max_restarts,
                start_timeout_s=start_timeout,
                stall_timeout_s=stall_timeout,
                verbose=verbose,
            ),
            backend=backend,
            overwrite=overwrite,
            resume=resume,
            on_progress=report,
        )
    if json:
        return print_json(result)
    last = result.history[-1]
    return print_fields(
        {
            "run": result.run_dir,
            "workers": f"{result.num_workers} on {result.backend}, {result.global_batch_size} clips a step",
            "time": f"{result.startup_s:.1f} s to the first step, {result.train_s:.1f} s of training",
            "speed": f"{result.examples_per_s:,.0f} examples/s",
            "last epoch": ", ".join(
                f"{name} {last[name]:.4f}" for name in last if "loss" in name or "accuracy" in name
            ),
        }
    )


@app.command(short_help="How well it does on a split.")
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run directory of a finished training.")],
    shards: Annotated[Path, typer.Argument(help="Shards with the same labels and features.")],
    split: Annotated[str, typer.Option(help="training, validation or testing.")] = "testing",
    batch_size: Annotated[int, typer.Option(help="Clips at a time.")] = 64,
    json: Json = False,
) -> None:
    """Accuracy with a 95 % interval, per-class figures, confusion matrix (JSON, CSV, PNG)."""
    from hybridspeech.evaluate import evaluate

    result = evaluate(run, shards, split=split, batch_size=batch_size)
    if json:
        return print_json(result)
    print_table(
        ("label", "precision", "recall", "f1", "clips"),
        [(c.label, f"{c.precision:.3f}", f"{c.recall:.3f}", f"{c.f1:.3f}", c.num_clips) for c in result.classes],
    )
    low, high = result.accuracy_ci95
    return print_fields(
        {
            "accuracy": f"{result.accuracy:.4f} (95 % interval {low:.4f} to {high:.4f}, {result.ci_method})",
            "loss": f"{result.loss:.4f}",
            "clips": f"{result.num_clips:,} of split {result.split}",
            "files": result.files.metrics.parent,
        }
    )


@app.command(short_help="Which words are in audio files.")
def predict(
    run: Annotated[Path, typer.Argument(help="Run directory of a finished training.")],
    files: Annotated[list[Path], typer.Argument(help="Audio files, or folders of them.")],
    top_k: Annotated[int, typer.Option(help="Labels to name for each file.")] = 3,
    json: Json = True,
) -> None:
    """Labels of audio files, as JSON lines on stdout. Exit code 1 if a file could not be used."""
    from hybridspeech.predict import predict

    failed = False
    for prediction in predict(run, files, top_k=top_k):
        print_json(prediction.line())
        failed = failed or prediction.error is not None
    if failed:
        raise typer.Exit(1)


@app.command(short_help="A model to deploy: raw audio in.")
def export(
    run: Annotated[Path, typer.Argument(help="Run directory of a finished training.")],
    out: Annotated[Path, typer.Argument(help="Folder (savedmodel) or file (keras, tflite) to make.")],
    format: Annotated[str, typer.Option(help="savedmodel, keras or tflite; all take raw audio.")] = "savedmodel",
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """A model to deploy: raw audio in, probabilities out, with the features and the labels inside."""
    from hybridspeech.export import export

    result = export(run, out, format=format, overwrite=overwrite)
    if json:
        return print_json(result)
    return print_text(f"{result.format} in {result.path}, {result.num_bytes / 1e6:.1f} MB, {len(result.labels)} labels")


@app.command(
    short_help="Throughput beside what people use today.",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def bench(context: typer.Context) -> None:
    """Measure this package beside what people use today (list, run, report, compare); `bench run --help` tells more."""
    from benchmarks.__main__ import app as benchmarks

    benchmarks(context.args, prog_name="hybridspeech bench")


def main() -> None:
    """Entry point of the command."""
    signal.signal(signal.SIGTERM, _terminate)
    app(prog_name="hybridspeech")


if __name__ == "__main__":
    main()
