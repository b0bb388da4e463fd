"""A Spark session whose executors are Ray actors (RayDP). Ray must be connected. Knows nothing of engines and backends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from py4j.protocol import Py4JError
from pyspark import SparkContext

from hybridspeech.clusters.java_libraries import library_folders, remove_abandoned_folders, remove_folders
from hybridspeech.clusters.ray_session import ray_answers_within, ray_processes
from hybridspeech.clusters.spark_conf_folder import write_conf_folder
from hybridspeech.clusters.spark_errors import spark_cause
from hybridspeech.clusters.spark_session import (
    END_TIMEOUT_S,
    SparkSettings,
    private_jvm,
    stop_context,
    unchanged_process,
    wait_for_executors,
)
from hybridspeech.clusters.spark_settings import (
    authentication_settings,
    find_spark,
    is_secret,
    loopback_settings,
    spark_environment,
)
from hybridspeech.clusters.spark_workers import start_python_workers, worker_settings
from hybridspeech.errors import EngineError
from hybridspeech.patches.pyspark_context import active_context
from hybridspeech.patches.raydp_master import require_secret, unify_application_id
from hybridspeech.processes.environment import environment
from hybridspeech.processes.time_limit import finishes_within

EXECUTOR_TIMEOUT_S = 120.0
CPU_ADVICE = "Ray needs free CPUs and memory: ask for fewer with --num-executors and --executor-memory"
SECRET_ADVICE = (
    "spark.authenticate is true (--conf or SPARK_CONF_DIR), so every `ray start` needs the secret in the variable "
    "_SPARK_AUTH_SECRET; or give --conf spark.authenticate=false"
)
_NO_LOG = """\
rootLogger.level = off
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
logger.shell.name = org.apache.spark.api.python.PythonGatewayServer
logger.shell.level = off
"""
"""Spark ignores a configuration without an appender, and without the second logger it sets a level of its own."""


@dataclass(frozen=True, kw_only=True)
class SparkOnRaySettings:
    """What a Spark session on Ray needs.

    Parameters
    ----------
    num_executors : None takes as many as Ray has free CPUs for
    executor_memory : e.g. "1g"
    conf : further Spark settings
    is_started_here : whether Ray was started by this process: Spark then listens on loopback only
    to_datasets : let Spark's driver JVM join Ray too, which `ray.data.from_spark` needs
    environment : variables that processes need to connect to Ray
    answer_timeout_s : how long Ray and the JVMs may take until Spark has started
    verbose : show the output of the driver JVM on standard error
    """

    num_executors: int | None
    executor_cores: int
    executor_memory: str
    conf: Mapping[str, str]
    is_started_here: bool
    to_datasets: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    answer_timeout_s: float
    verbose: bool


def check_no_context() -> None:
    """Check that this process has no SparkContext: pyspark allows one, and RayDP needs its own.

    Raises
    ------
    EngineError: there is one.
    """
    if (other := active_context()) is not None:
        raise EngineError(
            f"a SparkContext ({other.master}) is active in this process, and RayDP needs one of its own; "
            "stop it first, or use --engine spark"
        )


def environment_for_spark(scratch: Path) -> dict[str, str]:
    """Return environment variables of a Ray that is started here, so that Spark can run on it with its own secret.

    RayDP's master reads the secret from SPARK_CONF_DIR, its executors from a variable.
    """
    settings = authentication_settings("local")
    write_conf_folder(settings, find_spark() / "conf", scratch / "conf")
    return {
        **spark_environment(scratch),  # Ray's processes start JVMs too
        "SPARK_CONF_DIR": str(scratch / "conf"),
        "_SPARK_AUTH_SECRET": settings["spark.authenticate.secret"],
    }


@contextlib.contextmanager
def spark_on_ray(settings: SparkOnRaySettings, scratch: Path) -> Iterator[SparkContext]:
    """Open a SparkContext on the Ray that this process is connected to; it has ended afterwards.

    Parameters
    ----------
    scratch : folder for Spark's files, and of a Ray that was started here; the caller removes it

    Raises
    ------
    EngineError: Ray has too few free CPUs, or Spark does not start.
    """
    check_no_context()
    remove_abandoned_folders()
    variables = {**settings.environment, **spark_environment(scratch, loopback=settings.is_started_here)}
    original = Path(variables.get("SPARK_CONF_DIR") or os.environ.get("SPARK_CONF_DIR") or find_spark() / "conf")
    secrets = {key: value for key, value in settings.conf.items() if is_secret(key)}  # not on a command line
    write_conf_folder(secrets, original, scratch / "driver-conf")
    variables["SPARK_CONF_DIR"] = str(scratch / "driver-conf")
    unpacked: set[Path] = set()
    with contextlib.ExitStack() as stack:
        stack.callback(remove_folders, unpacked)
        with environment(variables), ray_answers_within(settings.answer_timeout_s, EngineError, scratch):
            stack.enter_context(private_jvm())
            stack.callback(lambda: unpacked.update(library_folders(ray_processes(scratch))))  # if the start fails
            context = stack.enter_context(_opened(settings, scratch))
            unpacked.update(library_folders(ray_processes(scratch)))  # if the JVM is killed
        yield context


@contextlib.contextmanager
def _opened(settings: SparkOnRaySettings, scratch: Path) -> Iterator[SparkContext]:
    import raydp

    conf = {
        "spark.ui.showConsoleProgress": "false",
        **worker_settings(),
        **(loopback_settings(scratch) if settings.is_started_here else {}),
        **({} if settings.verbose else _quiet_settings(scratch)),
        **{key: value for key, value in settings.conf.items() if not is_secret(key)},
    }
    options = f"-Dray.logging.dir={scratch / 'java-logs'}"  # else below /tmp/ray
    conf["spark.driver.extraJavaOptions"] = f"{conf.get('spark.driver.extraJavaOptions', '')} {options}".strip()
    require_secret()
    try:
        with unchanged_process():
            session = raydp.init_spark(
                app_name="hybridspeech",
                num_executors=_num_executors(settings),
                executor_cores=settings.executor_cores,
                executor_memory=settings.executor_memory,
                fault_tolerant_mode=settings.to_datasets,
                configs=conf,
            )
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"Spark did not start on Ray: {spark_cause(error)}") from error
    try:
        try:
            if session.sparkContext.getConf().get("spark.authenticate") == "true":
                unify_application_id(session.sparkContext)
        except (Py4JError, OSError) as error:
            raise EngineError(f"Spark did not start on Ray: {spark_cause(error)}") from error
        wait_for_executors(session.sparkContext, _waiting(dict(session.sparkContext.getConf().getAll()), settings))
        start_python_workers(session.sparkContext)
        yield session.sparkContext
    finally:
        if not finishes_within(END_TIMEOUT_S, raydp.stop_spark) or active_context() is not None:
            stop_context(session.sparkContext)  # its JVM has ended, or does not answer


def _waiting(conf: Mapping[str, str], settings: SparkOnRaySettings) -> SparkSettings:
    return SparkSettings(
        conf=conf,
        num_executors=1,
        start_timeout_s=EXECUTOR_TIMEOUT_S,
        executor_advice=executor_advice(conf, settings),
        answer_timeout_s=settings.answer_timeout_s,
        verbose=settings.verbose,
        error=EngineError,
    )


def executor_advice(conf: Mapping[str, str], settings: SparkOnRaySettings) -> str:
    """Return what to do if no executor registers; `conf` has the Spark settings of the session."""
    lacks_secret = conf.get("spark.authenticate") == "true" and not settings.is_started_here
    return SECRET_ADVICE if lacks_secret else CPU_ADVICE


def _num_executors(settings: SparkOnRaySettings) -> int:
    """Return the requested number, else as many executors as Ray has free CPUs for.

    Raises
    ------
    EngineError: Ray has too few free CPUs; Spark would wait for them for ever.
    """
    import ray

    free, cores = int(ray.available_resources().get("CPU", 0)), settings.executor_cores
    num_executors = settings.num_executors or max(1, free // cores)
    if num_executors * cores > free:
        raise EngineError(
            f"Ray has {free} free CPUs, and {num_executors} executors of {cores} cores need {num_executors * cores}; "
            "ask for fewer with --num-executors and --executor-cores, or free CPUs in Ray"
        )
    return num_executors


def _quiet_settings(scratch: Path) -> dict[str, str]:
    """Return Spark settings that turn the driver's log off; its failures arrive as exceptions."""
    path = scratch / "log4j2.properties"
    path.write_text(_NO_LOG, encoding="ascii")
    return {"spark.log4j.config.file.name": path.as_uri()}
