"""Secures and shortens the start of TensorFlowOnSpark's nodes, and feeds them.

Written against: tensorflowonspark 2.2.5.

Reason: its reservation server listens on every interface, requires no authentication and unpickles what it receives. It
polls once a second, exits the process on an error, logs keys at INFO, and imports TensorFlow (4 to 10 s) where it is not
needed. Its queues pass every record through a pipe with two copies, and have no limit. There is no fix upstream: the
project has had no release since 2022.

Without it: everyone who reaches the port runs code in the driver; a failed node ends the driver with exit code 1; a rank
that has ended keeps Spark's connection open, so that Spark does not detect its end.

It can go when: tensorflowonspark authenticates its reservation server and returns errors to its caller.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing.managers
import os
import queue
import socket
import sys
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybridspeech.patches.signed_messages import receive, send

POLL_S = 0.1
QUEUE_CHUNKS = 4
"""Capacity of a node's input queue; the original queue is unbounded and would keep what the rank can't take yet."""
NO_TIMEOUT_S = 10**9


def patch_nodes(key: bytes, address: str | None) -> None:
    """Patch the reservation server and its client in this process; on the driver and on every executor.

    It must be called before anything imports tensorflowonspark's modules. Calling it again is harmless.

    Parameters
    ----------
    key : secret of the run, which signs all messages; it travels to the executors inside Spark's task
    address : address of this host; None lets TensorFlowOnSpark find the one that faces the network
    """
    logging.getLogger("tensorflowonspark").setLevel(logging.WARNING)
    sys.modules.setdefault("tensorflowonspark.compat", types.ModuleType("tensorflowonspark.compat"))
    from tensorflowonspark import reservation, util

    if address:
        util.get_ip_address = lambda: address
    reservation.MessageSocket.send = lambda self, sock, message: send(sock, key, message)
    reservation.MessageSocket.receive = lambda self, sock: receive(sock, key)
    reservation.Server.start_listening_socket = lambda self: socket.create_server((util.get_ip_address(), 0))
    reservation.Server.await_reservations = _await_nodes
    reservation.Client.await_reservations = _await_peers


def patch_fed_nodes(key: bytes, address: str | None) -> None:
    """Patch what `patch_nodes` patches, and the manager process that owns a fed node's queues.

    Every other process reaches the queues through the manager, so a plain queue is enough there. The manager and the rank
    are forks of Spark's Python worker. They close its connections, or Spark would not notice that the worker has ended.
    """
    patch_nodes(key, address)
    from tensorflowonspark import TFManager

    TFManager.JoinableQueue = lambda: queue.Queue(QUEUE_CHUNKS)
    start = multiprocessing.managers.BaseManager.start
    TFManager.TFManager.start = lambda self: start(self, initializer=close_inherited_connections)


def _await_nodes(server: Any, context: object, status: Mapping[str, str], timeout: float) -> Any:
    """Replace Server.await_reservations, which polls once a second and exits the process on an error."""
    deadline = time.monotonic() + timeout
    while not server.reservations.done():
        if "error" in status:
            raise RuntimeError(status["error"])
        if time.monotonic() > deadline:
            raise TimeoutError(f"{server.reservations.remaining()} nodes have not registered within {timeout:g} s")
        time.sleep(POLL_S)
    return server.reservations.get()


def _await_peers(client: Any) -> Any:
    """Replace Client.await_reservations, which sleeps for a second even when all nodes have registered."""
    while not client._request("QUERY"):
        time.sleep(POLL_S)
    return client.get_reservations()


def recorded_error() -> str:
    """Return the error that TensorFlowOnSpark's background thread has left in its module global; "" without one."""
    from tensorflowonspark import TFCluster

    return str(TFCluster.tf_status.get("error", ""))


def node_rank() -> int:
    """Return the rank of the node on this executor. The executor ids that TensorFlowOnSpark gives begin with the chief."""
    from tensorflowonspark import util

    return int(util.read_executor_id())


def feed_nodes(cluster: Any, items: Any) -> None:
    """Put the items of each partition of an RDD into the queue of the node on the same executor.

    Returns when the nodes have taken all items. This is `TFCluster.train` for one epoch, without its union of RDDs, which
    would send each record through Spark's JVM and a second Python process. There is no time-out: the supervisor has one.
    """
    from tensorflowonspark import TFSparkNode

    put = TFSparkNode.train(cluster.cluster_info, cluster.cluster_meta, feed_timeout=NO_TIMEOUT_S, qname="input")
    items.foreachPartition(put)


def close_inherited_connections() -> None:
    """Close the TCP connections that this process has inherited from the one it was forked from.

    Their descriptors then refer to /dev/null, because objects that use them still exist.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for path in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):
            if str(path.readlink()).startswith("socket:"):
                with socket.socket(fileno=os.dup(int(path.name))) as copy:
                    is_tcp = copy.family in (socket.AF_INET, socket.AF_INET6)
                if is_tcp:
                    os.dup2(null, int(path.name))
    os.close(null)
