"""A connection to Ray: to the caller's own, to a cluster at an address, or to a Ray that is started on this machine.

Knows nothing of Spark, engines and backends.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import re
import secrets
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from hybridspeech.clusters.addresses import LOOPBACK, connection_errors
from hybridspeech.clusters.process_roles import cluster_processes, describe_stopped
from hybridspeech.errors import HybridspeechError, one_line
from hybridspeech.patches.ray_core import keep_to_loopback, local_options, reset_token
from hybridspeech.processes.environment import environment
from hybridspeech.processes.native_stderr import native_errors_captured
from hybridspeech.processes.resources import check_open_files
from hybridspeech.processes.supervision import end_all, process_tree
from hybridspeech.processes.time_limit import finishes_within, time_limit

END_TIMEOUT_S = 30.0
MIN_OPEN_FILES = 512


@dataclass(frozen=True, kw_only=True)
class RaySettings:
    """What a connection to Ray needs.

    Parameters
    ----------
    address : of a running cluster; None uses the caller's connection, else starts a Ray on this machine
    num_cpus, object_store_bytes : of a Ray that is started here
    environment : variables for all processes of a Ray that is started here
    runtime_env : Ray's description of the environment of its worker processes
    answer_timeout_s : how long Ray may take to start or to accept the connection
    verbose : show Ray's log on standard error
    error : class of the error if Ray can't be reached or started
    """

    address: str | None
    num_cpus: int
    object_store_bytes: int
    environment: Mapping[str, str] = field(default_factory=dict)
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    answer_timeout_s: float
    verbose: bool
    error: type[HybridspeechError]


def is_connected() -> bool:
    """Tell whether this process is connected to a Ray; does not import ray, which reads the environment when imported."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def ray_environment() -> dict[str, str]:
    """Return environment variables for a Ray that is started here; they must be set before ray is imported."""
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listen on 127.0.0.1 instead of on all interfaces
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # with the default of 15, other jobs of this machine leave them no time: false stalls
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the default of later versions; avoids a warning
    }


@contextlib.contextmanager
def ray_session(settings: RaySettings, scratch: Path) -> Iterator[Mapping[str, str]]:
    """Connect this process to Ray; a Ray that was started here has ended afterwards.

    Parameters
    ----------
    scratch : folder with a short path for the files of a Ray that is started here; the caller removes it

    Yields
    ------
    environment variables that other processes need to connect to the same Ray

    Raises
    ------
    settings.error: the address does not answer, Ray refuses, or does not start.
    """
    if is_connected():
        if settings.address is not None:
            raise settings.error(
                f"this process is connected to a Ray already, and {settings.address} was asked for; "
                "call ray.shutdown() first, or leave out the address"
            )
        yield {}
    elif settings.address is not None:
        with _joined(settings, settings.address, scratch):
            yield {}
    else:
        with _started(settings, scratch) as variables:
            yield variables


@contextlib.contextmanager
def _joined(settings: RaySettings, address: str, scratch: Path) -> Iterator[None]:
    _check_address_answers(settings, address)
    import ray

    with native_errors_captured() as output:
        try:
            with ray_answers_within(settings.answer_timeout_s, settings.error, scratch):
                ray.init(address=address, **_common_options(settings))
        except Exception as error:  # Ray raises errors of many classes here
            ray.shutdown()
            if "InvalidAuthToken" in output() or "authentication token" in str(error):
                raise settings.error(
                    f"the Ray at --ray-address {address} refused this driver: its token is wrong or missing; set "
                    "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to the token of the cluster"
                ) from error
            if isinstance(error, settings.error):
                raise
            advice = "; use this Python and this Ray on every node" if "Version mismatch" in str(error) else ""
            raise settings.error(f"the Ray at {address} can't be joined: {one_line(error)}{advice}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _started(settings: RaySettings, scratch: Path) -> Iterator[Mapping[str, str]]:
    check_open_files(MIN_OPEN_FILES, "Ray")
    variables = {**settings.environment, **ray_environment(), **_token()}
    with contextlib.ExitStack() as stack:
        with environment(variables):
            reset_token()
            stack.callback(reset_token)
            stack.callback(_end_ray, scratch)
            keep_to_loopback()
            options = {
                "address": "local",  # start a new one, also if RAY_ADDRESS names a running one
                "num_cpus": settings.num_cpus,
                "num_gpus": 0,
                "object_store_memory": settings.object_store_bytes,
                "include_dashboard": False,
                **local_options(scratch, LOOPBACK),
                **_common_options(settings),
            }
            try:
                with ray_answers_within(settings.answer_timeout_s, settings.error, scratch):
                    _init_twice(options)
            except settings.error:
                raise
            except Exception as error:
                raise settings.error(f"Ray did not start on this machine: {one_line(error)}") from error
        yield variables


def _init_twice(options: Mapping[str, Any]) -> None:
    import ray

    try:
        ray.init(**options)
    except Exception:  # noqa: BLE001 - its time limit is 30 s, and a busy machine may need longer
        ray.shutdown()
        ray.init(**options)


@contextlib.contextmanager
def ray_answers_within(timeout_s: float, error: type[HybridspeechError], scratch: Path) -> Iterator[None]:
    """End the body if it takes longer: kill the Ray that was started in `scratch`, and interrupt the main thread.

    Raises
    ------
    error: it took longer; names a process that is stopped.
    """
    stopped: list[str] = []
    is_main = threading.current_thread() is threading.main_thread()

    def end() -> None:
        roles = cluster_processes(os.getpid())
        stopped.append(describe_stopped(roles, roles))
        end_all(ray_processes(scratch))
        if is_main:  # Ray's calls return at Ctrl-C, but some wait for a killed process for ever
            _thread.interrupt_main()

    try:
        with time_limit(timeout_s, end):
            yield
    except TimeoutError as expired:
        raise error(f"Ray did not answer within {timeout_s:g} s{''.join(stopped)}") from expired


def _common_options(settings: RaySettings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "log_to_driver": settings.verbose,
        "logging_level": "INFO" if settings.verbose else "ERROR",
    }
    return {**options, "runtime_env": dict(settings.runtime_env)} if settings.runtime_env else options


def _token() -> dict[str, str]:
    """Return a token for a Ray that is started here, unless the caller has set one; else Ray writes one to HOME."""
    if "RAY_AUTH_MODE" in os.environ:
        return {}
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def _check_address_answers(settings: RaySettings, address: str) -> None:
    """Refuse within seconds an address that does not answer; Ray itself takes minutes."""
    found = re.findall(r"^(?:ray://)?([^:/]+):(\d+)$", address)
    reasons = connection_errors((host, int(port)) for host, port in found)
    if reasons:
        raise settings.error(f"no Ray answers at {reasons[0]}; start it, correct --ray-address, or leave it out")


def _end_ray(scratch: Path) -> None:
    import ray

    processes = ray_processes(scratch)
    finishes_within(END_TIMEOUT_S, ray.shutdown)
    _, alive = psutil.wait_procs(processes, timeout=10)
    end_all(alive)


def ray_processes(scratch: Path) -> list[psutil.Process]:
    """List the processes of a Ray with its files in `scratch` that this process has started, with their descendants."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any(str(scratch) in argument for argument in child.cmdline()):
                found += process_tree(child.pid)
    return found
