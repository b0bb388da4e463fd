"""An archive with a Python interpreter, packages and hybridspeech, for nodes that have none of them.

`clusters.pack` writes such archives. This module reads and checks their manifest, and has the settings by which Spark and
Ray use an archive. Knows nothing of how an archive is built.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hybridspeech.clusters.spark_settings import executor_environment, is_started_here
from hybridspeech.errors import ConfigError
from hybridspeech.records import from_json

MANIFEST_NAME = "environment.json"
"""The first member of the archive."""
SPARK_FOLDER = "environment"
"""Name of the folder into which Spark unpacks the archive, in the working directory of every executor."""
PYTHON = "bin/python"
"""The interpreter, relative to the unpacked archive."""
SUFFIXES = (".tar.gz", ".tgz")
MUST_AGREE = ("cloudpickle", "pyspark", "ray", "raydp", "tensorflow", "tf-keras", "tensorflowonspark")
"""Packages whose versions must be equal on the driver and on the nodes: they exchange pickles or protocols."""


@dataclass(frozen=True, kw_only=True)
class PackedEnvironment:
    """What an archive holds.

    Parameters
    ----------
    hybridspeech, python : versions
    machine : architecture, as `platform.machine` returns it
    glibc : version of the C library of the machine that packed it; nodes need this one or a later one
    extras : extras of hybridspeech that are in it
    packages : version of each distribution, by name
    num_files, num_bytes : of the unpacked archive
    """

    hybridspeech: str
    python: str
    machine: str
    glibc: str
    extras: tuple[str, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)
    num_files: int = 0
    num_bytes: int = 0


def read_manifest(archive: Path) -> PackedEnvironment:
    """Read the manifest of an archive.

    Raises
    ------
    ConfigError: the file is not there, or `hybridspeech pack` did not write it.
    """
    if not archive.is_file():
        raise ConfigError(f"{archive}: no such file; expected an archive that `hybridspeech pack` wrote")
    try:
        with tarfile.open(archive, "r|gz") as members:
            first = members.next()
            content = members.extractfile(first) if first is not None and first.name == MANIFEST_NAME else None
            if content is None:
                raise ConfigError(f"{archive}: holds no {MANIFEST_NAME}; pack an environment with `hybridspeech pack`")
            return from_json(PackedEnvironment, json.load(content))
    except (tarfile.TarError, OSError, EOFError, ValueError, TypeError) as error:
        raise ConfigError(f"{archive}: not a readable environment ({error}); pack it again") from error


def check_environment(environment: str) -> None:
    """Check that the driver can work with nodes that use this archive. An archive behind a URL is not opened.

    Raises
    ------
    ConfigError: it is no archive, was packed for another kind of machine, or differs from the driver's environment in
        the version of Python, hybridspeech or a package that both sides must share.
    """
    if not environment.endswith(SUFFIXES):
        raise ConfigError(f"--environment {environment}: expected the path or URL of a {' or '.join(SUFFIXES)} archive")
    if "://" in environment:
        return
    packed = read_manifest(Path(environment))
    here = {
        "Python": _minor(platform.python_version()),
        "machine": platform.machine(),
        "hybridspeech": _installed("hybridspeech"),
    }
    there = {"Python": _minor(packed.python), "machine": packed.machine, "hybridspeech": packed.hybridspeech}
    for name in MUST_AGREE:
        if name in packed.packages and (version := _installed(name)):
            here[name], there[name] = version, packed.packages[name]
    differing = [f"{name} {there[name]}, the driver has {here[name]}" for name in here if here[name] != there[name]]
    if differing:
        raise ConfigError(f"{environment}: holds {'; '.join(differing)}; pack the driver's environment again")


def check_holds(environment: str, *packages: str) -> None:
    """Check that an archive holds the packages that a backend needs on the nodes. An archive behind a URL is not opened.

    Raises
    ------
    ConfigError: one is missing, or as `check_environment`.
    """
    check_environment(environment)
    if "://" in environment:
        return
    packed = read_manifest(Path(environment)).packages
    missing = [name for name in packages if name not in packed]
    if missing:
        raise ConfigError(f"{environment}: does not hold {', '.join(missing)}; pack it again with --extras")


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def spark_environment_settings(environment: str | None, master: str) -> dict[str, str]:
    """Return Spark settings by which executors unpack the archive and run its Python; none without an archive.

    Parameters
    ----------
    environment : path or URL of the archive; Spark sends a local file to the executors
    master : master of the session

    Raises
    ------
    ConfigError: the master has no executors on other machines.
    """
    if environment is None:
        return {}
    if is_started_here(master):
        raise ConfigError(
            f"--environment is for the nodes of a cluster, and master {master} runs on this machine; leave it out"
        )
    path = environment if "://" in environment else str(Path(environment).absolute())
    archives = "spark.yarn.dist.archives" if master.startswith("yarn") else "spark.archives"
    return {
        archives: f"{path}#{SPARK_FOLDER}",
        "spark.pyspark.python": f"./{SPARK_FOLDER}/{PYTHON}",
        **executor_environment({"PYTHONPATH": ""}),  # paths of the driver's machine would come before the archive's
    }


def ray_runtime_env(environment: str | None, ray_address: str | None) -> dict[str, str]:
    """Return entries of a Ray ``runtime_env`` by which workers unpack the archive and run its Python; none without one.

    Parameters
    ----------
    environment : a URL that every node can read (``s3://``, ``gs://``, ``https://``), or a path that every node shares
    ray_address : address of the cluster

    Raises
    ------
    ConfigError: there is no cluster: Ray is started on this machine.
    """
    if environment is None:
        return {}
    if ray_address is None:
        raise ConfigError("--environment is for the nodes of a cluster; give its --ray-address, or leave it out")
    uri = environment if "://" in environment else Path(environment).absolute().as_uri()
    return {"working_dir": uri, "py_executable": f"./{PYTHON}"}
