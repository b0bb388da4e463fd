"""The table of cases: every name in it exists. Loads no heavy package."""

from __future__ import annotations

import pytest

from benchmarks.registry import CASES, select
from benchmarks.spec import SIZES, Case
from benchmarks.worker import load
from hybridspeech.errors import ConfigError

TARGETS = ("transform", "pipeline", "writer", "reader")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_named_function_exists(case: Case) -> None:
    assert callable(load(case.target))
    for peer in case.peers.values():
        for key in TARGETS:
            if key in peer.settings:
                assert callable(load(peer.settings[key]))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_named_size_and_peer_exists(case: Case) -> None:
    assert tuple(case.sizes) == SIZES
    named = {*case.baselines, *(target.peer for target in case.targets), *(target.baseline for target in case.targets)}
    assert named <= set(case.peers)


def test_without_a_pattern_everything_is_selected() -> None:
    assert select([]) == {name: list(case.peers) for name, case in CASES.items()}


def test_a_pattern_selects_cases_or_peers() -> None:
    assert list(select(["train-"])) == ["train-throughput", "train-throughput-logmel", "train-startup"]
    assert select(["stage/spark-1", "kernel/scipy"]) == {"stft-kernel": ["scipy"], "stft-stage": ["spark-1"]}


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="'kernels'; the cases are stft-kernel, "):
        select(["train", "kernels"])
