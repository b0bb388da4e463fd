"""Help texts: plain terms, named panels, readable on a narrow terminal."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from hybridspeech.cli import app
from hybridspeech.cli.options import PANELS

BANNED = (
    *("cells left out", "share of the truth", "times that every", "the highest one", "samples of a window"),
    *("window to window", "clips a step", "seconds that a", "the mission", "the report", "room", "at once", "voice"),
    *("heard", "anew", "mend", "go on", "by itself", "whole way", "who he is", "bear", "last word", "stranger"),
)
COMMANDS = [
    *(["demo"], ["data"], ["data", "synthesize"], ["data", "download"], ["preprocess"], ["inspect"], ["train"]),
    *(["run"], ["evaluate"], ["predict"], ["listen"], ["export"], ["doctor"], ["pack"], []),
]


def help_of(command: list[str], columns: int) -> str:
    done = CliRunner().invoke(app, [*command, "--help"], terminal_width=columns)
    assert done.exit_code == 0
    return done.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("columns", [60, 80])
def test_help_fits_the_terminal_and_breaks_between_words(command: list[str], columns: int) -> None:
    wide = set(help_of(command, 200).split())
    shown = help_of(command, columns)
    assert max(map(len, shown.splitlines())) <= columns
    joined = re.sub(r"-\n\s+", "-", shown)  # a compound may break after its hyphen
    assert {word for word in joined.split() if word not in wide} == set()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_uses_plain_terms(command: list[str]) -> None:
    text = " ".join(help_of(command, 200).lower().split())
    for term in ("common-voice", "room impulse response"):  # a name, and the term of acoustics
        text = text.replace(term, "")
    assert [term for term in BANNED if re.search(rf"\b{term}", text)] == []


@pytest.mark.parametrize("command", ["preprocess", "train", "run"])
def test_the_ten_most_used_options_come_first(command: str) -> None:
    text = help_of([command], 80)
    sections = re.findall(r"^([A-Z][A-Za-z ]+):$", text, flags=re.MULTILINE)
    assert sections == ["Arguments", *(panel for panel in PANELS if panel in sections)]
    first = text.split("\nOptions:\n")[1].split("\n\n")[0]
    assert len(re.findall(r"^  -", first, flags=re.MULTILINE)) == 10 + 1  # and --help


def test_every_option_has_a_help_text() -> None:
    def parameters(group: Any) -> list[Any]:
        commands = list(getattr(group, "commands", {}).values())
        return [*group.params, *(item for command in commands for item in parameters(command))]

    assert [item.name for item in parameters(typer.main.get_command(app)) if not item.help] == []


def test_help_names_standard_terms() -> None:
    text = " ".join(help_of(["train"], 80).split())
    for term in (
        "Number of epochs.",
        "Batch size per worker.",
        "Peak learning rate.",
        "Dropout rate.",
        "Label smoothing.",
    ):
        assert term in text


def test_help_describes_the_values_that_a_command_accepts() -> None:
    assert "waveform" not in " ".join(help_of(["run"], 80).split()).partition("--features")[2].partition("--task")[0]
    assert "FILES <path> ..." in help_of(["predict"], 80)


def test_completion_offers_options() -> None:
    environment = {
        "_HYBRIDSPEECH_COMPLETE": "complete_bash",
        "COMP_WORDS": "hybridspeech train --back",
        "COMP_CWORD": "2",
    }
    done = CliRunner().invoke(app, [], prog_name="hybridspeech", env=environment)
    assert "--backend" in done.stdout.split()
