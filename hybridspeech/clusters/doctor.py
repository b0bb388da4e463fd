"""What facts about a driver and its nodes mean: a row per check, with a remedy where one fails. Touches no cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hybridspeech.clusters.node_facts import NodeFacts
from hybridspeech.clusters.node_survey import Survey
from hybridspeech.registry import install_command

GIB = 1024**3
MIN_MEMORY_BYTES = 2 * GIB
MIN_SCRATCH_BYTES = GIB
MIN_SHM_BYTES = 128 * 1024**2
"""Ray's smallest object store is 75 MiB; a container has 64 MiB unless it is given more."""
MAX_CLOCK_SKEW_S = 5.0
SLOW_STORAGE_S = 1.0
ADD_OPENS = "--add-opens=java.base/java.lang=ALL-UNNAMED"
"""One of the options that RayDP needs; see `patches.raydp_datasets`."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One row: what was examined where, with what result.

    Parameters
    ----------
    node : "driver", or the node's host
    remedy : what to do; empty unless the status is "warning" or "failed"
    """

    node: str
    subject: str
    status: Literal["ok", "warning", "failed"]
    value: str
    remedy: str = ""


def _check(node: str, subject: str, is_good: bool, value: str, remedy: str, *, warn: bool = False) -> Check:
    if is_good:
        return Check(node=node, subject=subject, status="ok", value=value)
    return Check(node=node, subject=subject, status="warning" if warn else "failed", value=value, remedy=remedy)


def machine_checks(facts: NodeFacts, *, needs_java: bool, needs_shm: bool) -> Iterator[Check]:
    """Check what a machine needs, be it the driver's or a node's.

    Parameters
    ----------
    needs_java, needs_shm : whether the lack of a Java or of space in /dev/shm is a failure
    """
    node = facts.node
    extras = ", ".join(facts.extras) or "none"
    yield _check(node, "extras", bool(facts.extras), extras, install_command("all"), warn=True)
    if needs_java or "spark" in facts.extras:
        remedy = f"install Java 17 and set JAVA_HOME, or {install_command('spark')}"
        yield _check(node, "java", facts.has_java, facts.java, remedy, warn=not needs_java)
    yield _check(node, "cores", facts.cores >= 1, str(facts.cores), "")
    memory = f"{facts.memory_bytes / GIB:.1f} GiB"
    yield _check(
        node, "memory", facts.memory_bytes >= MIN_MEMORY_BYTES, memory, "give the machine or container 2 GiB or more"
    )
    scratch = f"{facts.scratch_bytes / GIB:.1f} GiB free in {facts.scratch}"
    yield _check(
        node, "scratch", facts.scratch_bytes >= MIN_SCRATCH_BYTES, scratch, "free space, or set TMPDIR to a larger disk"
    )
    if needs_shm or "ray" in facts.extras:
        remedy = "enlarge /dev/shm: --shm-size of docker, an emptyDir of medium Memory on Kubernetes"
        value = f"{facts.shm_bytes / GIB:.1f} GiB free"
        yield _check(node, "/dev/shm", facts.shm_bytes >= MIN_SHM_BYTES, value, remedy, warn=not needs_shm)
    if facts.storage is not None:
        yield storage_check(facts)


def storage_check(facts: NodeFacts) -> Check:
    """Check that the node read the driver's file and wrote its own."""
    assert facts.storage is not None
    if facts.storage.error:
        remedy = "use a folder on a file system that all nodes mount, or a URL such as s3://bucket/folder"
        return Check(node=facts.node, subject="storage", status="failed", value=facts.storage.error, remedy=remedy)
    latency_s = max(facts.storage.read_s, facts.storage.write_s)
    value = f"read {facts.storage.read_s * 1000:.1f} ms, write {facts.storage.write_s * 1000:.1f} ms"
    remedy = "choose storage in the region or the rack of the nodes"
    return _check(facts.node, "storage", latency_s <= SLOW_STORAGE_S, value, remedy, warn=True)


def agreement_checks(driver: NodeFacts, facts: NodeFacts, survey: Survey) -> Iterator[Check]:
    """Check that a node has what the driver has, and that their clocks agree."""
    node, environment = (
        facts.node,
        "install the driver's versions there, or pack them: hybridspeech pack, --environment",
    )
    same = facts.python.split(".")[:2] == driver.python.split(".")[:2]
    yield _check(
        node, "python", same, f"{facts.python} ({facts.executable})", f"the driver has {driver.python}; {environment}"
    )
    remedy = f"the driver has {driver.hybridspeech}; {environment}"
    yield _check(node, "hybridspeech", facts.hybridspeech == driver.hybridspeech, facts.hybridspeech, remedy)
    differing = [
        f"{name} {version} (driver: {driver.packages[name]})"
        for name, version in facts.packages.items()
        if driver.packages.get(name, version) != version
    ]
    value = ", ".join(differing) or f"{len(facts.packages)} as on the driver"
    yield _check(node, "packages", not differing, value, environment)
    skew_s = max(0.0, survey.sent_at - facts.started_at, facts.finished_at - survey.received_at)
    value = "agrees with the driver" if skew_s < 0.5 else f"differs by at least {skew_s:.1f} s"
    yield _check(node, "clock", skew_s <= MAX_CLOCK_SKEW_S, value, "synchronise the clocks of all nodes (NTP)")


def port_checks(facts: NodeFacts) -> Iterator[Check]:
    """Check that a node reached a free port of every other node."""
    failed = [f"{peer} ({error})" for peer, error in facts.peers.items() if error]
    if facts.peers:
        value = f"not reached: {', '.join(failed)}" if failed else f"reached {len(facts.peers)} other node(s)"
        remedy = "allow all TCP ports between the nodes: ranks and executors choose free ones"
        yield _check(facts.node, "ports", not failed, value, remedy)


def ray_checks(facts: NodeFacts) -> Iterator[Check]:
    """Check what the raylet of a node was started with."""
    remedy = "set JDK_JAVA_OPTIONS for `ray start` on this node (see the guide to Ray clusters); `run --backend ray` needs it"
    has_opens = ADD_OPENS in facts.variables.get("JDK_JAVA_OPTIONS", "")
    yield _check(facts.node, "JDK_JAVA_OPTIONS", has_opens, "set" if has_opens else "not set", remedy, warn=True)


def token_check(variables: Mapping[str, str], has_file: bool) -> Check:
    """Check that the connection to a Ray uses a token."""
    if variables.get("RAY_AUTH_MODE") == "disabled":
        remedy = "set RAY_AUTH_MODE=token and the same RAY_AUTH_TOKEN for every `ray start` and for the driver"
        return Check(node="driver", subject="token", status="warning", value="authentication is off", remedy=remedy)
    source = next((name for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH") if name in variables), "")
    value = f"from {source}" if source else "from ~/.ray/auth_token" if has_file else "none"
    return _check("driver", "token", value != "none", value, "set RAY_AUTH_TOKEN to the cluster's token", warn=True)


def secret_check(is_on: bool, is_local: bool) -> Check:
    """Check that Spark's processes authenticate each other."""
    remedy = (
        "set spark.authenticate=true and one spark.authenticate.secret in SPARK_CONF_DIR of master, workers and driver"
    )
    value = "spark.authenticate is on" if is_on else "spark.authenticate is off"
    return _check("driver", "secret", is_on or is_local, value, remedy, warn=True)


def named_apart(facts: Sequence[NodeFacts]) -> list[str]:
    """Return a name for each node: its host, with a number where several have the same."""
    hosts = [each.node for each in facts]
    names = []
    for number, host in enumerate(hosts):
        names.append(f"{host} #{hosts[: number + 1].count(host)}" if hosts.count(host) > 1 else host)
    return names
