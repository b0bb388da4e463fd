"""The trained network of a finished run. Knows nothing of data and clusters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hybridspeech.errors import RunError
from hybridspeech.models.build import build_model
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.temperature import read_calibration, scale_model
from hybridspeech.training.weights_file import check_weights_file

if TYPE_CHECKING:
    import tf_keras


def load_model(run: RunDirectory, plan: TrainPlan, *, calibrated: bool = True) -> tf_keras.Model:
    """Load the trained network of a finished run.

    Parameters
    ----------
    plan : as `RunDirectory.require_finished` returns it
    calibrated : apply the temperature of the run to the probabilities

    Raises
    ------
    RunError: the weights do not fit the plan, are not finite or are no plain arrays; or the temperature can not be read.
    ConfigError: as `build_model`.
    """
    temperature = read_calibration(run.calibration_path).temperature if calibrated else 1.0
    return scale_model(read_weights(build_model(plan.model), run.weights_path), temperature)


def read_weights(model: tf_keras.Model, path: Path) -> tf_keras.Model:
    """Read the weights of an uncompiled network from a file, which may come from another person; return the network.

    Raises
    ------
    RunError: the weights do not fit the network, are not finite or are no plain arrays.
    """
    check_weights_file(path, model.count_params(), len(model.weights))
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: the weights do not fit plan.json ({error}); train again") from error
    if not all(np.isfinite(values).all() for values in model.get_weights()):
        raise RunError(f"{path}: has weights that are not finite; train again")
    return model
