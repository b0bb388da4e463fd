"""Sets up TensorFlow in a training worker: threads, seeds, and the distribution strategy.

Knows nothing of data and networks.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

from hybridspeech.clusters.addresses import LOOPBACK
from hybridspeech.models.build import import_tensorflow
from hybridspeech.patches.loopback_bind import keep_to_loopback
from hybridspeech.patches.tensorflow_heartbeats import set_heartbeat_timeout
from hybridspeech.processes.resources import num_cores
from hybridspeech.training.plan import TrainPlan

if TYPE_CHECKING:
    import tensorflow as tf


def configure_tensorflow(plan: TrainPlan) -> None:
    """Set threads, seeds and determinism, before any TensorFlow operation of the process.

    In a process that has used TensorFlow before (backend "local", run twice) the number of threads does not change.
    """
    import_tensorflow()
    import tensorflow as tf
    import tf_keras

    threads = plan.cluster.threads_per_worker or own_cores()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(max(2, threads))
    except RuntimeError:
        if tf.config.threading.get_intra_op_parallelism_threads() not in (0, threads):
            raise
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(plan.fit.seed)
    if plan.fit.deterministic:
        tf.config.experimental.enable_op_determinism()


def limit_threads(num_threads: int) -> None:
    """Limit the threads of TensorFlow in this process, unless it was used before."""
    import_tensorflow()
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(num_threads)
        tf.config.threading.set_inter_op_parallelism_threads(num_threads)


def own_cores() -> int:
    """Return the cores of this worker: those of the machine divided by its ranks, as TF_CONFIG has them."""
    hosts = hosts_of_ranks()
    ranks_here = max((hosts.count(host) for host in hosts), default=1)
    return max(1, num_cores() // ranks_here)


def ranks_by_job() -> dict[str, list[str]]:
    """Return the addresses of the ranks by job ("chief", "worker") from TF_CONFIG; empty without TF_CONFIG."""
    return dict(json.loads(os.environ.get("TF_CONFIG", "{}")).get("cluster", {}))


def hosts_of_ranks() -> list[str]:
    """Return the host of every rank from TF_CONFIG; empty without TF_CONFIG."""
    return [address.rsplit(":", 1)[0] for addresses in ranks_by_job().values() for address in addresses]


def make_strategy(num_workers: int, heartbeat_timeout_s: float = 60.0) -> tf.distribute.Strategy:
    """Return MultiWorkerMirroredStrategy for more than one worker, else TensorFlow's default strategy.

    TensorFlow's servers accept unauthenticated connections. If all ranks are on this machine, they listen on loopback only.

    Parameters
    ----------
    heartbeat_timeout_s : how long a rank waits for the heartbeats of another; longer than the stall time-out, so that the
        driver decides when a rank has stalled

    Raises
    ------
    OSError: the port of this rank is in use.
    """
    import tensorflow as tf

    if num_workers == 1:
        return tf.distribute.get_strategy()
    if set(hosts_of_ranks()) <= {LOOPBACK}:
        keep_to_loopback()
    set_heartbeat_timeout(ranks_by_job(), heartbeat_timeout_s)
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=tf.distribute.experimental.CommunicationImplementation.RING
    )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    except tf.errors.UnknownError as error:
        if "gRPC server" not in error.message:
            raise
        raise OSError(
            f"TensorFlow could not listen on its address in {os.environ['TF_CONFIG']}: another program uses the "
            "port since it was chosen; train again, or with --max-restarts 1"
        ) from error
