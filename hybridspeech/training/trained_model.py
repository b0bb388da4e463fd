"""The trained network of a finished run. Knows nothing of data and clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridspeech.errors import RunError
from hybridspeech.models.build import build_model
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.temperature import read_calibration, scale_model

if TYPE_CHECKING:
    import tf_keras


def load_model(run: RunDirectory, *, calibrated: bool = True) -> tf_keras.Model:
    """Load the trained network of a finished run. Reads numbers only: no code comes out of a file.

    Parameters
    ----------
    calibrated : apply the temperature of the run to the probabilities

    Raises
    ------
    RunError: there is no finished run, its weights do not fit its plan, or its temperature can't be read.
    """
    plan = run.require_finished()
    temperature = read_calibration(run.calibration_path).temperature if calibrated else 1.0
    model = build_model(plan.model)
    try:
        model.load_weights(run.weights_path)
    except (OSError, ValueError) as error:
        raise RunError(f"{run.weights_path}: the weights do not fit plan.json ({error}); train again") from error
    return scale_model(model, temperature)
