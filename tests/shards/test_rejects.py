"""Rejects: limit and file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from hybridspeech.errors import ConfigError, TooManyRejectsError
from hybridspeech.shards.rejects import Reject, Rejects, check_max_rejects


def reject(number: int) -> Reject:
    return Reject(clip_id=f"yes/{number}", split="training", reason="empty", detail="0 samples")


def account(path: Path, max_rejects: float) -> Rejects:
    return Rejects(path, num_clips=40, max_rejects=max_rejects, advice="run it again")


@pytest.mark.parametrize(("max_rejects", "allowed"), [(0, 0), (0.05, 2), (0.0749, 2), (1, 1), (3, 3), (math.inf, 40)])
def test_more_rejects_than_the_limit_are_an_error(max_rejects, allowed, tmp_path):
    rejects = account(tmp_path / "rejects.jsonl", max_rejects)
    for number in range(allowed):
        rejects.add([reject(number), reject(number)])  # a clip that is rejected twice counts once
        rejects.check()
    assert len(rejects) == allowed
    rejects.add([reject(allowed)])
    if allowed < 40:
        with pytest.raises(
            TooManyRejectsError, match=rf"{allowed + 1} of 40 clips could not be used .*the first: yes/0: empty"
        ):
            rejects.check()


def test_rejects_are_written_by_clip_id_also_above_the_limit(tmp_path):
    path = tmp_path / "rejects.jsonl"
    rejects = account(path, 1)
    rejects.add([reject(2), reject(1)])
    with pytest.raises(TooManyRejectsError, match=f"all are in {path}; repair or remove the files, then run it again"):
        rejects.check()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["clip_id"] for line in lines] == ["yes/1", "yes/2"]
    assert lines[0] == {"clip_id": "yes/1", "split": "training", "reason": "empty", "detail": "0 samples"}


@pytest.mark.parametrize("max_rejects", [-1, -0.1, math.nan])
def test_a_limit_that_is_neither_count_nor_fraction_is_refused(max_rejects):
    with pytest.raises(ConfigError, match=r"max_rejects is .*; expected a count, or a fraction below 1"):
        check_max_rejects(max_rejects)
