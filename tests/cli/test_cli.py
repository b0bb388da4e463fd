"""The command line: output, exit codes and error messages."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support.small_disk import mounted
from support.worker_faults import fill
from typer.testing import CliRunner

from hybridspeech.cli import app

ROOT = Path(__file__).parents[2]
SMALL = ["--features", "logmel", "--n-mels", "24", "--hop-length", "500", "--engine", "local"]


def hybridspeech(*arguments: object) -> tuple[int, str, str]:
    """Run a command in this process; returns exit code, stdout and stderr."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def shards(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "shards"
    assert hybridspeech("preprocess", tones, out, *SMALL)[0] == 0
    return out


@pytest.fixture(scope="module")
def run(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "run"
    options = ["--backend", "local", "--recipe", "report", "--model", "cnn", "--epochs", 3, "--batch-size", 8]
    assert hybridspeech("train", shards, out, *options)[0] == 0
    return out


def test_preprocess_prints_its_result_as_json(tones: Path, tmp_path: Path) -> None:
    code, out, err = hybridspeech("preprocess", tones, tmp_path / "out", *SMALL, "--json")
    result = json.loads(out)
    assert code == 0
    assert {"num_clips", "num_rejects", "splits", "startup_s", "work_s", "clips_per_s", "num_bytes", "digest"} <= set(
        result
    )
    assert result["num_clips"] == sum(result["splits"].values()) == 120
    assert "shards: 120 clips" in err


def test_an_index_repeats_a_preprocessing(tones: Path, tmp_path: Path) -> None:
    options = [*SMALL, "--task", "words:low,high", "--validation-percentage", 20, "--seed", 5, "--compression", "gzip"]
    _, first, _ = hybridspeech("preprocess", tones, tmp_path / "first", *options, "--json")
    repeat = ["--config", tmp_path / "first" / "index.json", "--engine", "local", "--json"]
    code, second, _ = hybridspeech("preprocess", tones, tmp_path / "second", *repeat)
    assert code == 0
    assert json.loads(second)["digest"] == json.loads(first)["digest"]


def test_a_plan_repeats_a_training(run: Path, shards: Path, tmp_path: Path) -> None:
    code, *_ = hybridspeech("train", shards, tmp_path / "again", "--config", run / "plan.json")
    plans = [json.loads((folder / "plan.json").read_text()) for folder in (run, tmp_path / "again")]
    assert code == 0
    assert {**plans[1], "run": plans[0]["run"]} == plans[0]


def test_train_prints_its_result_as_json(shards: Path, tmp_path: Path) -> None:
    options = ["--backend", "local", "--model", "cnn", "--epochs", 1, "--batch-size", 8, "--json"]
    code, out, err = hybridspeech("train", shards, tmp_path / "run", *options)
    result = json.loads(out)
    assert code == 0
    assert {"backend", "num_workers", "startup_s", "train_s", "examples_per_s", "history", "run_dir"} <= set(result)
    assert [row["epoch"] for row in result["history"]] == [1]
    assert "global batch size 8" in err
    assert re.search(r"^epoch 1/1: loss \d\.\d+, accuracy 0\.\d+, val_loss", err, flags=re.MULTILINE)


@pytest.mark.slow
def test_training_prints_no_message_of_tensorflow(shards: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hybridspeech", "train", str(shards), str(tmp_path / "run"), "--backend", "local"]
    done = subprocess.run([*command, "--epochs", "1"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0
    expected = (
        r"dscnn on |starting 1 worker|importing TensorFlow|reading the index|compiling the network|epoch 1/1: |calibrat"
    )
    assert [line for line in done.stderr.splitlines() if not re.match(expected, line)] == []
    assert [line.split()[0] for line in done.stdout.splitlines()][:2] == ["best", "last"]
    assert done.stdout.splitlines()[-1].split()[:3] == ["next", "hybridspeech", "evaluate"]


def test_evaluate_prints_its_result_as_json(run: Path, shards: Path) -> None:
    code, out, _ = hybridspeech("evaluate", run, shards, "--json")
    result = json.loads(out)
    assert code == 0
    assert {"accuracy", "accuracy_ci95", "num_clips", "loss", "classes"} <= set(result)
    low, high = result["accuracy_ci95"]
    assert low <= result["accuracy"] <= high


def test_predict_prints_a_line_per_file_and_exits_with_1_after_an_unusable_one(
    run: Path, tones: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio")
    code, out, _ = hybridspeech("predict", run, tones / "low", bad, "--top-k", 2, "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert len(lines) == 41
    assert sum(line.get("label") == "low" for line in lines) >= 36
    assert len(lines[0]["top"]) == 2
    assert lines[-1]["path"] == str(bad)
    assert "not-audio" in lines[-1]["error"]


def test_predict_prints_a_table_on_a_terminal(run: Path, tones: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio")
    good = tones / "low" / "00000001_nohash_0.wav"
    code, out, err = hybridspeech("predict", run, good, bad, "--top-k", 2)
    head, first, second = out.splitlines()
    assert code == 1
    assert head.split() == ["file", "label", "probability", "other", "labels"]
    assert re.fullmatch(rf"{good} +low +[01]\.\d+ +(high|middle) 0\.\d+", first.rstrip())
    assert second.split() == [str(bad), "(unusable)"]
    assert f"unusable: {bad}: not-audio: " in err


@pytest.mark.parametrize("form", ["savedmodel", "tflite", "keras"])
def test_export_makes_a_model(run: Path, tmp_path: Path, form: str) -> None:
    suffix = {"savedmodel": "", "tflite": ".tflite", "keras": ".keras"}[form]
    code, out, _ = hybridspeech("export", run, tmp_path / f"model{suffix}", "--format", form, "--json")
    result = json.loads(out)
    assert code == 0
    assert Path(result["path"]).exists()
    assert result["labels"] == ["high", "low", "middle"]


def test_inspect_prints_counts_and_verifies(shards: Path, tmp_path: Path) -> None:
    code, out, _ = hybridspeech("inspect", shards, "--verify", "--json")
    assert (code, json.loads(out)["problems"]) == (0, [])


def test_inspect_finds_a_flipped_byte(tones: Path, tmp_path: Path) -> None:
    hybridspeech("preprocess", tones, tmp_path / "out", *SMALL)
    shard = sorted((tmp_path / "out").glob("*.tfrecord"))[3]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    code, out, _ = hybridspeech("inspect", tmp_path / "out", "--verify")
    assert code == 1
    assert shard.name in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["preprocess", "nowhere", "OUT"], 1, "nowhere: no such folder or file"),
        (["preprocess", "TONES", "OUT", "--engine", "flink"], 2, "'flink' is not one of 'local', 'spark', 'raydp'"),
        (["preprocess", "TONES", "OUT", "--hop-length", "0"], 2, "hop_length is 0"),
        (["preprocess", "TONES", "OUT", "--conf", "x"], 2, "expected NAME=VALUE"),
        (["preprocess", "TONES", "SHARDS", "--engine", "local"], 2, "add --overwrite"),
        (["train", "TONES", "OUT"], 1, "no index.json"),
        (["train", "SHARDS", "OUT", "--backend", "slurm"], 2, "'slurm' is not one of 'tfos', 'ray', 'local'"),
        (["train", "SHARDS", "OUT", "--num-workers", "9"], 2, "8 shards for 9 workers"),
        (["evaluate", "TONES", "SHARDS"], 1, "no plan.json"),
        (["evaluate", "RUN", "SHARDS", "--split", "dev"], 2, "dev"),
        (["evaluate", "RUN", "SHARDS", "--robustness"], 2, "needs the sound"),
        (["predict", "RUN", "nowhere.wav"], 1, "nowhere.wav"),
        (["export", "RUN", "OUT", "--measure", "SHARDS"], 2, "needs the sound"),
        (["export", "RUN", "OUT", "--format", "onnx"], 2, "onnx"),
        (
            ["inspect", "TONES"],
            1,
            "no index.json in this folder; expected a folder written by `hybridspeech preprocess`",
        ),
        (["inspect", "nowhere"], 1, "nowhere: no such folder"),
        (["train", "nowhere", "OUT"], 1, "nowhere: no such folder"),
        (["predict", "nowhere", "x.wav"], 1, "nowhere: no such folder"),
    ],
)
def test_wrong_input_gives_one_sentence_and_an_exit_code(
    arguments: list[str], code: int, message: str, tones: Path, shards: Path, run: Path, tmp_path: Path
) -> None:
    places = {"TONES": tones, "SHARDS": shards, "RUN": run, "OUT": tmp_path / "out"}
    found, out, err = hybridspeech(*(places.get(argument, argument) for argument in arguments))
    assert found == code
    assert message in out + err
    assert "Traceback" not in err


def test_a_full_disk_is_one_sentence(shards: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=64k", "tmpfs") as disk:
        fill(disk / "ballast")
        code, out, err = hybridspeech("train", shards, disk / "run", "--backend", "local")
        assert (code, out) == (1, "")
        assert err.endswith(
            f"error: {disk}/run/labels.txt: No space left on device; free space there, or choose another location\n"
        )
        (disk / "ballast").unlink()
        assert not [path for path in (disk / "run").rglob("*") if path.name.endswith(".tmp")]


def test_the_reference_is_not_stale() -> None:
    spec = importlib.util.spec_from_file_location("make_cli_reference", ROOT / "docs" / "make_cli_reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == module.reference(), "run `make docs`"


@pytest.mark.cluster
def test_ctrl_c_stops_preprocessing_and_names_resume(tones: Path, tmp_path: Path) -> None:
    options = [*SMALL[:-2], "--engine", "spark", "--master", "local[2]"]
    command = [sys.executable, "-m", "hybridspeech", "preprocess", str(tones), str(tmp_path / "out"), *options]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert child.stderr
    while "starting engine" not in child.stderr.readline():
        assert child.poll() is None
    deadline = time.monotonic() + 60
    while not psutil.Process(child.pid).children() and time.monotonic() < deadline:
        time.sleep(0.05)
    descendants = psutil.Process(child.pid).children(recursive=True)
    os.kill(child.pid, signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "--resume continues" in err
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(descendants, timeout=10)
    assert not alive
