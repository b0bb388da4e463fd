"""The reference backend: one worker, in this process. The other backends must return the same numbers."""

from __future__ import annotations

import os
from typing import ClassVar

from hybridspeech.backends.base import Worker, cause_of, clear_status, collect, execute
from hybridspeech.errors import ConfigError, WorkerError
from hybridspeech.training.plan import TrainPlan, WorkerReport


class LocalBackend:
    """Calls the worker and does nothing else: no processes, no supervision; Ctrl-C passes through."""

    name: ClassVar[str] = "local"

    def run(self, plan: TrainPlan, worker: Worker) -> list[WorkerReport]:
        """See `TrainingBackend.run`.

        Raises
        ------
        ConfigError: more than one worker is requested. WorkerError: the worker failed.
        """
        if plan.cluster.num_workers != 1:
            raise ConfigError(
                f"backend 'local' trains in one process, and num_workers is {plan.cluster.num_workers}; "
                "use --backend tfos or --backend ray, or --num-workers 1"
            )
        clear_status(plan)
        tf_config = os.environ.pop("TF_CONFIG", None)
        try:
            execute(worker, plan, rank=0)
        except (Exception, SystemExit) as error:
            raise WorkerError(0, cause_of(error)) from error
        finally:
            if tf_config is not None:
                os.environ["TF_CONFIG"] = tf_config
        return collect(plan)
