"""The trained network of a finished run. Knows nothing of data and clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridspeech.errors import RunError
from hybridspeech.models.build import build_model
from hybridspeech.training.run_directory import RunDirectory

if TYPE_CHECKING:
    import tf_keras


def load_model(run: RunDirectory) -> tf_keras.Model:
    """Return the trained network of a finished run.

    Raises
    ------
    RunError: there is no finished run, or its weights do not fit its plan.
    """
    plan = run.require_finished()
    model = build_model(plan.model)
    try:
        model.load_weights(run.weights_path)
    except (OSError, ValueError) as error:
        raise RunError(f"{run.weights_path}: the weights do not fit plan.json ({error}); train again") from error
    return model
