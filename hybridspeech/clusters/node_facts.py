"""Facts about the machine that a process runs on: software, resources, clock, storage and ports.

`collect_facts` runs on every node of a cluster. Knows nothing of Spark and Ray.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import psutil

from hybridspeech import __version__
from hybridspeech.clusters.java import find_java
from hybridspeech.errors import HybridspeechError
from hybridspeech.processes.resources import num_cores
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import read_bytes, write_bytes

PACKAGES = (
    "cloudpickle",
    "numpy",
    "numba",
    "librosa",
    "soundfile",
    "pyarrow",
    "pyspark",
    "ray",
    "raydp",
    "tensorflow",
    "tf-keras",
    "tensorflowonspark",
)
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "spark": ("pyspark",),
    "train": ("tensorflow", "tf_keras"),
    "tfos": ("tensorflowonspark",),
    "ray": ("ray", "raydp"),
    "pyav": ("av",),
    "s3": ("s3fs",),
    "gcs": ("gcsfs",),
    "azure": ("adlfs",),
}
"""Modules by which an extra is recognised."""
CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class StorageProbe:
    """A folder with a file that the driver has written, for the nodes to read.

    Parameters
    ----------
    folder : location
    content : of its file "driver"
    """

    folder: str
    content: str


@dataclass(frozen=True, kw_only=True)
class StorageFacts:
    """Access of a node to a location. `error` is empty if it can read the driver's file and write its own."""

    written: str = ""
    read_s: float = 0.0
    write_s: float = 0.0
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """Facts about one node.

    Parameters
    ----------
    node : its name: the host, and a number if there are several executors on it
    java : version and home, or why there is none
    has_java : whether Spark can use it
    shm_bytes, scratch_bytes : free bytes of /dev/shm (0: not there) and of the temporary folder
    started_at, finished_at : clock of the node, in seconds since the epoch
    peers : why a connection to another node failed, by its address; empty if it succeeded
    variables : environment variables that matter for clusters; secrets are given as "set"
    """

    node: str
    python: str
    executable: str
    hybridspeech: str
    packages: Mapping[str, str]
    extras: tuple[str, ...]
    java: str
    has_java: bool
    cores: int
    memory_bytes: int
    shm_bytes: int
    scratch: str
    scratch_bytes: int
    started_at: float
    finished_at: float
    storage: StorageFacts | None = None
    peers: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


def collect_facts(node: str, probe: StorageProbe | None = None, peers: Sequence[tuple[str, int]] = ()) -> NodeFacts:
    """Collect the facts of this machine.

    Parameters
    ----------
    node : its name
    probe : of the storage to check
    peers : (host, port) of listeners on other nodes
    """
    started_at = time.time()
    java, has_java = _java()
    scratch = tempfile.gettempdir()
    return NodeFacts(
        node=node,
        python=platform.python_version(),
        executable=sys.executable,
        hybridspeech=__version__,
        packages={name: version for name in PACKAGES if (version := _version(name))},
        extras=tuple(extra for extra, modules in EXTRAS.items() if all(map(importlib.util.find_spec, modules))),
        java=java,
        has_java=has_java,
        cores=num_cores(),
        memory_bytes=_memory_bytes(),
        shm_bytes=_free_bytes("/dev/shm"),
        scratch=scratch,
        scratch_bytes=_free_bytes(scratch),
        storage=_check_storage(node, probe) if probe else None,
        peers={f"{host}:{port}": _connection_error(host, port) for host, port in peers},
        variables=_variables(),
        started_at=started_at,
        finished_at=time.time(),
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _java() -> tuple[str, bool]:
    try:
        return str(find_java()), True
    except HybridspeechError as error:
        return str(error), False


def _memory_bytes() -> int:
    """Return the memory of this machine, or the limit of its control group (version 2) if that is lower."""
    total = int(psutil.virtual_memory().total)
    with contextlib.suppress(OSError, ValueError), open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:  # noqa: PTH123
        total = min(total, int(file.read()))
    return total


def _free_bytes(folder: str) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def _variables() -> dict[str, str]:
    """Return environment variables that matter for clusters; never the value of a secret."""
    shown = ("RAY_AUTH_MODE", "JDK_JAVA_OPTIONS", "TF_USE_LEGACY_KERAS", "SPARK_CONF_DIR")
    secret = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    found = {name: os.environ[name] for name in shown if name in os.environ}
    return {**found, **{name: "set" for name in secret if name in os.environ}}


def _check_storage(node: str, probe: StorageProbe) -> StorageFacts:
    written = f"node-{node.replace(':', '-').replace('/', '-')}-{uuid.uuid4().hex[:8]}"
    try:
        start = time.perf_counter()
        try:
            content = read_bytes(join(probe.folder, "driver"))
        except FileNotFoundError:
            return StorageFacts(error="the driver's file is not there: the location is not shared with this node")
        read_s = time.perf_counter() - start
        if content != probe.content.encode():
            return StorageFacts(error="the driver's file has other content here: this is not the same storage")
        start = time.perf_counter()
        write_bytes(join(probe.folder, written), probe.content)
        return StorageFacts(written=written, read_s=read_s, write_s=time.perf_counter() - start)
    except (OSError, HybridspeechError) as error:
        return StorageFacts(error=str(error))


def _connection_error(host: str, port: int) -> str:
    try:
        socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        return str(error)
    return ""


@contextlib.contextmanager
def listening(host: str) -> Iterator[int]:
    """Accept and close connections on a free port of `host` until the context ends; yields the port."""
    with socket.create_server((host, 0)) as server:
        server.settimeout(0.2)
        ended = threading.Event()

        def accept() -> None:
            while not ended.is_set():
                with contextlib.suppress(OSError):
                    server.accept()[0].close()

        thread = threading.Thread(target=accept, name="hybridspeech-listener", daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            ended.set()
            thread.join()
