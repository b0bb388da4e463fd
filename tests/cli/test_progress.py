"""Progress on a terminal and in a log."""

from __future__ import annotations

import pytest
from support.terminals import on_terminal

from hybridspeech.cli.progress import ProgressReporter
from hybridspeech.config import Progress

SCRIPT = """
import time

from hybridspeech.cli.progress import ProgressReporter
from hybridspeech.config import Progress

with ProgressReporter() as report:
    report(Progress(stage="plan", message="dscnn on 12,345 clips of 12 labels; 2 workers x batch size 32 = global 64"))
    for done in (0, 500, 1000):
        report(Progress(stage="epoch 3/20", done=done, total=1000, unit="examples", detail="best 0.912"))
        time.sleep(0.2)
    report(Progress(stage="epoch 3/20", message="epoch 3/20: loss 0.1234, accuracy 0.912, val_loss 0.2222, val_accuracy 0.911"))
    for done in (0, 50):
        report(Progress(stage="shards", done=done, total=100, unit="clips"))
"""


def count(report: ProgressReporter, stage: str, *done: int) -> None:
    for each in done:
        report(Progress(stage=stage, done=each, total=10, unit="clips"))


@pytest.mark.parametrize("columns", [60, 80])
def test_bars_and_messages_fit_a_terminal(columns: int) -> None:
    code, lines = on_terminal(["-c", SCRIPT], columns)
    assert code == 0
    assert max(map(len, lines)) <= columns
    bar = [line for line in lines if line.startswith("epoch 3/20 ")][-1]
    assert "1,000/1,000" in bar
    assert "examples/s" in bar
    assert "best 0.912" in bar
    assert "validation" not in "".join(lines)
    words = set(" ".join(lines).split())
    assert {"dscnn", "12,345", "global", "val_loss", "val_accuracy"} <= words  # no word is broken


def test_a_finished_stage_leaves_one_line_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressReporter() as report:
        count(report, "shards", 0, 5, 10)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("shards: 10 clips in ")


def test_the_message_at_the_end_of_a_stage_replaces_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressReporter() as report:
        count(report, "epoch 1/2", 0, 10)
        report(Progress(stage="epoch 1/2", message="epoch 1/2: loss 0.5"))
    assert capsys.readouterr().err == "epoch 1/2: loss 0.5\n"


def test_an_unfinished_stage_leaves_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressReporter() as report:
        count(report, "shards", 0, 5)
    assert capsys.readouterr().err == ""


def test_a_stage_that_was_finished_before_leaves_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressReporter() as report:
        count(report, "shards", 10, 10)
    assert capsys.readouterr().err == ""


def test_stages_may_overlap(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressReporter() as report:
        count(report, "features", 0, 4)
        count(report, "epoch 1/1", 0, 5)
        count(report, "features", 10)
        count(report, "epoch 1/1", 10)
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == ["features", "epoch 1/1"]
