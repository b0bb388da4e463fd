"""Options from settings records, and files for `--config`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from hybridspeech.backends import BACKENDS
from hybridspeech.cli import app
from hybridspeech.cli.options import CLUSTER, MODEL, Setting, with_settings
from hybridspeech.cli.settings import SETTINGS
from hybridspeech.cli.train import ON_SOUND
from hybridspeech.config import ClusterConfig
from hybridspeech.engines import ENGINES
from hybridspeech.errors import ConfigError
from hybridspeech.feeds import FEEDS
from hybridspeech.records import to_json

NOT_OPTIONS = {
    "ModelConfig.input_shape",
    "ModelConfig.num_labels",
    "FeatureConfig.causal",
    "ManifestConfig.seed",
    "FitConfig.augment",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    sides: int = 3
    fill: Literal["none", "solid"] = None  # type: ignore[assignment] - filled in later
    width_mm: float = 1.5
    closed: bool = False
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)


OPTIONS = {
    Shape: {
        "sides": Setting("Number of sides.", MODEL),
        "fill": Setting("Fill.", MODEL, default="by sides"),
        "width_mm": Setting("Line width, in mm.", MODEL, name="width"),
        "closed": Setting("Close the shape.", CLUSTER),
        "labels": Setting("Labels.", CLUSTER, name="label"),
    }
}


def draw(*arguments: object, **settings: Any) -> tuple[Any, str]:
    """Return the record that a command receives for some arguments, and its output."""
    tool, received = typer.Typer(), []

    @tool.command()
    @with_settings(OPTIONS, **settings)
    def command(*, shape: Shape) -> None:
        received.append(shape)

    done = CliRunner().invoke(tool, [str(argument) for argument in arguments])
    if isinstance(done.exception, ConfigError):
        raise done.exception
    return (received or [None])[0], done.output


def test_a_field_becomes_an_option_with_its_type_and_default() -> None:
    assert draw()[0] == Shape()
    made, _ = draw("--sides", 5, "--fill", "solid", "--width", 2, "--closed", "--label", "a=b", "--label", "c=d=e")
    assert made == Shape(sides=5, fill="solid", width_mm=2.0, closed=True, labels={"a": "b", "c": "d=e"})


def test_a_value_of_another_type_or_choice_is_refused() -> None:
    for arguments in (("--sides", "x"), ("--fill", "dotted"), ("--no-closed",)):
        made, printed = draw(*arguments)
        assert made is None
        assert "--" in printed


def test_an_omitted_option_leaves_the_default() -> None:
    made, printed = draw("--sides", 5, omit=["sides"])
    assert made is None
    assert "No such option" in printed
    assert draw(omit=["shape.sides"])[0] == Shape()


def test_choices_can_be_restricted() -> None:
    assert "not one of 'solid'" in draw("--fill", "none", choices={"fill": ("solid",)})[1]


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "shape.toml"
    path.write_text('sides = 7\nfill = "solid"\nclosed = true\n[label]\na = "b"\n', encoding="utf-8")
    return path


def test_a_file_gives_the_settings(toml: Path) -> None:
    assert draw("--config", toml)[0] == Shape(sides=7, fill="solid", closed=True, labels={"a": "b"})


def test_the_command_line_overrides_the_file(toml: Path) -> None:
    assert draw("--sides", 4, "--config", toml)[0].sides == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("side = 7", "unknown key 'side'; did you mean 'sides'"),
        ("width_mm = 2", "unknown key 'width_mm'"),
        ("[model]\nsides = 7", "unknown key 'model'"),
        ("sides = ", "is not TOML"),
        ("config = 'x'", "unknown key 'config'"),
    ],
)
def test_an_unknown_key_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "shape.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        draw("--config", path)


def test_a_value_of_another_type_in_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shape.toml"
    path.write_text("sides = 'many'", encoding="utf-8")
    made, printed = draw("--config", path)
    assert made is None
    assert "--sides" in printed


@pytest.mark.parametrize("text", ["[]", "{", '{"a": 1}', "\xff"])
def test_other_json_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"plan\.json: is not"):
        draw("--config", path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: No such file"):
        draw("--config", tmp_path / "nowhere.toml")


@pytest.mark.parametrize("record", SETTINGS, ids=lambda record: record.__name__)
def test_every_field_of_a_record_has_an_option(record: Any) -> None:
    fields = {field.name for field in dataclasses.fields(record)}
    assert set(SETTINGS[record]) <= fields
    assert {f"{record.__name__}.{name}" for name in fields - set(SETTINGS[record])} <= NOT_OPTIONS


def options_of(command: str) -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    return {parameter.name: parameter for parameter in group.commands[command].params}


@pytest.mark.parametrize(
    ("command", "option", "names"),
    [
        ("preprocess", "engine", ENGINES.names()),
        ("train", "backend", BACKENDS.names()),
        ("run", "backend", FEEDS.names()),
    ],
)
def test_choices_are_those_of_the_registry(command: str, option: str, names: list[str]) -> None:
    group: Any = typer.main.get_command(app)
    shown = options_of(command)[option].get_help_record(typer.Context(group.commands[command]))[0]
    assert sorted(shown.split("<")[1].rstrip(">").split("|")) == sorted(names)


def test_train_and_run_share_their_training_options() -> None:
    train, run = options_of("train"), options_of("run")
    assert set(train) - set(run) == {*ON_SOUND, "rir", "negatives", "negatives_percentage"}
    shared = set(train) & set(run) - {"backend", "features", "shards"}
    assert [name for name in shared if train[name].help != run[name].help] == []


def plan_file(folder: Path) -> Path:
    plan = {
        "features": {"kind": "logmel", "n_mels": 40},
        "backend": "ray",
        "shards": "/somewhere",
        "model": {"name": "mine:build", "dropout": 0.3},
        "fit": {"epochs": 5, "seed": 3, "augment": {"time_masks": 2}},
        "cluster": to_json(ClusterConfig(num_workers=3, conf={"a": "b"})),
        "rir": {"folder": "rooms", "count": 2, "checksum": ""},
        "negatives": {"source": "street", "counts": {"_unknown_": 2}, "checksum": ""},
        "preprocessing": {"manifest": {"task": "12"}, "shards_config": {"seed": 0, "num_shards": 4}, "max_rejects": 7},
    }
    path = folder / "plan.json"
    path.write_text(json.dumps(plan), encoding="utf-8")
    return path


def received_by(command: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the settings that a command passes to its verb."""
    received: dict[str, Any] = {}

    def verb(*arguments: object, **settings: Any) -> None:
        received.update(settings)
        raise ConfigError("enough")

    monkeypatch.setattr(f"hybridspeech.commands.{command}.{command}", verb)
    CliRunner().invoke(app, [command, "a", "b", "--model", "cnn", "--config", str(path)])
    return received


def test_a_plan_repeats_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = received_by("train", plan_file(tmp_path), monkeypatch)
    assert given["backend"] == "ray"
    assert (given["rir"], given["negatives"]) == (Path("rooms"), Path("street"))
    assert given["features"].kind == "logmel"
    assert (given["fit"].epochs, given["fit"].seed, given["fit"].augment.time_masks) == (5, 3, 2)
    assert given["model"].standardize == "none"  # a plan of an earlier version does not have it
    assert (given["cluster"].num_workers, given["cluster"].conf) == (3, {"a": "b"})


def test_a_plan_repeats_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = received_by("run", plan_file(tmp_path), monkeypatch)
    assert (given["features"].kind, given["features"].n_mels) == ("logmel", 40)
    assert (given["manifest"].task, given["shards"].num_shards, given["max_rejects"]) == ("12", 4, 7)
    assert given["fit"].seed == 3


def test_a_plan_does_not_decide_which_code_is_imported(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["train", "a", "b", "--config", str(plan_file(tmp_path))])
    assert done.exit_code == 2
    assert "name it again: --model mine:build" in done.stderr
