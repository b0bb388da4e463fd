"""The runner: fresh processes that alternate, failures as results, and no process that remains."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks import registry, runner
from benchmarks.__main__ import app
from benchmarks.inputs import Inputs
from benchmarks.records import CaseResult, Job, Outcome, Results, Run
from benchmarks.spec import Case, Peer, Size
from hybridspeech.errors import ConfigError
from hybridspeech.processes.environment import python_path
from hybridspeech.processes.supervision import is_alive

ENVIRONMENT = {**os.environ, "PYTHONPATH": python_path()}


def run(tmp_path: Path, target: str, timeout_s: float = 60.0, **settings: Any) -> Run:
    job = Job(target=f"support.benchmark_jobs:{target}", source=str(tmp_path), settings=settings)
    return runner.run_apart(job, tmp_path, ENVIRONMENT, timeout_s)


def run_case(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, target: str, peers: Mapping[str, Peer], repeats: int = 1
) -> CaseResult:
    size = Size(4, repeats=repeats, timeout_s=60)
    case = Case(
        title="", about="", target=f"support.benchmark_jobs:{target}", unit="x/s", sizes={"tiny": size}, peers=peers
    )
    monkeypatch.setitem(registry.CASES, "made-up", case)  # type: ignore[arg-type]
    (tmp_path / "clips-4").mkdir()
    return runner.run_case("made-up", list(peers), "tiny", Inputs(tmp_path))


def test_peers_alternate_in_fresh_processes_and_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    log = tmp_path / "log"
    peers = {name: Peer({"log": str(log), "name": name}) for name in ("a", "b")}
    result = run_case(monkeypatch, tmp_path, "note", peers, repeats=2)
    names, pids, folders = zip(*(line.split() for line in log.read_text().splitlines()), strict=True)
    assert names == ("a", "b", "a", "b")
    assert len(set(pids)) == len(set(folders)) == 4
    assert not any(Path(folder).exists() for folder in folders)
    assert [len(peer.runs) for peer in result.peers] == [2, 2]


def test_a_peer_whose_package_is_not_installed_is_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    peers = {"a": Peer({"digest": "1"}), "b": Peer({"digest": "1"}, needs=("no_such_package",))}
    first, second = run_case(monkeypatch, tmp_path, "digest", peers).peers
    assert first.counts
    assert second.skipped == "no_such_package not installed"


def test_an_interrupted_case_keeps_its_finished_repeats(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    outcomes = iter([Run(outcome=Outcome(value=1.0))])

    def interrupted(*arguments: object) -> Run:
        for made in outcomes:
            return made
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "run_apart", interrupted)
    first, second = run_case(monkeypatch, tmp_path, "note", {"a": Peer(), "b": Peer()}).peers
    assert (first.values, second.skipped) == ([1.0], "interrupted")


def test_a_peer_with_another_digest_is_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    peers = {name: Peer({"digest": name[0]}) for name in ("x1", "x2", "y")}
    result = run_case(monkeypatch, tmp_path, "digest", peers)
    assert [peer.problem for peer in result.peers] == ["", "", "digest y; the first peer's is x"]


def test_an_error_is_reported_with_its_last_line(tmp_path: Path) -> None:
    assert run(tmp_path, "fail").outcome.problem == "exit code 1: ValueError: the answer is 42"


@pytest.mark.slow
def test_a_repeat_that_exceeds_its_time_limit_is_ended_with_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    result = run(tmp_path, "hang", timeout_s=5.0, pid_file=str(pid_file))
    assert result.outcome.problem.startswith("not finished after 5 s")
    assert not is_alive(int(pid_file.read_text()))


def test_peak_memory_is_measured(tmp_path: Path) -> None:
    result = run(tmp_path, "take_memory")
    assert result.outcome.value == 3e8
    assert 300 < result.peak_mb < 900


@pytest.mark.slow
def test_a_run_is_saved_and_read_back(tmp_path: Path) -> None:
    out = tmp_path / "new" / "run.json"
    results = runner.run(["stft-kernel/scipy"], runner.RunSettings(size="tiny", repeats=2, out=out))
    assert Results.load(out) == results
    (case,) = results.cases
    assert case.peer("scipy") is not None
    assert case.peers[0].runs[0].outcome.facts["error_db"] < 0.05


def test_real_clips_are_copied_up_to_the_number(tmp_path: Path, tones: Path) -> None:
    clips = Inputs(tmp_path, tones).get("clips", 10)
    assert len(list(clips.glob("*/*.wav"))) == 10


def test_the_exit_code_says_that_a_peer_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    size = Size(16, repeats=1, timeout_s=60)
    case = Case(title="", about="", target="jobs:fail", unit="x/s", sizes={"tiny": size}, peers={"a": Peer()})
    monkeypatch.setitem(registry.CASES, "made-up", case)  # type: ignore[arg-type]
    done = CliRunner().invoke(app, ["run", "-k", "made-up", "--size", "tiny", "--out", str(tmp_path / "run.json")])
    assert done.exit_code == 1
    assert Results.load(tmp_path / "run.json").cases[0].peers[0].problem


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="size 'huge' is unknown; choose one of tiny, small, full"):
        runner.run(["stft-kernel"], runner.RunSettings(size="huge"))
