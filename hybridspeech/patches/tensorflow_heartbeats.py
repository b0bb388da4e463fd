"""Sets how long TensorFlow waits for the heartbeats of another rank.

Written against: tensorflow 2.21.0.

Reason: MultiWorkerMirroredStrategy configures the coordination service with a heartbeat time-out of about 10 s and has no
argument for it. On a busy machine, or while a process is stopped for a moment, the other ranks then end with
DeadlineExceededError or UnavailableError, although the run would continue.

Without it: a training on a busy machine ends at random. It can go when: the strategy takes a heartbeat time-out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def set_heartbeat_timeout(cluster: Mapping[str, Sequence[str]], timeout_s: float) -> None:
    """Configure the coordination service of this process, before the strategy is made, which then does not configure it.

    Parameters
    ----------
    cluster : addresses of the ranks by job ("chief", "worker"), as in TF_CONFIG
    """
    from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
    from tensorflow.python.distribute import multi_worker_util
    from tensorflow.python.eager import context
    from tensorflow.python.training.server_lib import ClusterSpec

    jobs = [job for job in ("chief", "worker") if cluster.get(job)]
    timeout_ms = round(1000 * timeout_s)
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=multi_worker_util.coordination_leader(ClusterSpec(dict(cluster))),
        heartbeat_timeout_in_ms=timeout_ms,
        shutdown_barrier_timeout_in_ms=timeout_ms,
        coordinated_jobs=[
            coordination_config_pb2.CoordinatedJob(name=job, num_tasks=len(cluster[job])) for job in jobs
        ],
    )
