"""Results on a terminal and in a pipe."""

from __future__ import annotations

import pytest
from support.terminals import on_terminal

from hybridspeech.cli.terminal import print_fields, print_table

SCRIPT = """
from hybridspeech.cli.terminal import print_fields, print_table

print_fields({"accuracy": "0.925 on 120 clips of new speakers (95 % interval 0.752 to 1.000, chance 0.033)"})
print_table(
    ("file", "label", "probability", "other labels"),
    [("demo/audio/yes/020ea544_nohash_0.wav", "yes", "0.998", "left 0.001, six 0.001")],
)
"""


def table() -> None:
    print_table(("label", "clips"), [("a label of several words " * 9, "1,234"), ("b", "5")])


@pytest.mark.parametrize(("columns", "has_others"), [(60, False), (80, True)])
def test_results_fit_a_terminal_and_break_between_words(columns: int, has_others: bool) -> None:
    code, lines = on_terminal(["-c", SCRIPT], columns)
    assert code == 0
    assert max(map(len, lines)) <= columns
    words = " ".join(lines).split()
    assert "demo/audio/yes/020ea544_nohash_0.wav" in words
    assert ("other" in words) is has_others
    assert ("0.001," in words) is ("0.001" in words) is has_others


def test_a_table_in_a_pipe_has_one_line_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    table()
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["label", "clips"]
    assert first.split()[-1] == "1,234"
    assert second.split() == ["b", "5"]
    assert second.rstrip().endswith("    5")  # numbers are right-aligned


def test_fields_in_a_pipe_have_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields({"run": "x " * 99, "digest": "0" * 64})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["run", "digest"]
