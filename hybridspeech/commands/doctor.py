"""The function of the command `doctor`: whether this machine and the nodes of a cluster can do their work."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridspeech.clusters.doctor import (
    Check,
    agreement_checks,
    machine_checks,
    named_apart,
    port_checks,
    ray_checks,
    secret_check,
    token_check,
)
from hybridspeech.clusters.node_facts import NodeFacts, StorageProbe, collect_facts
from hybridspeech.clusters.node_survey import Survey, survey_ray, survey_spark
from hybridspeech.clusters.packed_environment import check_environment, ray_runtime_env
from hybridspeech.config import EngineConfig, OnProgress, Progress, silent
from hybridspeech.errors import ConfigError, EngineError, HybridspeechError
from hybridspeech.processes.scratch import scratch_folder
from hybridspeech.registry import install_command
from hybridspeech.storage.locations import is_url, join, normalized
from hybridspeech.storage.objects import delete_files, list_names, read_bytes, write_bytes

START_TIMEOUT_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What `doctor` found: one row per check and node, and whether none failed."""

    checks: tuple[Check, ...]

    @property
    def is_ok(self) -> bool:
        """Whether no row failed; a warning is no failure."""
        return all(check.status != "failed" for check in self.checks)

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return header and rows for a reader."""
        header = ("node", "check", "status", "found", "remedy")
        return header, [(each.node, each.subject, each.status, each.value, each.remedy) for each in self.checks]


def doctor(
    *,
    storage: str | Path | None = None,
    cluster: EngineConfig | None = None,
    on_progress: OnProgress = silent,
) -> Diagnosis:
    """Examine this machine, and every node of a Spark or Ray cluster.

    Parameters
    ----------
    storage : a location that driver and nodes must be able to read and write; the check leaves nothing there
    cluster : `master` or `ray_address` of the cluster, and the `environment` that its nodes shall use; without an address,
        only this machine is examined

    Raises
    ------
    ConfigError: both a Spark master and a Ray address were given, or the packed environment can't be used.
    """
    cluster = cluster or EngineConfig()
    if cluster.master and cluster.ray_address:
        raise ConfigError("both --master and --ray-address were given; examine one cluster at a time")
    if cluster.environment:
        check_environment(cluster.environment)
    on_progress(Progress(stage="doctor", message="examining this machine"))
    with _probed(storage) as (probe, storage_checks):
        driver = collect_facts("driver", probe)
        checks = [*_driver_checks(driver, cluster), *storage_checks]
        if cluster.master or cluster.ray_address:
            where = cluster.master or cluster.ray_address
            on_progress(Progress(stage="doctor", message=f"examining the nodes of {where}"))
            survey = _examine_spark if cluster.master else _examine_ray
            checks += survey(cluster, driver, probe)
    return Diagnosis(checks=tuple(checks))


@contextlib.contextmanager
def _probed(storage: str | Path | None) -> Iterator[tuple[StorageProbe | None, list[Check]]]:
    """Write the driver's file below the location; yields the probe, and a failed row if that is not possible."""
    if storage is None:
        yield None, []
        return
    location = normalized(storage)
    probe = StorageProbe(folder=join(location, f"_doctor-{uuid.uuid4().hex}"), content=uuid.uuid4().hex)
    try:
        if not is_url(location) and not Path(location).is_dir():
            raise ConfigError(f"{location}: no such folder")
        if not is_url(location):
            Path(probe.folder).mkdir()
        write_bytes(join(probe.folder, "driver"), probe.content)
        read_bytes(join(probe.folder, "driver"))
    except (OSError, HybridspeechError) as error:
        remedy = "create it, or correct --storage, the credentials in the environment, or the permissions"
        yield None, [Check(node="driver", subject="storage", status="failed", value=str(error), remedy=remedy)]
        return
    try:
        yield probe, []
    finally:
        with contextlib.suppress(OSError, HybridspeechError):
            delete_files([join(probe.folder, name) for name in list_names(probe.folder)])
            if not is_url(location):
                Path(probe.folder).rmdir()


def _driver_checks(driver: NodeFacts, cluster: EngineConfig) -> Iterator[Check]:
    yield Check(node="driver", subject="python", status="ok", value=f"{driver.python} ({driver.executable})")
    yield Check(node="driver", subject="hybridspeech", status="ok", value=driver.hybridspeech)
    packages = ", ".join(f"{name} {version}" for name, version in driver.packages.items())
    yield Check(node="driver", subject="packages", status="ok", value=packages)
    for module, extra, needed in (("pyspark", "spark", cluster.master), ("ray", "ray", cluster.ray_address)):
        if importlib.util.find_spec(module) is None:
            yield Check(
                node="driver",
                subject=extra,
                status="failed" if needed else "warning",
                value="not installed",
                remedy=install_command(extra),
            )
    yield from machine_checks(driver, needs_java=cluster.master is not None, needs_shm=False)


def _examine_spark(cluster: EngineConfig, driver: NodeFacts, probe: StorageProbe | None) -> list[Check]:
    try:
        with _spark(cluster) as context:
            is_on = context.getConf().get("spark.authenticate", "false") == "true"
            is_local = context.master.startswith("local")
            survey = survey_spark(context, probe)
    except HybridspeechError as error:
        return [_unreachable("spark", error)]
    return [secret_check(is_on, is_local), *_node_checks(survey, driver, on_ray=False)]


@contextlib.contextmanager
def _spark(cluster: EngineConfig) -> Iterator[Any]:
    from hybridspeech.engines.spark import own_context

    settings = {
        "spark.dynamicAllocation.enabled": "false",
        "spark.scheduler.barrier.maxConcurrentTasksCheck.maxFailures": "1",
    }
    with own_context(dataclasses.replace(cluster, conf={**settings, **cluster.conf})) as context:
        yield context


def _examine_ray(cluster: EngineConfig, driver: NodeFacts, probe: StorageProbe | None) -> list[Check]:
    token = token_check(driver.variables, (Path.home() / ".ray" / "auth_token").exists())
    if importlib.util.find_spec("ray") is None:
        return []
    from hybridspeech.clusters.ray_session import RaySettings, ray_session

    settings = RaySettings(
        address=cluster.ray_address,
        runtime_env=ray_runtime_env(cluster.environment, cluster.ray_address),
        num_cpus=0,
        object_store_bytes=0,
        answer_timeout_s=START_TIMEOUT_S,
        verbose=cluster.verbose,
        error=EngineError,
    )
    try:
        with scratch_folder(is_short=True) as scratch, ray_session(settings, Path(scratch)):
            survey = survey_ray(probe)
    except HybridspeechError as error:
        return [token, _unreachable("ray", error)]
    remedy = "install hybridspeech and its extras there, with the driver's Python, or use an image that has them"
    silent_nodes = [
        Check(node=host, subject="ray", status="failed", value=reason, remedy=remedy)
        for host, reason in survey.failures.items()
    ]
    return [token, *silent_nodes, *_node_checks(survey, driver, on_ray=True)]


def _unreachable(subject: str, error: HybridspeechError) -> Check:
    remedy = "correct the address, start the cluster, or give the driver its token or secret"
    return Check(node="driver", subject=subject, status="failed", value=str(error), remedy=remedy)


def _node_checks(survey: Survey, driver: NodeFacts, *, on_ray: bool) -> Iterator[Check]:
    for name, each in zip(named_apart(survey.facts), survey.facts, strict=True):
        facts = dataclasses.replace(each, node=name)
        yield from agreement_checks(driver, facts, survey)
        yield from machine_checks(facts, needs_java=not on_ray, needs_shm=on_ray)
        yield from port_checks(facts)
        if on_ray:
            yield from ray_checks(facts)
