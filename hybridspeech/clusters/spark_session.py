"""A Spark session in a separate JVM: it starts, its executors register, and it ends and leaves nothing.

Knows nothing of engines, backends and Ray.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException

from hybridspeech.clusters.addresses import connection_errors
from hybridspeech.clusters.cluster_managers import is_submitted
from hybridspeech.clusters.process_roles import cluster_processes, describe_stopped
from hybridspeech.clusters.spark_conf_folder import write_conf_folder
from hybridspeech.clusters.spark_errors import JVM_ENDED, REFUSED_ADVICE, is_refused, spark_cause
from hybridspeech.clusters.spark_settings import (
    authentication_settings,
    find_spark,
    is_on_this_machine,
    is_started_here,
    master_addresses,
    spark_environment,
)
from hybridspeech.errors import HybridspeechError
from hybridspeech.patches.pyspark_context import (
    active_context,
    count_executors,
    current_gateway,
    exchange_gateway,
    start_jvm,
)
from hybridspeech.processes.environment import environment
from hybridspeech.processes.periodic import PeriodicCall
from hybridspeech.processes.resources import check_open_files
from hybridspeech.processes.supervision import end_all, process_tree
from hybridspeech.processes.time_limit import finishes_within, time_limit

POLL_S = 0.1
END_TIMEOUT_S = 30.0
MIN_OPEN_FILES = 512
"""A JVM of Spark opens about 300 archives."""
_ADVICE = {
    "BindException": "; choose another port, or leave the setting out",
    "invalid null input: name": (
        "; this user has no entry in the table of users (/etc/passwd), which Spark's login needs: add one"
    ),
    "A secret key must be specified": "; write it to spark-defaults.conf in SPARK_CONF_DIR, where only you can read it",
}


@dataclass(frozen=True, kw_only=True)
class SparkSettings:
    """What a Spark session needs.

    Parameters
    ----------
    conf : Spark settings, with ``spark.master``
    num_executors : number of executors to wait for; 0 does not wait
    start_timeout_s : how long to wait for them
    executor_advice : what to do if too few register, for the message
    answer_timeout_s : how long the JVM may take to start and to answer until then
    verbose : show the output of the JVM on standard error; else it goes to a file in the scratch folder
    error : class of the error if Spark does not start
    """

    conf: Mapping[str, str]
    num_executors: int
    start_timeout_s: float
    executor_advice: str
    answer_timeout_s: float
    verbose: bool
    error: type[HybridspeechError]

    @property
    def master(self) -> str:
        """The master URL."""
        return self.conf["spark.master"]


@contextlib.contextmanager
def spark_session(settings: SparkSettings, scratch: Path) -> Iterator[SparkContext]:
    """Open a SparkContext in a new JVM; both have ended afterwards.

    A JVM that pyspark has used before in this process is put aside, and put back afterwards.

    Parameters
    ----------
    scratch : folder for Spark's files; the caller removes it

    Raises
    ------
    settings.error: the master does not answer, Spark does not start, or too few executors register.
    JavaError: there is no Java that Spark can use.
    """
    _check_master_answers(settings)
    check_open_files(MIN_OPEN_FILES, "Spark")
    settings = replace(settings, conf={**authentication_settings(settings.master), **settings.conf})
    with private_jvm():
        with answers_within(settings.answer_timeout_s, settings.error):
            context = _start(settings, scratch)
        try:
            with answers_within(settings.start_timeout_s + settings.answer_timeout_s, settings.error):
                wait_for_executors(context, settings)
            yield context
        finally:
            stop_context(context)


def _check_master_answers(settings: SparkSettings) -> None:
    """Refuse within seconds a standalone master that does not answer; Spark itself waits for a minute."""
    reasons = connection_errors(master_addresses(settings.master))
    if reasons:
        raise settings.error(
            f"no Spark master answers at {', '.join(reasons)}; start it, or correct --master {settings.master}"
        )


def _start(settings: SparkSettings, scratch: Path) -> SparkContext:
    variables = spark_environment(scratch, loopback=is_on_this_machine(settings.master))
    variables["PYSPARK_PYTHON"] = settings.conf.get("spark.pyspark.python", variables["PYSPARK_PYTHON"])
    if is_started_here(settings.master) and not is_submitted():
        variables["SPARK_HOME"] = str(_linked_home(Path(variables["SPARK_HOME"]), scratch))
    variables["SPARK_CONF_DIR"] = str(scratch / "conf")
    original = Path(os.environ.get("SPARK_CONF_DIR") or find_spark() / "conf")
    write_conf_folder(settings.conf, original, scratch / "conf")
    conf = SparkConf(loadDefaults=False).setAll(list(settings.conf.items()) if is_submitted() else [])
    log_path = scratch / "spark.log"
    with log_path.open("wb") as log, environment(variables), unchanged_process():
        output = {"stdout": 2} if settings.verbose else {"stdout": log, "stderr": log}
        try:
            start_jvm(conf, output)  # the settings are in SPARK_CONF_DIR, for a JVM that is started here
            with PeriodicCall(lambda: _kill_if_refused(log_path), POLL_S, "refusal by the master"):
                return SparkContext(conf=conf)
        except (Py4JError, PySparkException, OSError, ValueError) as error:
            if is_refused(_text(log_path)):
                raise settings.error(
                    f"Spark at --master {settings.master} refused this driver; {REFUSED_ADVICE}"
                ) from error
            reason = spark_cause(error) if current_gateway() else _last_error(log_path) or spark_cause(error)
            advice = next((text for sign, text in _ADVICE.items() if sign in str(error) + reason), "")
            raise settings.error(f"Spark did not start with master {settings.master}: {reason}{advice}") from error


def _linked_home(home: Path, scratch: Path) -> Path:
    """Make a SPARK_HOME of links: executors of local-cluster write below it, and must not write to the installed package."""
    linked = scratch / "spark"
    linked.mkdir(exist_ok=True)
    for entry in home.iterdir():
        if entry.name != "work" and not (linked / entry.name).is_symlink():  # "work" is the folder that they write to
            (linked / entry.name).symlink_to(entry)
    return linked


def _last_error(log: Path) -> str:
    """Return the exception in the log of a JVM that ended before it could report one, else its last line."""
    text = _text(log).strip()
    found = re.search(r"^(?:Exception in thread \S+ )?[\w.$]*(?:Exception|Error): *(.+)$", text, re.MULTILINE)
    return found.group(1) if found else text.rpartition("\n")[2]


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def _kill_if_refused(log: Path) -> None:
    """Kill the JVM if the master has refused it: Spark itself waits for a minute."""
    if is_refused(_text(log)):
        _kill_jvm()


@contextlib.contextmanager
def private_jvm() -> Iterator[None]:
    """Let pyspark start a new JVM, and end it afterwards; one that was there before is put aside and put back."""
    launchers_before = _spark_launchers()
    before = exchange_gateway(None)
    try:
        yield
    finally:
        gateway = exchange_gateway(before)
        if gateway is None:  # interrupted during its start: pyspark does not have it yet
            end_all([process for process in _spark_launchers() if process not in launchers_before])
        elif gateway.proc is not None:  # under spark-submit the JVM belongs to the caller
            processes = process_tree(gateway.proc.pid)
            finishes_within(END_TIMEOUT_S, gateway.shutdown)
            gateway.proc.stdin.close()  # the JVM ends when its standard input does
            _, alive = psutil.wait_procs(processes, timeout=10)
            end_all(alive)
            gateway.proc.wait(timeout=10)


def _spark_launchers() -> list[psutil.Process]:
    """List the JVMs that pyspark has started from this process, and the scripts that are about to start one."""
    found = []
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "spark" in " ".join(process.cmdline()).lower():
                found.append(process)
    return found


@contextlib.contextmanager
def unchanged_process() -> Iterator[None]:
    """Undo what the start of a SparkContext changes in this process: the handler of Ctrl-C, and sys.path."""
    path, handler = list(sys.path), signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        sys.path[:] = path
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def answers_within(timeout_s: float, error: type[HybridspeechError]) -> Iterator[None]:
    """Kill the session's JVM if the body takes longer: its calls then fail instead of waiting for ever.

    A JVM of the caller, which was running before, is left alone.

    Raises
    ------
    error: it took longer; names a process that is stopped.
    """
    stopped: list[str] = []
    before = _spark_launchers()

    def kill_jvm() -> None:
        roles = cluster_processes(os.getpid())
        stopped.append(describe_stopped(roles, roles))
        _kill_jvm(before)

    try:
        with time_limit(timeout_s, kill_jvm):
            yield
    except TimeoutError as expired:
        raise error(f"Spark did not answer within {timeout_s:g} s{''.join(stopped)}") from expired


def _kill_jvm(before: Sequence[psutil.Process] = ()) -> None:
    """Kill the JVM that pyspark uses now or, if it has none yet, the ones that were started after `before`.

    Does not wait for its end: pyspark polls the JVM that it starts, and polls for ever if another thread has reaped it.
    """
    gateway = current_gateway()
    if gateway is None:
        roots = [process.pid for process in _spark_launchers() if process not in before]
    else:
        roots = [] if gateway.proc is None else [gateway.proc.pid]  # under spark-submit the JVM belongs to the caller
    for process in [process for root in roots for process in process_tree(root)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def stop_context(context: SparkContext) -> None:
    """Stop a SparkContext, also if its JVM has ended or does not answer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        if not finishes_within(END_TIMEOUT_S, context.stop):
            _kill_jvm()
        for _ in range(3):  # the JVM has ended: further calls, without it, remove the context from pyspark
            if active_context() is None:
                break
            finishes_within(END_TIMEOUT_S, context.stop)


def wait_for_executors(context: SparkContext, settings: SparkSettings) -> None:
    """Wait until enough executors have registered; without them Spark would let the first job wait for ever.

    Raises
    ------
    settings.error: too few have registered in time, or the JVM has ended, e.g. because the master refused it.
    """
    deadline = time.monotonic() + settings.start_timeout_s
    while (found := _count_executors(context, settings)) < settings.num_executors:
        if time.monotonic() > deadline:
            raise settings.error(
                f"Spark at {context.master} gave {found} of {settings.num_executors} executors within "
                f"{settings.start_timeout_s:.0f} s; {settings.executor_advice}"
            )
        time.sleep(POLL_S)


def _count_executors(context: SparkContext, settings: SparkSettings) -> int:
    try:
        return count_executors(context)
    except (Py4JError, OSError) as error:
        advice = f"; or the master refused it: {REFUSED_ADVICE}" if master_addresses(context.master) else ""
        raise settings.error(f"{JVM_ENDED}{advice}") from error
