"""Locations as text: a local path, or a URL of an object store. Touches no file and knows nothing of fsspec."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from hybridspeech.errors import ConfigError

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+):/+(?P<host>[^/]*)(?P<key>.*)", re.DOTALL)
"""`pathlib` reduces the two slashes of a URL to one."""
_LOCAL = re.compile(r"(?:file|local):/+(?P<path>.*)", re.DOTALL)


def is_url(location: str | Path) -> bool:
    """Whether a location is a URL, such as ``s3://bucket/words``."""
    return _URL.match(os.fspath(location)) is not None


def normalized(location: str | Path) -> str:
    """Return a URL as ``scheme://host/key`` without a trailing slash, or an absolute local path.

    ``file://`` URLs are local paths.

    Raises
    ------
    ConfigError: a URL has no bucket, a segment ``.`` or ``..``, or a user name with a password.
    """
    text = os.fspath(location)
    if local := _LOCAL.fullmatch(text):
        return "/" + local["path"]
    url = _URL.fullmatch(text)
    if url is None:
        return os.path.abspath(text)  # noqa: PTH100 - Path.resolve follows links
    if "@" in url["host"] and ":" in url["host"].partition("@")[0]:
        raise ConfigError(f"a {url['scheme']} URL contains a password; give credentials in the environment instead")
    segments = [segment for segment in url["key"].split("/") if segment]
    if not url["host"] or {".", ".."} & set(segments):
        raise ConfigError(f"{text}: expected {url['scheme']}://BUCKET/NAME, without '.' and '..'")
    return "/".join([f"{url['scheme']}://{url['host']}", *segments])


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name, relative to a location, matches one of the patterns; ``*`` stands for ``/`` too."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def root_and_key(url: str) -> tuple[str, str]:
    """Split a URL into ``scheme://host`` and the key behind it, without a slash in front."""
    root, _, key = url.partition(":")[2].lstrip("/").partition("/")
    return f"{scheme_of(url)}://{root}", key


def scheme_of(url: str) -> str:
    """Return the scheme of a URL, e.g. ``s3``."""
    return url.partition(":")[0]


def join(location: str | Path, *names: str) -> str:
    """Append names, which may contain slashes, to a location."""
    return "/".join([_text(location).rstrip("/"), *names])


def parent_and_name(location: str | Path) -> tuple[str, str]:
    """Split a location at its last slash."""
    parent, _, name = _text(location).rstrip("/").rpartition("/")
    return parent, name


def _text(location: str | Path) -> str:
    """Return a location as text; a URL has two slashes again, of which `pathlib` leaves one."""
    text = os.fspath(location)
    url = _URL.fullmatch(text)
    return f"{url['scheme']}://{url['host']}{url['key']}" if url and not _LOCAL.fullmatch(text) else text


def refuse_urls(**locations: str | Path | None) -> None:
    """Check that all locations are local.

    Parameters
    ----------
    locations : by the name that the user knows, e.g. ``SHARDS``; None is passed over

    Raises
    ------
    ConfigError: one is a URL.
    """
    for name, location in locations.items():
        if location is not None and is_url(location):
            raise ConfigError(f"{location}: {name} can't be a URL here; give a local path")
