"""The Spark engine: on this machine, on a cluster, or in a session of the caller.

Here is how a session opens and closes, and leaves nothing behind; what runs in it stands in `spark_job`. Knows nothing
of audio, features or shards.
"""

from __future__ import annotations

import contextlib
import re
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, TypeVar

import psutil
from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException

from hybridspeech.clusters.environment import LIGHT_JVM, LOOPBACK, loopback_conf, refusals, spark_environment
from hybridspeech.config import EngineConfig
from hybridspeech.engines.spark_job import cause, run_partitions, start_workers, worker_conf
from hybridspeech.errors import ConfigError, EngineError
from hybridspeech.patches.pyspark_context import active_context as active_spark_context
from hybridspeech.patches.pyspark_context import count_executors, current_gateway, exchange_gateway, start_jvm
from hybridspeech.processes.environment import environment
from hybridspeech.processes.supervision import end_all, process_tree

T = TypeVar("T")
R = TypeVar("R")

EXECUTOR_TIMEOUT_S = 120.0
"""How long a cluster may take to give the first executor."""


class SparkEngine:
    """Runs each partition as one task of a Spark job.

    The master is ``local[*]`` unless the EngineConfig names another: ``local[N]``, ``local-cluster[N,CORES,MB]`` or
    ``spark://HOST:PORT``. On other machines hybridspeech must be installed for the Python that executors run: the path
    of this interpreter, or the setting ``spark.pyspark.python``. A SparkContext that is active in this process is used,
    and left open, if its settings are the ones asked for.
    """

    name: ClassVar[str] = "spark"

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._given: SparkContext | None = None
        self._context: SparkContext | None = None
        self._resources = contextlib.ExitStack()

    @classmethod
    def from_session(cls, session: Any) -> SparkEngine:
        """An engine on the caller's own SparkSession, which stays as it is and is left open.

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
        """The SparkContext to work in; leaving it closes what it started."""
        context = self._given or active_context(self._config)
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

    def map_partitions(
        self,
        function: Callable[[Sequence[T]], R],
        partitions: Sequence[Sequence[T]],
        on_done: Callable[[R], None] | None = None,
    ) -> list[R]:
        """See `Engine.map_partitions`."""
        if self._context is None:
            raise EngineError("the engine is not open; use it in a with statement")
        return run_partitions(self._context, function, partitions, on_done)


def asked_conf(config: EngineConfig) -> dict[str, str]:
    """What the EngineConfig asks of Spark, as Spark settings.

    Raises
    ------
    ConfigError: executors were asked for next to a ``local[...]`` master, which has none.
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
            conf["spark.driver.memory"] = config.executor_memory  # the only process there is
        return conf
    if config.num_executors:
        conf["spark.executor.instances"] = str(config.num_executors)
        conf["spark.cores.max"] = str(config.num_executors * cores)  # the same for a standalone master
    if config.num_executors or config.executor_cores:
        conf["spark.executor.cores"] = str(cores)
    if config.executor_memory:
        conf["spark.executor.memory"] = config.executor_memory
    return conf


def has_executors(master: str) -> bool:
    """Whether tasks run in processes other than the driver's JVM."""
    return re.fullmatch(r"local(\[.*\])?", master) is None


def is_here(master: str) -> bool:
    """Whether all processes of this master run on this machine."""
    hosts = re.findall(r"(?:^spark://|,)([^:,]+)", master)
    return master.startswith("local") or (bool(hosts) and set(hosts) <= {LOOPBACK, "localhost"})


def full_conf(config: EngineConfig, scratch: Path) -> dict[str, str]:
    """All settings of a session that is started here; what was asked for wins."""
    asked = asked_conf(config)
    master = asked.get("spark.master", "local[*]")
    return {
        "spark.master": master,
        "spark.app.name": "hybridspeech",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.extraJavaOptions": f"-Djava.io.tmpdir={scratch} {LIGHT_JVM}",
        **worker_conf(),
        **(loopback_conf(scratch) if is_here(master) else {}),
        **asked,
    }


def active_context(config: EngineConfig) -> SparkContext | None:
    """The SparkContext that is active in this process, if any.

    Raises
    ------
    EngineError: there is one, and its settings are not the ones asked for; Spark allows one in a process.
    """
    context = active_spark_context()
    if context is None:
        return None
    for key, value in asked_conf(config).items():
        if context.getConf().get(key) != value:
            raise EngineError(
                f"a SparkContext with {key}={context.getConf().get(key)} is active in this process, and {value} was "
                "asked for; stop it first, or pass its session to SparkEngine.from_session"
            )
    return context


@contextlib.contextmanager
def own_context(config: EngineConfig) -> Iterator[SparkContext]:
    """A SparkContext in a JVM of its own; both have ended, and their files are gone, afterwards.

    Raises
    ------
    EngineError: Spark did not start; names the cause. JavaError: there is no Java for it.
    """
    with tempfile.TemporaryDirectory(prefix="hybridspeech-spark-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        conf = full_conf(config, scratch)
        _check_reachable(conf["spark.master"])
        with private_jvm():
            context = _start(conf, scratch, verbose=config.verbose)
            try:
                wait_for_executor(context)
                start_workers(context)
                yield context
            finally:
                stop_context(context)


def _start(conf: Mapping[str, str], scratch: Path, verbose: bool) -> SparkContext:
    """Start a JVM and a SparkContext in it. Unless `verbose`, what they print goes to a log in `scratch`."""
    variables = spark_environment(scratch, loopback=is_here(conf["spark.master"]))
    variables["PYSPARK_PYTHON"] = conf.get("spark.pyspark.python", variables["PYSPARK_PYTHON"])
    settings = SparkConf(loadDefaults=False).setAll(list(conf.items()))
    log_path = scratch / "spark.log"
    with log_path.open("wb") as log, environment(variables), unchanged_process():
        output = {"stdout": 2} if verbose else {"stdout": log, "stderr": log}
        try:
            start_jvm(settings, output)
            return SparkContext(conf=settings)
        except (Py4JError, PySparkException, OSError, ValueError) as error:
            reason = cause(error) if current_gateway() else _last_words(log_path) or cause(error)
            raise EngineError(f"Spark did not start with master {conf['spark.master']}: {reason}") from error


def _last_words(log: Path) -> str:
    """What a JVM said that has ended before Spark could speak for it: its exception, else its last line."""
    text = log.read_text(encoding="utf-8", errors="replace").strip()
    found = re.search(r"^(?:Exception in thread \S+ )?[\w.$]*(?:Exception|Error): *(.+)$", text, re.MULTILINE)
    return found.group(1) if found else text.rpartition("\n")[2]


@contextlib.contextmanager
def private_jvm() -> Iterator[None]:
    """Let pyspark start a new JVM, and end it afterwards; one that was there before is put aside and put back."""
    submitted_before = _submitted()
    before = exchange_gateway(None)
    try:
        yield
    finally:
        gateway = exchange_gateway(before)
        if gateway is None:  # interrupted while it came up: pyspark does not know it yet
            end_all([process for process in _submitted() if process not in submitted_before])
        if gateway is not None and gateway.proc is not None:  # under spark-submit, the JVM is not ours to end
            processes = process_tree(gateway.proc.pid)
            with contextlib.suppress(Py4JError, OSError):
                gateway.shutdown()
            gateway.proc.stdin.close()  # what the JVM waits for to end
            _, alive = psutil.wait_procs(processes, timeout=10)
            end_all(alive)
            gateway.proc.wait(timeout=10)


def _submitted() -> list[psutil.Process]:
    """The JVMs that pyspark has started from this process, also those that are still on their way to becoming one."""
    found = []
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "spark" in " ".join(process.cmdline()).lower():
                found.append(process)
    return found


@contextlib.contextmanager
def unchanged_process() -> Iterator[None]:
    """Undo what starting a SparkContext does to this process: a handler for Ctrl-C, and an entry in sys.path."""
    path, handler = list(sys.path), signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        sys.path[:] = path
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


def stop_context(context: SparkContext) -> None:
    """Stop it; a JVM that has died already is no error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            context.stop()
        except (Py4JError, OSError):  # pyspark has not forgotten it yet, and does so now that it has no JVM
            context.stop()


def _check_reachable(master: str) -> None:
    """Refuse in seconds a standalone master that nobody answers for; Spark itself gives up after a minute."""
    reasons = refusals((host, int(port)) for host, port in re.findall(r"(?:^spark://|,)([^:,]+):(\d+)", master))
    if reasons:
        raise EngineError(f"no Spark master answers at {', '.join(reasons)}; start it, or mend --master {master}")


def wait_for_executor(context: SparkContext, timeout_s: float = EXECUTOR_TIMEOUT_S) -> None:
    """Wait until a cluster has given one executor; without any, Spark would let the first job wait for ever."""
    if not has_executors(context.master):
        return
    deadline = time.monotonic() + timeout_s
    while count_executors(context) < 1:
        if time.monotonic() > deadline:
            raise EngineError(
                f"{context.master} gave no executor within {timeout_s:.0f} s; it needs a live worker with free cores "
                "and memory: ask for fewer with --executor-cores and --executor-memory, or stop other applications"
            )
        time.sleep(0.1)
