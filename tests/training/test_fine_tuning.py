"""Trainings that start from the weights of a finished run: `train --init-from`."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.small_trainings import FIT, FIT_OF_TWO_WORKERS, SMALL, TWO_WORKERS, curve, train
from support.trained_runs import random_run

import hybridspeech as hs
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.commands.train import TrainResult
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError, RunError
from hybridspeech.evaluation.reports.model_card import ModelCard, write_model_card
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.models.build import build_model
from hybridspeech.models.config import ModelConfig
from hybridspeech.records import to_json
from hybridspeech.storage.copies import upload_files
from hybridspeech.storage.objects import list_files
from hybridspeech.training.config import FitConfig
from hybridspeech.training.fine_tuning import (
    copy_initial_weights,
    find_initial_weights,
    load_initial_weights,
    read_initial_weights,
)
from hybridspeech.training.initial_weights import InitialWeights, check_fits
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.recipes import COMPACT, REPORT, DataSummary, resolve
from hybridspeech.training.run_directory import RunDirectory

ONE_EPOCH = replace(FIT, epochs=1)
FEW = FeatureConfig(n_fft=512, hop_length=512)


@pytest.fixture(scope="module")
def other_labels(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of two of the three tones."""
    out = tmp_path_factory.mktemp("other") / "shards"
    preprocess(tones, out, features=SMALL, engine="local", manifest=ManifestConfig(task="words:high,low"))
    return out


def start_of(run: str | Path, model: str | None = None) -> InitialWeights:
    return read_initial_weights(run, model)


# What is taken over


@pytest.mark.slow
@pytest.mark.parametrize(
    ("labels", "num_new"), [(("a", "b", "c"), 0), (("a", "b", "d"), 2), (("a", "b"), 2), (("c", "b", "a", "x"), 2)]
)
def test_the_output_layer_is_new_if_the_labels_differ(tmp_path: Path, labels: tuple[str, ...], num_new: int) -> None:
    start = start_of(random_run(tmp_path / "old", FEW, ("a", "b", "c")))
    new = RunDirectory(tmp_path / "new")
    new.path.mkdir()
    copy_initial_weights(start, new)
    model = build_model(replace(start.model, num_labels=len(labels)))
    before = model.get_weights()
    old = build_model(start.model)
    old.load_weights(tmp_path / "old/model/model.weights.h5")
    load_initial_weights(
        model, TrainPlan(shards="", run="", labels=labels, model=_of(model, start), init_from=start), new
    )
    taken = [_same(after, theirs) for after, theirs in zip(model.get_weights(), old.get_weights(), strict=True)]
    new.initial_weights_path.write_bytes(b"something else")
    with pytest.raises(RunError, match=r"the copy of the weights of .* is missing or damaged"):
        load_initial_weights(model, TrainPlan(shards="", run="", init_from=start), new)
    kept = [_same(after, ours) for after, ours in zip(model.get_weights(), before, strict=True)]
    num = len(taken)
    assert taken[: num - num_new] == [True] * (num - num_new)
    assert kept[num - num_new :] == [True] * num_new


def _of(model: object, start: InitialWeights) -> ModelConfig:
    return replace(start.model, num_labels=model.output_shape[-1])  # type: ignore[attr-defined]


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool(np.array_equal(one, other))


@pytest.fixture(scope="module")
def fine_tuned(
    small_training: TrainResult, other_labels: Path, tmp_path_factory: pytest.TempPathFactory
) -> TrainResult:
    """One epoch from the weights of a run that is gone afterwards. Read only."""
    folder = tmp_path_factory.mktemp("fine-tuned")
    first = shutil.copytree(small_training.run_dir, folder / "first")
    result = train(other_labels, folder / "run", init_from=first, fit=ONE_EPOCH, backend="local")
    shutil.rmtree(first)
    return result


@pytest.mark.slow
def test_a_fine_tuning_begins_with_what_was_learned(fine_tuned: TrainResult, small_training: TrainResult) -> None:
    assert fine_tuned.history[0]["loss"] < 0.6  # of two labels, from random weights: 0.69 and more
    plan = RunDirectory(fine_tuned.run_dir).require_finished()
    assert plan.init_from is not None
    assert replace(plan.init_from, run="") == replace(start_of(small_training.run_dir), run="")


@pytest.mark.slow
def test_a_resume_does_not_need_the_first_run(fine_tuned: TrainResult, other_labels: Path, tmp_path: Path) -> None:
    run = shutil.copytree(fine_tuned.run_dir, tmp_path / "run")
    with pytest.raises(RunError, match=r"was started from the weights of .*first; resume it without --init-from"):
        train(other_labels, run, init_from=tmp_path / "else", fit=FIT, backend="local", resume=True)
    longer = train(other_labels, run, fit=replace(FIT, epochs=2), backend="local", resume=True)
    assert curve(longer)[:4] == curve(fine_tuned)
    assert longer.history[1]["loss"] < longer.history[0]["loss"]
    assert RunDirectory(run).read_plan().init_from == RunDirectory(fine_tuned.run_dir).read_plan().init_from


@pytest.mark.slow
def test_without_a_checkpoint_a_resume_starts_from_the_copied_weights(
    fine_tuned: TrainResult, other_labels: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(fine_tuned.run_dir, tmp_path / "run")
    for folder in ("checkpoints", "model"):
        shutil.rmtree(run / folder)
    (run / "metrics.jsonl").unlink()
    again = train(other_labels, run, fit=ONE_EPOCH, backend="local", resume=True)
    assert curve(again) == pytest.approx(curve(fine_tuned), abs=1e-6)


@pytest.mark.slow
def test_run_and_first_run_may_be_on_a_store(
    fine_tuned: TrainResult, small_training: TrainResult, other_labels: Path, s3_url: str
) -> None:
    folder = Path(small_training.run_dir)
    upload_files(folder, [stat.name for stat in list_files(str(folder))], f"{s3_url}/first")
    seen: list[hs.Progress] = []
    there = train(
        *(other_labels, f"{s3_url}/run"),
        init_from=f"{s3_url}/first",
        fit=ONE_EPOCH,
        backend="local",
        on_progress=seen.append,
    )
    assert curve(there) == pytest.approx(curve(fine_tuned), abs=1e-6)
    assert "initial/model.weights.h5" in [stat.name for stat in list_files(f"{s3_url}/run")]
    assert any("other labels (3 labels, 2 in common)" in progress.message for progress in seen)


@pytest.mark.cluster
def test_both_cluster_backends_start_from_the_same_weights_without_a_shared_folder(
    small_training: TrainResult, small_shards: Path, s3_url: str, tmp_path: Path
) -> None:
    fit = replace(FIT_OF_TWO_WORKERS, epochs=1)
    tfos, ray = (
        train(
            *(small_shards, f"{s3_url}/{backend}"),
            init_from=small_training.run_dir,
            fit=fit,
            cluster=TWO_WORKERS,
            backend=backend,
        )
        for backend in ("tfos", "ray")
    )
    assert curve(tfos) == pytest.approx(curve(ray), abs=1e-5)
    assert tfos.history[0]["loss"] < small_training.history[0]["loss"] / 2


# Settings


def test_the_recipe_of_a_fine_tuning_has_a_lower_learning_rate_and_fewer_epochs() -> None:
    data = DataSummary(features=FeatureConfig(kind="waveform"))
    fit = resolve(data, is_fine_tuning=True).fit
    assert fit.learning_rate == pytest.approx(COMPACT.learning_rate / 3)
    assert fit.epochs < COMPACT.epochs
    assert fit.batch_size < COMPACT.batch_size
    assert resolve(data, name="report", is_fine_tuning=True).fit == REPORT
    assert resolve(data, fit=FitConfig(learning_rate=0.5), is_fine_tuning=True).fit.learning_rate == 0.5


START = InitialWeights(
    run="first",
    digest="",
    labels=("a", "b"),
    features=FeatureConfig(kind="logmel", n_mels=40),
    model=ModelConfig(name="dscnn", width=1.5, standardize="none", dropout=0.2),
    checksum="",
)


def test_network_and_features_are_those_of_the_first_run_by_default() -> None:
    assert START.model_for(None) == ModelConfig(name="dscnn", width=1.5, standardize="none")
    waveform, logmel = FeatureConfig(kind="waveform"), FeatureConfig(kind="logmel")
    assert START.features_for(waveform, None) == START.features_for(waveform, logmel) == START.features
    assert START.features_for(logmel, None) is None


def test_other_features_and_networks_are_named() -> None:
    check_fits(START, replace(START.features, kernel="reference"), replace(START.model, dropout=0.5))
    with pytest.raises(
        ConfigError, match=r"first: .* this training has width 1.0 instead of 1.5, n_mels 64 instead of 40;"
    ):
        check_fits(START, FeatureConfig(kind="logmel"), replace(START.model, width=1.0))


def test_a_causal_run_is_fine_tuned_as_a_causal_one() -> None:
    features = FeatureConfig(kind="logmel", top_db=None, causal=True)
    start = replace(START, features=features, model=replace(START.model, causal=True))
    sound = FeatureConfig(kind="waveform")
    recipe = resolve(DataSummary(features=sound), features=start.features_for(sound, None), model=start.model_for(None))
    assert (recipe.features, recipe.model.causal) == (features, True)
    check_fits(start, recipe.features, recipe.model)
    with pytest.raises(
        ConfigError, match=r"this training has causal False instead of True, top_db 80\.0 instead of None"
    ):
        check_fits(start, FeatureConfig(kind="logmel"), replace(recipe.model, causal=False))


def test_a_custom_network_must_be_named_again() -> None:
    start = replace(START, model=replace(START.model, name="module:function"))
    with pytest.raises(ConfigError, match="name it again to import it: --model module:function"):
        start.model_for(ModelConfig())
    assert start.model_for(ModelConfig(name="other:function")).name == "other:function"


def test_a_run_that_can_not_be_used_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such folder; expected a run directory"):
        find_initial_weights(tmp_path / "none", tmp_path / "new", resume=False, model=None)
    with pytest.raises(ConfigError, match="is the run to start from and the new run too"):
        find_initial_weights(tmp_path / "none", tmp_path / "none", resume=False, model=None)
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    run.create(TrainPlan(shards="", run=str(run.path)))
    with pytest.raises(RunError, match=r"run: training has not ended"):
        find_initial_weights(run.path, tmp_path / "new", resume=False, model=None)
    with pytest.raises(RunError, match="was started from random weights; resume it without --init-from"):
        find_initial_weights(tmp_path / "first", run.path, resume=True, model=None)


def test_the_model_card_names_the_first_labels(tmp_path: Path) -> None:
    plan = TrainPlan(shards="", run="", model=START.model, labels=("c", "d"), init_from=START)
    card = ModelCard(name="m", format="tflite", num_bytes=1, plan=plan, metrics={}, measured=None, data={})
    write_model_card(tmp_path / "card.md", card)
    assert "a run on 2 labels (a, b)" in (tmp_path / "card.md").read_text()
    assert to_json(plan)["init_from"]["labels"] == ["a", "b"]
