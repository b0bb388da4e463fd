"""Runs `node_facts.collect_facts` on every node of a Spark or Ray session. Knows nothing of what the facts mean."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hybridspeech.clusters.node_facts import NodeFacts, StorageProbe, collect_facts, listening
from hybridspeech.errors import EngineError, one_line

if TYPE_CHECKING:
    from pyspark import SparkContext

ANSWER_TIMEOUT_S = 120.0
STEADY_S = 3.0
"""Executors register one after the other: their number must stay the same for so long."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Answers of the nodes.

    Parameters
    ----------
    facts : of each node that answered
    failures : why a node did not answer, by its address
    sent_at, received_at : when the driver sent the request and had the answers, in seconds since the epoch
    """

    facts: tuple[NodeFacts, ...]
    failures: Mapping[str, str] = field(default_factory=dict)
    sent_at: float
    received_at: float


def survey_spark(context: SparkContext, probe: StorageProbe | None) -> Survey:
    """Collect facts from every executor, in one barrier stage: all of its tasks run at the same time.

    Raises
    ------
    EngineError: the tasks failed, e.g. because executors can't import hybridspeech.
    """
    _wait_until_steady(context)

    def survey(items: Iterable[Any]) -> Iterator[tuple[str, NodeFacts]]:
        from pyspark import BarrierTaskContext

        task = BarrierTaskContext.get()
        addresses = [info.address for info in task.getTaskInfos()]
        mine = addresses[task.partitionId()]
        with listening(_host(mine)) as port:
            ports = task.allGather(str(port))
            listeners = dict(zip(addresses, ports, strict=True))  # one per executor
            peers = [(_host(address), int(each)) for address, each in listeners.items() if address != mine]
            facts = collect_facts(_host(mine), probe if listeners[mine] == str(port) else None, peers)
            task.barrier()
        yield mine, facts

    found: dict[str, NodeFacts] = {}
    sent_at = time.time()
    for slots in dict.fromkeys((context.defaultParallelism, 1)):  # Spark reports at least 2, also where there is 1
        try:
            answers = context.parallelize(range(slots), slots).barrier().mapPartitions(survey).collect()
        except Exception as error:
            if "more slots" in str(error) and slots > 1:
                continue
            raise EngineError(f"the nodes can't be examined: {one_line(error)}") from error
        for address, facts in answers:
            if address not in found or facts.storage is not None:
                found[address] = facts
        break
    return Survey(facts=tuple(found.values()), sent_at=sent_at, received_at=time.time())


def _host(address: str) -> str:
    return address.rpartition(":")[0] or address


def _wait_until_steady(context: SparkContext) -> None:
    from hybridspeech.patches.pyspark_context import count_executors

    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    number, since = count_executors(context), time.monotonic()
    while number and time.monotonic() < deadline and time.monotonic() - since < STEADY_S:
        time.sleep(0.2)
        if (now := count_executors(context)) != number:
            number, since = now, time.monotonic()


class NodeProbe:
    """A Ray actor on one node: listens, then collects facts."""

    def __init__(self) -> None:
        self._resources = ExitStack()

    def listen(self, host: str) -> int:
        """Listen until the actor ends; returns the port."""
        return self._resources.enter_context(listening(host))

    def facts(self, node: str, probe: StorageProbe | None, peers: Sequence[tuple[str, int]]) -> NodeFacts:
        """See `collect_facts`."""
        return collect_facts(node, probe, peers)


def survey_ray(probe: StorageProbe | None) -> Survey:
    """Collect facts from every node of the Ray that this process is connected to."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    hosts = {each["NodeID"]: each["NodeManagerAddress"] for each in ray.nodes() if each["Alive"]}
    actor = ray.remote(num_cpus=0, max_restarts=0)(NodeProbe)
    probes = {
        node: actor.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote()
        for node in hosts
    }
    ports, failures = {}, {}
    for node, host in hosts.items():
        try:
            ports[node] = ray.get(probes[node].listen.remote(host), timeout=ANSWER_TIMEOUT_S)
        except Exception as error:  # noqa: BLE001 - Ray raises errors of many classes; each becomes a row
            failures[host] = one_line(error)
    pending, sent_at = {}, time.time()
    for node in ports:
        peers = [(hosts[other], port) for other, port in ports.items() if other != node]
        pending[node] = probes[node].facts.remote(hosts[node], probe, peers)
    found = []
    for node, answer in pending.items():
        try:
            found.append(ray.get(answer, timeout=ANSWER_TIMEOUT_S))
        except Exception as error:  # noqa: BLE001 - as above
            failures[hosts[node]] = one_line(error)
    return Survey(facts=tuple(found), failures=failures, sent_at=sent_at, received_at=time.time())
