"""Locations as text: a local path, or a URL of an object store. Touches no file and knows nothing of fsspec."""

from __future__ import annotations

import os
import re
from pathlib import Path

from hybridspeech.errors import ConfigError

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+):/+(?P<rest>.*)", re.DOTALL)
"""`pathlib` reduces the two slashes of a URL to one."""


def is_url(location: str | Path) -> bool:
    """Whether a location is a URL, such as ``s3://bucket/words``."""
    return _URL.match(os.fspath(location)) is not None


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
