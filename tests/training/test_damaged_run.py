"""Damaged files of a run directory: content of the right type, or an error of one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridspeech.config import ClusterConfig, FeatureConfig
from hybridspeech.errors import ConfigError, RunError
from hybridspeech.models.config import ModelConfig
from hybridspeech.records import to_json
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.recipes import COMPACT
from hybridspeech.training.run_directory import RunDirectory

FEATURES = FeatureConfig(kind="logmel")
PLAN = TrainPlan(
    shards="/shards",
    run="/run",
    digest="ab",
    labels=("no", "yes"),
    features=FEATURES,
    stored=FEATURES,
    model=ModelConfig(
        name="dscnn", input_shape=FEATURES.shape, num_labels=2, dropout=0.2, width=1.0, standardize="none", causal=False
    ),
    fit=COMPACT,
    cluster=ClusterConfig(conf={"spark.x": "1"}),
    label_weights=(1.0, 1.0),
    versions={"python": "3.11"},
)
ROW = {"epoch": 1, "loss": 0.5, "accuracy": 0.9, "examples_per_s": 100.0, "seconds": 3.0}
STATUS = {"state": "running", "phase": "step", "step": 3, "pid": 12, "host": "a", "at": 1.5, "rank": 0, "waits": None}
FEED = {"state": "finished", "done": 3, "total": 4, "splits": {"training": 3}, "steps": 1, "num_rejects": 1}

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def damaged(draw: st.DrawFn, content: Any) -> bytes:
    """Return the JSON text of `content` with one value replaced, or with bytes replaced, removed or added."""
    if draw(st.booleans()):
        content = json.loads(json.dumps(content))
        place, at = content, None
        for _ in range(draw(st.integers(1, 4))):
            inner = place if at is None else place[at]
            if not isinstance(inner, (dict, list)) or not inner:
                break
            place, at = inner, draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        if at is None or draw(st.integers(0, 9)) == 0:
            content = draw(ANY_JSON)
        elif isinstance(place, dict) and draw(st.integers(0, 4)) == 0:
            del place[at]
        else:
            place[at] = draw(ANY_JSON)
        return json.dumps(content).encode()
    text = json.dumps(content).encode()
    first = draw(st.integers(0, len(text)))
    last = draw(st.integers(first, len(text)))
    return text[:first] + draw(st.binary(max_size=8) | st.sampled_from([b"[" * 100_000, b"9" * 5_000])) + text[last:]


CASES: dict[str, tuple[Any, str, Callable[[RunDirectory], object], type]] = {
    "plan": (to_json(PLAN), "plan.json", lambda run: run.read_plan(), TrainPlan),
    "metrics": (ROW, "metrics.jsonl", lambda run: run.read_metrics(), list),
    "status": (STATUS, "workers/rank-000.json", lambda run: run.status.read(0), dict),
    "feed": (FEED, "workers/feed.json", lambda run: run.status.read_feed(), dict),
    "feeder": ({"round": 2}, "workers/feeder-000.json", lambda run: run.status.read_feeder_round(0), int),
    "stop order": (17, "workers/stop-at", lambda run: run.status.stop_order() or 0, int),
}


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_read_or_is_one_sentence(case: str, tmp_path: Path, data: st.DataObject) -> None:
    content, name, read, kind = CASES[case]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data.draw(damaged(content)) + b"\n")
    try:
        assert isinstance(read(RunDirectory(tmp_path)), kind)
    except RunError as error:
        assert str(error).startswith(f"{path}: is damaged (")
        assert "\n" not in str(error)
        assert len(str(error)) < 600


@pytest.mark.parametrize("case", CASES)
def test_an_undamaged_file_is_read(case: str, tmp_path: Path) -> None:
    content, name, read, kind = CASES[case]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content) + "\n")
    assert isinstance(read(RunDirectory(tmp_path)), kind)


def finished(folder: Path, plan: TrainPlan) -> RunDirectory:
    run = RunDirectory(folder)
    run.create(plan)
    run.model_dir.mkdir()
    run.weights_path.touch()
    return run


def test_a_plan_of_version_0_1_loads(tmp_path: Path) -> None:
    content = to_json(PLAN)
    del content["model"]["standardize"]
    content["fit"] |= {"learning_rate_batch": None, "early_stopping": None, "checkpoint_steps": None}
    run = finished(tmp_path, PLAN)
    run.plan_path.write_text(json.dumps(content))
    plan = run.require_finished()
    assert (plan.labels, plan.fit.epochs, plan.fit.early_stopping) == (("no", "yes"), 60, None)
    assert plan.model.standardize == "none"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ("no",)}, r"plan.json: is damaged \(input shape and labels are"),
        ({"model": replace(PLAN.model, input_shape=(10**6, 10**6))}, "is damaged"),
        ({"model": replace(PLAN.model, num_labels=10**9)}, "is damaged"),
    ],
)
def test_sizes_that_do_not_fit_together_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=message):
        finished(tmp_path, replace(PLAN, **changes)).require_finished()


def test_a_missing_folder_is_reported_as_missing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such folder"):
        RunDirectory(tmp_path / "nowhere").require_finished()
    with pytest.raises(RunError, match=r"no plan.json in this folder"):
        RunDirectory(tmp_path).require_finished()


def test_a_custom_network_is_not_taken_from_the_plan(tmp_path: Path) -> None:
    run = finished(tmp_path, replace(PLAN, model=replace(PLAN.model, name="evil_module:build")))
    with pytest.raises(
        ConfigError, match=r"custom network 'evil_module:build', which is code; .* --model evil_module:build"
    ):
        run.require_finished()
    assert run.require_finished("mine:build").model.name == "mine:build"
    with pytest.raises(ConfigError, match="model is 'cnn', but"):
        run.require_finished("cnn")


def test_another_network_than_that_of_the_run_is_refused(tmp_path: Path) -> None:
    run = finished(tmp_path, PLAN)
    assert run.require_finished("dscnn") == run.require_finished() == PLAN
    with pytest.raises(ConfigError, match=r"model is 'mine:build', but .* was trained with 'dscnn'"):
        run.require_finished("mine:build")


def test_a_report_of_a_worker_with_wrong_types_is_refused() -> None:
    from hybridspeech.records import from_json

    with pytest.raises(ConfigError, match="history is 3; expected"):
        from_json(WorkerReport, {"rank": 0, "history": 3})
    with pytest.raises(ConfigError, match="lacks the field 'rank'"):
        from_json(WorkerReport, {})
