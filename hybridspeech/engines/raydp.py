"""The RayDP engine: Spark whose executors are Ray actors, in a Ray that is started here or joined.

Only how the session opens and closes differs from Spark; what runs in it stands in `spark_job`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import psutil
from py4j.protocol import Py4JError
from pyspark import SparkContext

from hybridspeech.clusters.environment import LOOPBACK, loopback_conf, ray_environment, refusals, spark_environment
from hybridspeech.config import EngineConfig
from hybridspeech.engines.spark import (
    SparkEngine,
    private_jvm,
    stop_context,
    unchanged_process,
    wait_for_executor,
)
from hybridspeech.engines.spark_job import cause, start_workers, worker_conf
from hybridspeech.errors import EngineError
from hybridspeech.patches.pyspark_context import active_context
from hybridspeech.patches.ray_core import keep_to_loopback, local_options, reset_token
from hybridspeech.processes.environment import environment
from hybridspeech.processes.resources import num_cores
from hybridspeech.processes.supervision import end_all, process_tree

for _package in ("ray", "raydp"):  # told apart here: Ray reads the environment when it is imported, so it comes later
    if importlib.util.find_spec(_package) is None:
        raise ModuleNotFoundError(f"No module named {_package!r}", name=_package)

OBJECT_STORE_BYTES = 256 * 1024**2
"""Of a Ray that is started here: only Spark's executors run in it, and they do not use the store."""
_NO_LOG = """\
rootLogger.level = off
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
logger.shell.name = org.apache.spark.api.python.PythonGatewayServer
logger.shell.level = off
"""
"""Without an appender Spark takes it for no configuration, and without the second logger it sets a level of its own."""


class RayDPEngine(SparkEngine):
    """Runs each partition as one task of a Spark job on Ray.

    Ray is the one at ``ray_address``, else the one that this process is connected to, else one that is started here,
    on loopback. Executors have one core and 1 GiB each unless the EngineConfig says otherwise, and there are as many as
    Ray has free CPUs; they hold these CPUs until the engine is closed. The nodes of a Ray that is joined must have
    hybridspeech and a Java for Spark installed.
    """

    name: ClassVar[str] = "raydp"

    def _session(self) -> contextlib.AbstractContextManager[SparkContext]:
        return spark_on_ray(self._config)


@contextlib.contextmanager
def spark_on_ray(config: EngineConfig, to_datasets: bool = False) -> Iterator[SparkContext]:
    """Ray, and Spark on it; what was started here has ended, and its files are gone, afterwards.

    Parameters
    ----------
    to_datasets : let Spark's driver JVM join Ray too, which `ray.data.from_spark` asks for
    """
    if (other := active_context()) is not None:
        raise EngineError(
            f"a SparkContext ({other.master}) is active in this process, and RayDP needs "
            "one of its own; stop it first, or use --engine spark"
        )
    here = config.ray_address is None and not _is_connected()
    with contextlib.ExitStack() as afterwards, contextlib.ExitStack() as opened:
        scratch = Path(opened.enter_context(_scratch()))
        variables = spark_environment(scratch, loopback=here)
        if here:
            variables |= {**ray_environment(), **_access()}
        with environment(variables):
            if here:
                reset_token()
                opened.callback(reset_token)
            opened.enter_context(_ray(config, scratch))
            opened.enter_context(private_jvm())
            context = opened.enter_context(_open_spark(config, scratch, here, to_datasets))
        for folder in _unpacked_libraries(scratch):
            afterwards.callback(shutil.rmtree, folder, ignore_errors=True)
        yield context


def _is_connected() -> bool:
    """Whether the caller has connected this process to a Ray; without importing it, for which it is too early."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def _scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder with a short name: Ray makes sockets in it, and the path of a socket ends at 107 characters."""
    parent = None if len(tempfile.gettempdir()) <= 20 else "/tmp"
    return tempfile.TemporaryDirectory(prefix="hybridspeech-", dir=parent, ignore_cleanup_errors=True)


def _access() -> dict[str, str]:
    """A token for a Ray that is started here, unless the caller has one; else Ray writes one into the home directory."""
    if "RAY_AUTH_MODE" in os.environ:
        return {}
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextlib.contextmanager
def _ray(config: EngineConfig, scratch: Path) -> Iterator[None]:
    """Connected to Ray: the caller's own connection, the cluster at ``ray_address``, or one that is started here."""
    import ray

    if ray.is_initialized():
        if config.ray_address is not None:
            raise EngineError(
                f"this process is connected to a Ray already, and {config.ray_address} was asked for; "
                "call ray.shutdown() first, or leave out the address"
            )
        yield
        return
    logging = {"log_to_driver": config.verbose, "logging_level": "INFO" if config.verbose else "ERROR"}
    try:
        if config.ray_address is not None:
            _join(config.ray_address, logging)
        else:
            _start(scratch, logging)
        yield
    finally:
        processes = [child for root in _started_in(scratch) for child in process_tree(root.pid)]
        ray.shutdown()
        _, alive = psutil.wait_procs(processes, timeout=10)
        end_all(alive)


def _join(address: str, logging: Mapping[str, Any]) -> None:
    import ray

    _check_reachable(address)
    try:
        ray.init(address=address, **logging)
    except Exception as error:  # Ray raises errors of many kinds here, some of them bare
        raise EngineError(f"the Ray at {address} can't be joined: {cause(error)}") from error


def _start(scratch: Path, logging: Mapping[str, Any]) -> None:
    import ray

    keep_to_loopback()  # as in `ray_environment`, if somebody has imported Ray before
    options = {
        "address": "local",  # a new one, even if RAY_ADDRESS names another
        "num_cpus": num_cores(),
        "num_gpus": 0,
        "object_store_memory": OBJECT_STORE_BYTES,
        "include_dashboard": False,
        **local_options(scratch, LOOPBACK),
        **logging,
    }
    try:
        ray.init(**options)
    except Exception:  # noqa: BLE001 - it gives up after 30 s, which a busy machine may need: once more
        ray.shutdown()
        try:
            ray.init(**options)
        except Exception as error:
            raise EngineError(f"Ray did not start on this machine: {cause(error)}") from error


def _check_reachable(address: str) -> None:
    """Refuse in seconds an address that nobody answers at; Ray itself takes minutes."""
    reasons = refusals((host, int(port)) for host, port in re.findall(r"^(?:ray://)?([^:/]+):(\d+)$", address))
    if reasons:
        raise EngineError(f"no Ray answers at {reasons[0]}; start it, mend --ray-address, or leave it out")


def _started_in(scratch: Path) -> list[psutil.Process]:
    """Children of this process that carry the folder `scratch` in their command line."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any(str(scratch) in argument for argument in child.cmdline()):
                found.append(child)
    return found


def _unpacked_libraries(scratch: Path) -> set[Path]:
    """Folders, outside `scratch`, into which Ray's Java has unpacked its library of 41 MB; it never removes them."""
    folders = set()
    for process in [child for root in _started_in(scratch) for child in process_tree(root.pid)]:
        with contextlib.suppress(psutil.Error, AttributeError):  # not every system tells what a process has mapped
            mapped = {Path(each.path) for each in process.memory_maps() if each.path.startswith("/tmp/ray/")}
            folders |= {path.parent for path in mapped if path.name == "libcore_worker_library_java.so"}
    return folders


@contextlib.contextmanager
def _open_spark(config: EngineConfig, scratch: Path, here: bool, to_datasets: bool) -> Iterator[SparkContext]:
    import raydp

    num_executors, cores = _executors(config)
    conf = {
        "spark.ui.showConsoleProgress": "false",
        **worker_conf(),
        **(loopback_conf(scratch) if here else {}),
        **({} if config.verbose else _quiet_conf(scratch)),
        **config.conf,
    }
    try:
        with unchanged_process():
            session = raydp.init_spark(
                app_name="hybridspeech",
                num_executors=num_executors,
                executor_cores=cores,
                executor_memory=config.executor_memory or "1g",
                fault_tolerant_mode=to_datasets,
                configs=conf,
            )
    except Exception as error:
        raise EngineError(f"Spark did not start on Ray: {cause(error)}") from error
    try:
        wait_for_executor(session.sparkContext)
        start_workers(session.sparkContext)
        yield session.sparkContext
    finally:
        try:
            raydp.stop_spark()
        except (Py4JError, OSError):  # its JVM has died, and pyspark has not forgotten it yet
            stop_context(session.sparkContext)


def _executors(config: EngineConfig) -> tuple[int, int]:
    """(number of executors, cores of each): what was asked for, else as many of one core as Ray has free CPUs.

    Raises
    ------
    EngineError: Ray has too few free CPUs; Spark would wait for them for ever.
    """
    import ray

    free, cores = int(ray.available_resources().get("CPU", 0)), config.executor_cores or 1
    num_executors = config.num_executors or max(1, free // cores)
    if num_executors * cores > free:
        raise EngineError(
            f"Ray has {free} free CPUs, and {num_executors} executors of {cores} cores need {num_executors * cores}; "
            "ask for fewer with --num-executors and --executor-cores, or free CPUs in Ray"
        )
    return num_executors, cores


def _quiet_conf(scratch: Path) -> dict[str, str]:
    """Spark settings that turn the driver's log off; its failures arrive as exceptions."""
    path = scratch / "log4j2.properties"
    path.write_text(_NO_LOG, encoding="ascii")
    return {"spark.log4j.config.file.name": path.as_uri()}
