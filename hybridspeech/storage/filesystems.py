"""The fsspec file system of a URL, made in the process that uses it. Knows nothing of what is stored.

A file system object holds threads and connections, which do not survive a fork, so each process makes its own.
Credentials come from the environment of the process, as the library of the store finds them.
"""

from __future__ import annotations

import importlib
import os
import threading
from dataclasses import dataclass
from typing import Any

from hybridspeech.errors import ConfigError, MissingExtraError
from hybridspeech.registry import missing_extra
from hybridspeech.storage.locations import root_and_key, scheme_of

EXTRAS = {
    "s3": ("s3fs", "s3"),
    "s3a": ("s3fs", "s3"),
    "gs": ("gcsfs", "gcs"),
    "gcs": ("gcsfs", "gcs"),
    "abfs": ("adlfs", "azure"),
    "abfss": ("adlfs", "azure"),
    "az": ("adlfs", "azure"),
}
"""Scheme -> the package that reads it, and the extra that installs that package."""
TESTED = ("s3", "memory")
TIMEOUT_VARIABLE = "HYBRIDSPEECH_STORAGE_TIMEOUT_S"
DEFAULT_TIMEOUT_S = 30.0
MAX_CONNECTIONS = 64

_made: dict[tuple[int, str], Store] = {}
_making = threading.Lock()


@dataclass(frozen=True, kw_only=True, eq=False)
class Store:
    """A file system of this process, and the path of the bucket or container in it."""

    fs: Any
    root: str

    def path(self, key: str) -> str:
        """Return the path of a key, as the file system expects it."""
        return f"{self.root}/{key}" if key else self.root


def open_store(url: str) -> tuple[Store, str]:
    """Return the store of a normalized URL, one for each process and bucket, and the key of the URL.

    Raises
    ------
    MissingExtraError: the package for this scheme is not installed. ConfigError: fsspec does not know the scheme.
    """
    root, key = root_and_key(url)
    with _making:
        store = _made.get((os.getpid(), root))
        if store is None:
            store = _made[os.getpid(), root] = _make(root)
    return store, key


def forget_stores() -> None:
    """Make new file systems from now on, for an environment that has changed."""
    with _making:
        _made.clear()


def untested_note(url: str) -> str | None:
    """Return a sentence for the user if this scheme was never tested, else None."""
    scheme = scheme_of(url)
    return None if scheme in TESTED else f"{scheme}:// has not been tested with hybridspeech; s3:// has"


def request_timeout_s() -> float:
    """Return the time without an answer after which a request is repeated, in seconds.

    Raises
    ------
    ConfigError: the environment variable is not a number above 0.
    """
    text = os.environ.get(TIMEOUT_VARIABLE, "")
    try:
        timeout_s = float(text or DEFAULT_TIMEOUT_S)
    except ValueError:
        timeout_s = 0.0
    if not timeout_s > 0:
        raise ConfigError(f"{TIMEOUT_VARIABLE} is {text!r}; expected a number of seconds above 0")
    return timeout_s


def _make(root: str) -> Store:
    scheme = scheme_of(root)
    package, extra = EXTRAS.get(scheme, ("fsspec", "s3"))
    try:
        importlib.import_module(package)
        import fsspec.core
    except ImportError as error:
        raise MissingExtraError(missing_extra(extra, root, error.name or package)) from error
    try:
        fs, path = fsspec.core.url_to_fs(root, use_listings_cache=False, skip_instance_cache=True, **_options(package))
    except ImportError as error:
        raise MissingExtraError(f"{root}: needs the package {error.name or scheme!r}; install it") from error
    except ValueError as error:
        raise ConfigError(f"{root}: {error}; expected s3://, gs://, abfs:// or a local path") from error
    if package == "s3fs":
        fs.retries = 1  # `retries` repeats requests; both together would multiply the attempts
    return Store(fs=fs, root=path.rstrip("/"))


def _options(package: str) -> dict[str, Any]:
    if package != "s3fs":
        return {}
    timeout_s = request_timeout_s()
    config = {
        "connect_timeout": min(timeout_s, 10.0),
        "read_timeout": timeout_s,
        "max_pool_connections": MAX_CONNECTIONS,
        "retries": {"total_max_attempts": 1},
    }
    return {"config_kwargs": config}
