"""The Spark engine: on this machine, on a cluster, or in a session of the caller.

What runs in a session is in `spark_job`; how a session starts and ends is in `clusters`. Knows nothing of audio, features
and shards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, TypeVar

from pyspark import SparkContext
from pyspark.errors import PySparkException

from hybridspeech.clusters.cluster_managers import (
    PYTHON_WORKER_MB,
    check_manager,
    manager_settings,
    submitted_settings,
)
from hybridspeech.clusters.packed_environment import check_environment, spark_environment_settings
from hybridspeech.clusters.spark_session import SparkSettings, answers_within, spark_session
from hybridspeech.clusters.spark_settings import (
    driver_jvm_settings,
    has_executors,
    is_on_this_machine,
    loopback_settings,
)
from hybridspeech.clusters.spark_workers import start_python_workers, worker_settings
from hybridspeech.config import EngineConfig
from hybridspeech.engines.spark_job import run_partitions
from hybridspeech.errors import ConfigError, EngineError
from hybridspeech.patches.pyspark_context import active_context
from hybridspeech.processes.scratch import scratch_folder

T = TypeVar("T")
R = TypeVar("R")

EXECUTOR_TIMEOUT_S = 120.0
"""How long the first executor of a cluster may take to register."""


class SparkEngine:
    """Runs each partition as one task of a Spark job.

    The master is ``local[*]`` unless the EngineConfig or spark-submit names another: ``local[N]``,
    ``local-cluster[N,CORES,MB]``, ``spark://HOST:PORT``, ``yarn`` or ``k8s://https://HOST:PORT``. On other machines
    hybridspeech must be installed for the Python that executors run: the path of this interpreter, the setting
    ``spark.pyspark.python``, or that of a packed environment. A SparkContext that is active in this process is used, and
    left open, if its settings are the requested ones.
    """

    name: ClassVar[str] = "spark"

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._given: SparkContext | None = None
        self._context: SparkContext | None = None
        self._resources = contextlib.ExitStack()

    @classmethod
    def from_session(cls, session: Any) -> SparkEngine:
        """Return an engine on the caller's own SparkSession, which is not changed and is left open.

        Raises
        ------
        EngineError: it is a session of Spark Connect, which has no SparkContext.
        """
        engine = cls(EngineConfig())
        try:
            engine._given = session.sparkContext
        except (AttributeError, PySparkException) as error:
            raise EngineError(
                f"a {type(session).__name__} without a SparkContext was given; expected a classic SparkSession"
            ) from error
        return engine

    def _session(self) -> contextlib.AbstractContextManager[SparkContext]:
        """Return the SparkContext to work in; leaving it closes what it started."""
        context = self._given or matching_context(self._config)
        return own_context(self._config) if context is None else contextlib.nullcontext(context)

    def __enter__(self) -> SparkEngine:
        with contextlib.ExitStack() as resources:
            self._context = resources.enter_context(self._session())
            self._resources = resources.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context = None
        self._resources.close()

    @property
    def parallelism(self) -> int:
        """See `Engine.parallelism`; the cores of the executors that have registered."""
        return int(self._context.defaultParallelism) if self._context else 1

    def map_partitions(
        self,
        function: Callable[[Sequence[T]], R],
        partitions: Sequence[Sequence[T]],
        on_done: Callable[[R], None] | None = None,
    ) -> list[R]:
        """See `Engine.map_partitions`."""
        if self._context is None:
            raise EngineError("the engine is not open; use it in a with statement")
        return run_partitions(self._context, function, partitions, on_done, self._config.stall_timeout_s)


def requested_settings(config: EngineConfig) -> dict[str, str]:
    """Return the Spark settings of an EngineConfig.

    Raises
    ------
    ConfigError: executors were requested together with a ``local[...]`` master, which has none.
    """
    conf = dict(config.conf)
    cores = config.executor_cores or 1
    if config.master is not None:
        conf["spark.master"] = config.master
    master = conf.get("spark.master")
    if master is None or not has_executors(master):
        if config.num_executors or config.executor_cores:
            if master is not None:
                raise ConfigError(f"master {master} has no executors; leave out their number and cores, or the master")
            conf["spark.master"] = f"local[{(config.num_executors or 1) * cores}]"
        if config.executor_memory:
            conf["spark.driver.memory"] = config.executor_memory  # the driver's JVM is the only one
        return conf
    if config.num_executors:
        conf["spark.executor.instances"] = str(config.num_executors)
        conf["spark.cores.max"] = str(config.num_executors * cores)  # the same for a standalone master
    if config.num_executors or config.executor_cores:
        conf["spark.executor.cores"] = str(cores)
    if config.executor_memory:
        conf["spark.executor.memory"] = config.executor_memory
    return conf


def session_settings(config: EngineConfig, scratch: Path) -> dict[str, str]:
    """Return all settings of a session that the engine starts; those of the EngineConfig win, then those of spark-submit.

    Raises
    ------
    ConfigError: the master or the packed environment can't be used.
    """
    requested = {**submitted_settings(), **requested_settings(config)}
    master = requested.get("spark.master", "local[*]")
    check_manager(master, requested)
    if config.environment:
        check_environment(config.environment)
    return {
        "spark.master": master,
        "spark.app.name": "hybridspeech",
        "spark.ui.showConsoleProgress": "false",
        **driver_jvm_settings(scratch),
        **worker_settings(),
        **(loopback_settings(scratch) if is_on_this_machine(master) else {}),
        **manager_settings(master, PYTHON_WORKER_MB, config.executor_cores or 1),
        **spark_environment_settings(config.environment, master),
        **requested,
    }


def matching_context(config: EngineConfig) -> SparkContext | None:
    """Return the SparkContext that is active in this process, if there is one.

    Raises
    ------
    EngineError: there is one with other settings than the requested ones; pyspark allows one in a process.
    """
    context = active_context()
    if context is None:
        return None
    for key, value in requested_settings(config).items():
        if context.getConf().get(key) != value:
            raise EngineError(
                f"a SparkContext with {key}={context.getConf().get(key)} is active in this process, and {value} was "
                "asked for; stop it first, or pass its session to SparkEngine.from_session"
            )
    return context


@contextlib.contextmanager
def own_context(config: EngineConfig) -> Iterator[SparkContext]:
    """Open a session for this engine alone; nothing of it is left afterwards.

    Raises
    ------
    EngineError: Spark did not start; names the cause. JavaError: there is no Java for it.
    """
    with scratch_folder() as folder:
        conf = session_settings(config, Path(folder))
        settings = SparkSettings(
            conf=conf,
            num_executors=1 if has_executors(conf["spark.master"]) else 0,
            start_timeout_s=EXECUTOR_TIMEOUT_S,
            executor_advice=(
                "it needs a live worker with free cores and memory: ask for fewer with --executor-cores and "
                "--executor-memory, or stop other applications"
            ),
            answer_timeout_s=config.stall_timeout_s,
            verbose=config.verbose,
            error=EngineError,
        )
        with spark_session(settings, Path(folder)) as context:
            with answers_within(config.stall_timeout_s, EngineError):
                start_python_workers(context)
            yield context
