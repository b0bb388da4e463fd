"""Comparison of two runs: what counts as slower, and the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.benchmark_results import peer, results
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.compare import compare
from benchmarks.records import PeerResult
from hybridspeech.errors import ConfigError

KERNEL = "stft-kernel"


def test_medians_are_compared() -> None:
    before, after = results(KERNEL, [peer("a", 90, 100, 110)]), results(KERNEL, [peer("a", 95, 50, 200)])
    (row,) = compare(before, after).rows
    assert (row.before, row.after, row.ratio, row.regressed) == (100, 95, 0.95, False)


def test_lower_values_are_better_if_the_case_says_so() -> None:
    before = results("train-startup", [peer("a", 10.0)], better="lower")
    after = results("train-startup", [peer("a", 20.0)], better="lower")
    (row,) = compare(before, after).rows
    assert (row.ratio, row.regressed) == (0.5, True)


@pytest.mark.parametrize(
    "now", [[], [PeerResult(name="a", skipped="torch not installed")], [peer("a", 200, problem="0.3 dB off")]]
)
def test_a_peer_that_became_wrong_is_a_regression(now: list[PeerResult]) -> None:
    result = compare(results(KERNEL, [peer("a", 100)]), results(KERNEL, now))
    assert result.regressed
    assert result.rows[0].after is None
    assert result.rows[0].problem


def test_a_peer_that_was_wrong_before_is_left_out() -> None:
    before = results(KERNEL, [peer("a", 100), peer("b", 100, problem="wrong"), PeerResult(name="c", skipped="no c")])
    after = results(KERNEL, [peer("a", 100), peer("b", 1), peer("c", 1)])
    assert [row.name for row in compare(before, after).rows] == ["stft-kernel/a"]


def test_runs_of_different_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="sizes small and tiny"):
        compare(results(KERNEL, [peer("a", 1)]), results(KERNEL, [peer("a", 1)], size="tiny"))


def test_runs_without_a_common_case_are_refused() -> None:
    with pytest.raises(ConfigError, match="no measured case in common"):
        compare(results(KERNEL, [peer("a", 1)]), results("read", [peer("a", 1)]))


@pytest.mark.parametrize(("threshold", "code"), [("0.85", 0), ("0.95", 1)])
def test_the_exit_code_is_one_beyond_the_threshold(tmp_path: Path, threshold: str, code: int) -> None:
    results(KERNEL, [peer("a", 100)]).save(tmp_path / "a.json")
    results(KERNEL, [peer("a", 90)]).save(tmp_path / "b.json")
    arguments = ["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--threshold", threshold]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == code, done.output
    assert "0.90" in done.output


def test_a_file_that_is_not_a_result_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    done = CliRunner().invoke(app, ["compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")])
    assert done.exit_code == 2
