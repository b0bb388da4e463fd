"""Faults without a cluster: damaged files, missing sources, full disks, closed ports, wrong option values.

A seed selects the fault. `inject` runs one command with it, in this process, and returns what is wrong with the outcome:
a command must end with exit code 0 and the right digest, or with one sentence and exit code 1 or 2.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import socket
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from typer.testing import CliRunner

from hybridspeech.cli.app import app
from support.process_faults import OPTIONS, write_clips
from support.small_disk import mounted

MAX_SENTENCE = 1500
LOCAL = ("--engine", "local")
SMALL_JSON: tuple[Any, ...] = (None, True, -1, 10**30, 1e308, "", "\x00", "a" * 5000, [], {}, [[[[]]]], {"a": {"b": 1}})


@dataclass(frozen=True)
class Scene:
    """Inputs of the commands; each fault works on a copy.

    Parameters
    ----------
    source, table : a folder of small clips, and a CSV table of them
    shards, digest : shards of the source
    run : a finished run on these shards
    """

    source: Path
    table: Path
    shards: Path
    digest: str
    run: Path


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    arguments: Sequence[str]
    code: int
    stdout: str
    stderr: str
    exception: BaseException | None


def command(*arguments: str | Path) -> Ended:
    """Run the command line in this process."""
    texts = [str(argument) for argument in arguments]
    logging.raiseExceptions = False  # TensorFlow's handler writes to the standard error of an earlier command
    result = CliRunner().invoke(app, texts)
    crash = None if isinstance(result.exception, SystemExit) else result.exception
    return Ended(texts, result.exit_code, result.stdout, result.stderr, crash)


def make_scene(folder: Path) -> Scene:
    """Make the source, its table, its shards and a run of one epoch."""
    source = write_clips(folder / "source", num_speakers=12)
    table = folder / "clips.csv"
    lines = [f"source/{path.relative_to(source)},{path.parent.name}" for path in sorted(source.rglob("*.wav"))]
    table.write_text("\n".join(["path,label", *lines]) + "\n", encoding="utf-8")
    shards, run = folder / "shards", folder / "run"
    made = command("preprocess", source, shards, *LOCAL, *OPTIONS)
    assert made.code == 0, made
    trained = command("train", shards, run, "--backend", "local", "--epochs", "1", "--model", "dscnn", "--json")
    assert trained.code == 0, trained
    return Scene(source, table, shards, json.loads(made.stdout)["digest"], run)


def inject(seed: int, scene: Scene, folder: Path) -> tuple[str, str]:
    """Inject one fault in an empty folder; returns its name, and what is wrong with the outcome ('' if nothing is)."""
    draw = random.Random(seed)
    fault = draw.choice(FAULTS)
    before = set(psutil.Process().children(recursive=True))
    problem = fault(draw, scene, folder)
    left = [child.pid for child in psutil.Process().children(recursive=True) if child not in before]
    return fault.__name__.removeprefix("_"), problem or (f"processes are left: {left}" if left else "")


def problem_of(ended: Ended, digest: str | None = None) -> str:
    """Return what is wrong with the end of a command: '' if it is one sentence, or success with the right digest."""
    said = f"{' '.join(ended.arguments)}: code {ended.code}, stderr {ended.stderr[-800:]!r}"
    if ended.exception is not None or "Traceback" in ended.stderr:
        return f"{ended.exception!r} from {said}"
    if ended.code == 0:
        found = json.loads(ended.stdout).get("digest") if digest and ended.stdout else digest
        return "" if found == digest else f"digest {found} instead of {digest} from {said}"
    errors = [line for line in ended.stderr.splitlines() if line.startswith(("error:", "Error:")) or "Usage:" in line]
    if ended.code not in (1, 2):
        return f"unexpected exit code of {said}"
    reported = ended.code == 1 and "--verify" in ended.arguments  # problems of shards are the result itself
    if not errors and not reported and '"error"' not in ended.stdout and "Invalid value" not in ended.stderr:
        return f"no sentence in {said}"
    return f"too long a sentence in {said}" if any(len(line) > MAX_SENTENCE for line in errors) else ""


def _damage(draw: random.Random, path: Path) -> str:
    """Damage a file in a random way; returns the way."""
    data = path.read_bytes()
    place = draw.randrange(len(data)) if data else 0
    ways: dict[str, Callable[[], object]] = {
        "cut": lambda: path.write_bytes(data[:place]),
        "emptied": lambda: path.write_bytes(b""),
        "a byte changed": lambda: path.write_bytes(data[:place] + bytes([draw.randrange(256)]) + data[place + 1 :]),
        "not UTF-8": lambda: path.write_bytes(data[:place] + b"\xff\xfe\x80" + data[place:]),
        "zeros": lambda: path.write_bytes(bytes(len(data))),
        "noise": lambda: path.write_bytes(draw.randbytes(max(16, len(data)))),
        "nested": lambda: path.write_bytes(b"[" * 100_000),
        "a line removed": lambda: path.write_bytes(b"\n".join(data.split(b"\n")[1:])),
        "a line twice": lambda: path.write_bytes(b"\n".join([data.split(b"\n")[0], data])),
        "removed": path.unlink,
        "a folder": lambda: (path.unlink(), path.mkdir()),
    }
    if path.suffix in (".json", ".jsonl"):
        ways |= {"another value": lambda: path.write_text(_changed_json(draw, data.decode()), encoding="utf-8")}
    way = draw.choice([*ways, *(["another value"] * 4 if "another value" in ways else [])])
    ways[way]()
    return way


def _changed_json(draw: random.Random, text: str) -> str:
    """Replace one value, anywhere, by a value of another kind."""
    if not text.strip():
        return json.dumps(draw.choice(SMALL_JSON))
    first, separator, rest = (text, "", "") if text.lstrip().startswith("{\n") else text.partition("\n")
    content = json.loads(first)
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        for key in keys:
            places.append((value, key))
            walk(value[key])

    walk(content)
    if places:
        container, key = draw.choice(places)
        container[key] = draw.choice(SMALL_JSON)
    return json.dumps(content) + separator + rest


def _damaged_shards(draw: random.Random, scene: Scene, folder: Path) -> str:
    shards = folder / "shards"
    shutil.copytree(scene.shards, shards)
    path = draw.choice(sorted(path for path in shards.iterdir() if path.is_file()))
    way = _damage(draw, path)
    verb = draw.choice(["inspect", "verify", "resume", "train", "evaluate"])
    ended = {
        "inspect": lambda: command("inspect", shards, "--json"),
        "verify": lambda: command("inspect", shards, "--verify", "--json"),
        "resume": lambda: command("preprocess", scene.source, shards, *LOCAL, *OPTIONS, "--resume"),
        "train": lambda: command("train", shards, folder / "run", "--backend", "local", "--epochs", "1", "--json"),
        "evaluate": lambda: command("evaluate", scene.run, shards, "--json"),
    }[verb]()
    digest = scene.digest if verb == "resume" else None
    found = problem_of(ended, digest)
    return f"{path.name} {way}: {found}" if found else ""


def _damaged_run(draw: random.Random, scene: Scene, folder: Path) -> str:
    run = folder / "run"
    shutil.copytree(scene.run, run)
    names = ("plan.json", "metrics.jsonl", "labels.txt", "model/model.weights.h5", "workers/rank-000.json")
    path = run / draw.choice([name for name in names if (run / name).is_file()])
    way = _damage(draw, path)
    clip = min(scene.source.rglob("*.wav"))
    verb = draw.choice(["evaluate", "predict", "export", "resume"])
    ended = {
        "evaluate": lambda: command("evaluate", run, scene.shards, "--json"),
        "predict": lambda: command("predict", run, clip, "--json"),
        "export": lambda: command("export", run, folder / "model", "--json"),
        "resume": lambda: command(
            *(
                "train",
                scene.shards,
                run,
                "--backend",
                "local",
                "--epochs",
                "2",
                "--model",
                "dscnn",
                "--resume",
                "--json",
            )
        ),
    }[verb]()
    found = problem_of(ended)
    return f"{path.name} {way}: {found}" if found else ""


def _damaged_table(draw: random.Random, scene: Scene, folder: Path) -> str:
    (folder / "source").symlink_to(scene.source)
    table = folder / "clips.csv"
    shutil.copy(scene.table, table)
    if draw.random() < 0.5:
        rows = [line.split(",") for line in table.read_text(encoding="utf-8").splitlines()[1:]]
        table = folder / "clips.jsonl"
        text = "".join(json.dumps({"path": path, "label": label}) + "\n" for path, label in rows)
        table.write_text(text, encoding="utf-8")
    way = _damage(draw, table)
    found = problem_of(command("preprocess", table, folder / "out", *LOCAL, *OPTIONS))
    return f"{table.name} {way}: {found}" if found else ""


def _damaged_audio(draw: random.Random, scene: Scene, folder: Path) -> str:
    source = folder / "source"
    shutil.copytree(scene.source, source)
    for path in draw.sample(sorted(source.rglob("*.wav")), 3):
        _damage(draw, path)
    return problem_of(command("preprocess", source, folder / "out", *LOCAL, *OPTIONS))


def _vanished_source(draw: random.Random, scene: Scene, folder: Path) -> str:
    """The source, or a part of it, is missing when an unfinished job is resumed, and is back for the next resume."""
    source, out = folder / "source", folder / "out"
    shutil.copytree(scene.source, source)
    ended = command("preprocess", source, out, *LOCAL, *OPTIONS)
    (out / "index.json").unlink()
    victim = draw.choice([source, source / "yes", min((source / "no").iterdir())])
    victim.rename(folder / "away")
    if draw.random() < 0.5 and (shards := sorted(out.glob("*.tfrecord"))):
        draw.choice(shards).unlink()
    found = problem_of(ended, scene.digest) or problem_of(
        command("preprocess", source, out, *LOCAL, *OPTIONS, "--resume")
    )
    if source.exists() and victim == source:
        shutil.rmtree(source)
    (folder / "away").rename(victim)
    return found or problem_of(command("preprocess", source, out, *LOCAL, *OPTIONS, "--overwrite"), scene.digest)


def _full_disk(draw: random.Random, scene: Scene, folder: Path) -> str:
    """The output, or the folder for temporary files, is on a disk that fills up."""
    size_kib = draw.randrange(8, 1200, 8)
    verb, is_output = draw.choice(["preprocess", "train", "export", "evaluate"]), draw.random() < 0.7
    with mounted(folder / "disk", "-t", "tmpfs", "-o", f"size={size_kib}k", "none") as disk:
        out = (disk if is_output else folder) / "out"
        before, tempfile.tempdir = tempfile.tempdir, tempfile.tempdir if is_output else str(disk)
        try:
            run = out
            if verb == "evaluate":
                run = (disk if is_output else folder) / "run"
                try:
                    shutil.copytree(scene.run, run)
                except (OSError, shutil.Error):
                    return ""  # the disk is too small for a run
            ended = {
                "preprocess": lambda: command("preprocess", scene.source, out, *LOCAL, *OPTIONS),
                "train": lambda: command(
                    "train", scene.shards, out, "--backend", "local", "--epochs", "1", "--model", "dscnn", "--json"
                ),
                "export": lambda: command("export", scene.run, out, "--json"),
                "evaluate": lambda: command("evaluate", run, scene.shards, "--json"),
            }[verb]()
        finally:
            tempfile.tempdir = before
        found = problem_of(ended, scene.digest if verb == "preprocess" else None)
    return f"{verb} with {size_kib} KiB {'of output' if is_output else 'of TMPDIR'}: {found}" if found else ""


def _closed_port(draw: random.Random, scene: Scene, folder: Path) -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    address = f"127.0.0.1:{port}"
    out = folder / "out"
    options = draw.choice(
        [
            ("preprocess", scene.source, out, "--master", f"spark://{address}"),
            ("preprocess", scene.source, out, "--engine", "raydp", "--ray-address", address),
            ("train", scene.shards, out, "--backend", "tfos", "--master", f"spark://{address}"),
            ("train", scene.shards, out, "--backend", "ray", "--ray-address", address),
            ("run", scene.source, out, "--backend", "tfos", "--master", f"spark://{address}"),
        ]
    )
    ended = command(*options, "--json")
    return problem_of(ended) or ("" if ended.code else f"success without a cluster: {ended}")


NUMBERS = ("-1", "0", "1e309", "nan", "-inf", "999999999999999999999", "1.5", "x", "", "٣")
NUMERIC = {
    "preprocess": (
        *("--n-fft", "--hop-length", "--top-db", "--n-mels", "--sample-rate", "--clip-duration-ms", "--num-shards"),
        *("--validation-percentage", "--testing-percentage", "--seed", "--max-rejects", "--augment-copies"),
    ),
    "train": (
        *("--epochs", "--batch-size", "--learning-rate", "--dropout", "--width", "--label-smoothing", "--seed"),
        *("--num-workers", "--keep-checkpoints", "--early-stopping", "--warmup-epochs", "--mixup-alpha"),
        *("--time-masks", "--start-timeout", "--stall-timeout", "--max-restarts", "--shuffle-buffer"),
    ),
}


def _wrong_option(draw: random.Random, scene: Scene, folder: Path) -> str:
    verb = draw.choice(list(NUMERIC))
    option, value = draw.choice(NUMERIC[verb]), draw.choice(NUMBERS)
    first = (scene.source, folder / "out", *LOCAL, *OPTIONS) if verb == "preprocess" else (scene.shards, folder / "out")
    last = () if verb == "preprocess" else ("--backend", "local", "--model", "dscnn", "--json")
    if verb == "train" and option != "--epochs":
        last = (*last, "--epochs", "1")
    found = problem_of(command(verb, *first, *last, f"{option}={value}"))
    return f"{option}={value}: {found}" if found else ""


FAULTS = (
    *(_damaged_shards, _damaged_shards, _damaged_run, _damaged_run, _damaged_table, _damaged_audio),
    *(_vanished_source, _full_disk, _full_disk, _closed_port, _wrong_option, _wrong_option),
)


def empty_folder(base: Path, seed: int) -> Path:
    """A folder for one fault."""
    folder = base / f"fault-{seed:06d}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def leave(folder: Path) -> None:
    """Remove the folder of a fault."""
    shutil.rmtree(folder, ignore_errors=True)
    assert not os.path.lexists(folder), f"{folder} can't be removed"
