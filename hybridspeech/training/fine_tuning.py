"""Starts a training from the weights of a finished run.

The driver copies them into the new run directory, which every rank reads, on any host. So all ranks start from the same
weights, and a restart or a resume does not need the finished run. A checkpoint takes precedence. Knows nothing of clusters.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridspeech.errors import ConfigError, RunError
from hybridspeech.models.build import build_model
from hybridspeech.models.config import ModelConfig
from hybridspeech.shards.checksums import checksum_of, is_intact
from hybridspeech.storage.copies import fetched
from hybridspeech.storage.locations import normalized
from hybridspeech.training.initial_weights import InitialWeights
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.run_directory import PLAN_NAME, RunDirectory
from hybridspeech.training.stored_run import stored_plan
from hybridspeech.training.trained_model import read_weights

if TYPE_CHECKING:
    import tf_keras


def find_initial_weights(
    init_from: str | Path | None, run: str | Path, *, resume: bool, model: ModelConfig | None
) -> InitialWeights | None:
    """Return the weights that a training starts from; None if it starts from random ones.

    Parameters
    ----------
    init_from : path or URL of a finished run
    run : the new run. With `resume`, its plan decides, and `init_from` is not read
    model : network that the caller requests; a custom network has to be named

    Raises
    ------
    ConfigError, RunError: the finished run can't be used, or is the new run; or `run` was started from other weights.
    """
    if resume:
        return _of_resumed_run(init_from, run)
    if init_from is None:
        return None
    if normalized(init_from) == normalized(run):
        raise ConfigError(f"{run}: is the run to start from and the new run too; choose another new run")
    return read_initial_weights(init_from, model.name if model else None)


def read_initial_weights(run: str | Path, model: str | None = None) -> InitialWeights:
    """Return the record of the weights of a finished run, at a path or URL.

    Parameters
    ----------
    model : network of the run, as `RunDirectory.require_finished` takes it

    Raises
    ------
    RunError: the run is not finished, or is damaged. ConfigError: it has another network than `model`.
    """
    location = normalized(run)
    with _finished_run(location) as directory:
        plan = directory.require_finished(model)
        checksum = checksum_of(directory.weights_path.read_bytes())
    return InitialWeights(
        run=location,
        digest=plan.digest,
        labels=tuple(plan.labels),
        features=plan.features,
        model=plan.model,
        checksum=checksum,
    )


def copy_initial_weights(start: InitialWeights, directory: RunDirectory) -> None:
    """Copy the weights into a new run; the copy appears whole.

    Raises
    ------
    RunError: they have changed since `read_initial_weights`.
    """
    target = directory.initial_weights_path
    target.parent.mkdir(exist_ok=True)
    draft = target.with_name(f".{target.name}.tmp")
    with _finished_run(start.run) as finished:
        shutil.copyfile(finished.weights_path, draft)
    if not is_intact(draft, start.checksum):
        raise RunError(f"{start.run}: its weights have changed since this training was planned; start it again")
    draft.replace(target)


def load_initial_weights(model: tf_keras.Model, plan: TrainPlan, directory: RunDirectory) -> None:
    """Set the weights of a new network to the initial ones; every rank calls it, in the scope of its strategy.

    If the labels differ, the weights whose shape depends on the number of labels keep their random values: the output
    layer. Everything else is taken over, moving averages of BatchNorm included.

    Raises
    ------
    RunError: the copy of the weights is missing or damaged, or does not fit the network.
    """
    start, path = plan.init_from, directory.initial_weights_path
    assert start is not None
    if not path.is_file() or not is_intact(path, start.checksum):
        raise RunError(
            f"{path}: the copy of the weights of {start.run} is missing or damaged; start again with --overwrite"
        )
    config = replace(start.model, name=plan.model.name)
    source = read_weights(build_model(config), path)
    keeps = start.keeps_head(plan.labels)
    head = set() if keeps else _head(model, source, plan.model)
    shapes = zip(_shapes(model), _shapes(source), strict=False)
    fits = len(model.weights) == len(source.weights)
    if not fits or any(ours != theirs for i, (ours, theirs) in enumerate(shapes) if i not in head):
        raise RunError(f"{path}: the weights of {start.run} do not fit network {plan.model.name!r}; train without them")
    for i, (variable, value) in enumerate(zip(model.weights, source.get_weights(), strict=True)):
        if i not in head:
            variable.assign(value)


def _head(model: tf_keras.Model, source: tf_keras.Model, config: ModelConfig) -> set[int]:
    """Return the places of those weights whose shape depends on the number of labels."""
    other: Any = source
    if source.output_shape == model.output_shape:
        other = build_model(replace(config, num_labels=config.num_labels + 1))
    return {i for i, (ours, theirs) in enumerate(zip(_shapes(model), _shapes(other), strict=False)) if ours != theirs}


def _shapes(model: tf_keras.Model) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in model.weights]


def _of_resumed_run(init_from: str | Path | None, run: str | Path) -> InitialWeights | None:
    plan = stored_plan(run)
    if plan is None:
        return None
    before = plan.init_from
    if init_from is None or (before and before.run == normalized(init_from)):
        return before
    raise RunError(
        f"{run}: was started {f'from the weights of {before.run}' if before else 'from random weights'}; resume it "
        "without --init-from, or start again with --overwrite"
    )


@contextlib.contextmanager
def _finished_run(location: str) -> Iterator[RunDirectory]:
    """Give a finished run as a local folder; errors name its location."""
    with fetched(location, PLAN_NAME, "model/") as folder:
        try:
            yield RunDirectory(folder)
        except (RunError, ConfigError) as error:
            raise type(error)(str(error).replace(str(folder), location)) from error
