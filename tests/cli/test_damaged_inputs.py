"""With a damaged file, every command ends with one sentence, never with a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.trained_runs import random_run, tone_shards
from typer.testing import CliRunner

from hybridspeech.cli import app
from hybridspeech.shards.index import ShardIndex

pytestmark = pytest.mark.slow  # many commands that import TensorFlow

Damage = Callable[[bytes], bytes]
DAMAGES: dict[str, Damage] = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
    "not UTF-8": lambda data: b"\xff\xfe" + data,
    "list": lambda data: b"[1, 2]",
    "number": lambda data: b"1e999",
    "nested": lambda data: b"[" * 100_000,
    "text": lambda data: b"no such format\n" * 9,
}
VALUES: list[Any] = [None, -1, 10**40, "x", [], *(pytest.param(each, marks=pytest.mark.soak) for each in (1e300, {}))]


@pytest.fixture(scope="module")
def intact(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = tmp_path_factory.mktemp("intact")
    shards = tone_shards(base, tones)
    index = ShardIndex.load(shards)
    return shards, random_run(base / "run", index.features, index.labels)


@pytest.fixture
def copies(intact: tuple[Path, Path], tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Copies of shards and a run, which a test may damage."""
    shards, run = (shutil.copytree(path, tmp_path / path.name) for path in intact)
    yield shards, run


def ends_in_a_sentence(*arguments: object) -> None:
    """Run a command; an exception that is not turned into a sentence is raised."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code in (0, 1, 2)
    if done.exit_code:
        assert len(done.output.strip().splitlines()[-1]) < 2000
        assert "Traceback" not in done.output


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["index.json", "manifest.parquet", "rejects.jsonl"])
def test_commands_on_damaged_shards_end_in_one_sentence(
    name: str, damage: str, copies: tuple[Path, Path], tmp_path: Path
) -> None:
    shards, run = copies
    (shards / name).write_bytes(DAMAGES[damage]((shards / name).read_bytes()))
    ends_in_a_sentence("inspect", shards, "--verify")
    if name == "index.json":
        ends_in_a_sentence("evaluate", run, shards)
        ends_in_a_sentence("train", shards, tmp_path / "new", "--backend", "local")
        ends_in_a_sentence("preprocess", "nowhere", tmp_path / "out", "--config", shards / name)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["plan.json", "model/model.weights.h5"])
def test_commands_on_damaged_runs_end_in_one_sentence(
    name: str, damage: str, copies: tuple[Path, Path], tones: Path, tmp_path: Path
) -> None:
    shards, run = copies
    (run / name).write_bytes(DAMAGES[damage]((run / name).read_bytes()))
    ends_in_a_sentence("predict", run, tones / "low")
    if name == "plan.json":
        ends_in_a_sentence("evaluate", run, shards)
        ends_in_a_sentence("export", run, tmp_path / "export")
        ends_in_a_sentence(
            "train", shards, tmp_path / "new", "--backend", "local", "--config", run / name, "--epochs", "x"
        )


@pytest.mark.parametrize("damage", DAMAGES)
def test_export_with_damaged_calibration_shards_ends_in_one_sentence(
    damage: str, copies: tuple[Path, Path], tones: Path
) -> None:
    run = copies[1]
    (run / "model" / "calibration.json").write_bytes(DAMAGES[damage](b'{"temperature": 1.5}'))
    ends_in_a_sentence("predict", run, tones / "low")


def replaced(data: Any, value: Any) -> Iterator[Any]:
    """Copies of JSON data in which one member, at any depth, is `value`."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, item in items:
        copy = dict(data) if isinstance(data, dict) else list(data)
        yield {**copy, key: value} if isinstance(copy, dict) else [*copy[:key], value, *copy[key + 1 :]]
        for changed in replaced(item, value):
            yield {**copy, key: changed} if isinstance(copy, dict) else [*copy[:key], changed, *copy[key + 1 :]]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_wrong_value_in_the_index_ends_in_one_sentence(value: Any, copies: tuple[Path, Path]) -> None:
    path = copies[0] / "index.json"
    data = json.loads(path.read_text())
    data["shards"] = data["shards"][:1]
    for changed in replaced(data, value):
        path.write_text(json.dumps(changed))
        ends_in_a_sentence("inspect", copies[0])


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_wrong_value_in_the_plan_ends_in_one_sentence(value: Any, copies: tuple[Path, Path]) -> None:
    path = copies[1] / "plan.json"
    for changed in replaced(json.loads(path.read_text()), value):
        path.write_text(json.dumps(changed))
        ends_in_a_sentence("evaluate", copies[1], "nowhere")
        ends_in_a_sentence("train", "nowhere", "new", "--config", path)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_preprocess_of_damaged_tables_ends_in_one_sentence(damage: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"table.{suffix}"
    path.write_bytes(DAMAGES[damage](b"path,label\na.wav,yes\nb.wav,no\n"))
    ends_in_a_sentence("preprocess", path, tmp_path / "out", "--engine", "local")
