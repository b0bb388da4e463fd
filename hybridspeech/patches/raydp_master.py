"""Lets RayDP run with authentication: of the connection to its master's JVM, and of Spark's ports.

Written against: raydp 1.6.5.

Reason: RayDP's master actor starts a JVM whose py4j server listens on loopback and requires no authentication. There is no
setting for it. The patch starts Spark's own py4j server in that JVM, which writes its port and a secret into a file that
only this user can read. RayDP also gives the driver another application id than the executors, so that with
`spark.authenticate` they refuse each other's blocks.

Without it: every local user can run code as the user who runs RayDP.

It can go when: RayDP's AppMasterEntryPoint requires an authentication token, and its scheduler backend has the id of its
executors.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

MAIN_CLASS = "org.apache.spark.api.python.PythonGatewayServer"
START_TIMEOUT_S = 120.0


def require_secret() -> None:
    """Patch RayDP's master actor; to be called on the driver before `raydp.init_spark`."""
    from raydp.spark.ray_cluster_master import RayDPSparkMaster

    RayDPSparkMaster.__ray_metadata__.modified_class._launch_gateway = launch_gateway


def launch_gateway(actor: Any, class_path: str, popen_options: dict[str, Any] | None = None) -> Any:
    """Replace RayDPSparkMaster._launch_gateway: start the JVM, and connect to it with its secret."""
    from py4j.java_gateway import GatewayParameters, JavaGateway

    with tempfile.TemporaryDirectory(dir=_logs_folder()) as folder:  # it goes with the Ray session if this is killed
        info = Path(folder) / "gateway"
        variables = {**os.environ, "_PYSPARK_DRIVER_CONN_INFO_PATH": str(info), "PYSPARK_PIN_THREAD": "false"}
        process = subprocess.Popen(
            [*_java_command(actor._configs), "-cp", class_path, MAIN_CLASS],
            **{**(popen_options or {}), "stdin": subprocess.PIPE, "env": variables, "preexec_fn": _ignore_interrupt},
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not info.is_file():  # renamed into place when it is complete
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise RuntimeError("the JVM of RayDP's master ended, or did not start in time")
            time.sleep(0.1)
        port, secret = _read_connection(info)
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=secret, auto_convert=True))
    gateway.proc = process
    gateway.entry_point = gateway.jvm.org.apache.spark.deploy.raydp.AppMasterEntryPoint()
    return gateway


def _ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver


def _java_command(configs: dict[str, str]) -> list[str]:
    """Return the command of the original function, without its class path and its main class."""
    from raydp import versions
    from raydp.spark import ray_cluster_master as original

    factory, log4j = original.SPARK_RAY_LOG4J_FACTORY_CLASS_KEY, original.RAY_LOG4J_CONFIG_FILE_NAME
    return [
        shutil.which("java") or "java",
        *shlex.split(configs.get(original.RAYDP_APPMASTER_EXTRA_JAVA_OPTIONS, "")),
        *shlex.split(os.environ.get("JAVA_OPTS", "")),
        f"-javaagent:{configs[original.SPARK_JAVAAGENT]}",
        f"-Dray.logging.dir={_logs_folder()}",
        f"-D{factory}={configs[factory]}",
        f"-D{versions.RAY_LOG4J_CONFIG_FILE_NAME_KEY}={configs[log4j]}",
    ]


def _logs_folder() -> str:
    """Return the folder for the logs of the Ray session."""
    import ray

    return str(ray._private.worker._global_node.get_logs_dir_path())


def _read_connection(info: Path) -> tuple[int, str]:
    """Read the port and the secret that PythonGatewayServer has written."""
    data = info.read_bytes()
    port, length = struct.unpack("!ii", data[:8])
    return port, data[8 : 8 + length].decode()


def unify_application_id(context: Any) -> None:
    """Give the driver's block transfers the application id that the executors have.

    With authentication each side refuses blocks to a client with another application id. RayDP's master gives the executors
    one id, and its scheduler backend lets the driver take another.
    """
    jvm, spark = context._jvm, context._jsc.sc()
    backend = spark.schedulerBackend()
    app_id = getattr(backend, backend.getClass().getName().replace(".", "$") + "$$appId")().get()
    service = jvm.org.apache.spark.SparkEnv.get().blockManager().blockTransferService()
    server = _field(_field(service, "transportContext"), "rpcHandler")
    _set_field(server, "appId", app_id)
    for bootstrap in _field(_field(service, "clientFactory"), "clientBootstraps"):
        _set_field(bootstrap, "appId", app_id)


def _declared_field(value: Any, name: str) -> Any:
    kind = value.getClass()
    while kind is not None:
        for field in kind.getDeclaredFields():
            if field.getName().rpartition("$")[2] == name:
                field.setAccessible(True)
                return field
        kind = kind.getSuperclass()
    raise AttributeError(f"{value.getClass().getName()} has no field {name!r}")


def _field(value: Any, name: str) -> Any:
    return _declared_field(value, name).get(value)


def _set_field(value: Any, name: str, content: str) -> None:
    _declared_field(value, name).set(value, content)
