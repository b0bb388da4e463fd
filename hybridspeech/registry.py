"""Plug-ins as data: a name, where its class lives, and the pip extra it needs. Imports a plug-in on first use.

Knows nothing of engines and backends; their tables stand in ``hybridspeech.engines`` and ``hybridspeech.backends``.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from hybridspeech.errors import ConfigError, MissingExtraError


@dataclass(frozen=True)
class Entry:
    """One plug-in.

    Parameters
    ----------
    target : "module:Class"
    extra : pip extra that the plug-in needs; None: it always works
    packages : modules of the extra that the plug-in imports later, perhaps in another process
    """

    target: str
    extra: str | None = None
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Registry:
    """A table of plug-ins of one kind (``kind`` is the noun used in messages)."""

    kind: str
    entries: Mapping[str, Entry]

    def names(self) -> list[str]:
        """Names in the table's order; importing none of them."""
        return list(self.entries)

    def load(self, name: str) -> Any:
        """Class of the plug-in called `name`.

        Raises
        ------
        ConfigError: there is no such name. MissingExtraError: its packages are not installed.
        """
        if name not in self.entries:
            raise ConfigError(f"{self.kind} {name!r} is unknown; choose one of {', '.join(self.entries)}")
        entry = self.entries[name]
        module, _, attribute = entry.target.partition(":")
        with requires(entry.extra, f"{self.kind} {name!r}"):
            for package in entry.packages:
                if importlib.util.find_spec(package) is None:
                    raise ModuleNotFoundError(f"No module named {package!r}", name=package)
            return getattr(importlib.import_module(module), attribute)


class requires:
    """Context in which a missing third-party package becomes a MissingExtraError that names the extra to install."""

    def __init__(self, extra: str | None, what: str) -> None:
        self.extra = extra
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        if self.extra and missing and not missing.startswith("hybridspeech"):
            raise MissingExtraError(missing_extra(self.extra, self.what, missing)) from error


def missing_extra(extra: str, what: str, package: str) -> str:
    """Return the message for a package that is missing because an extra is not installed."""
    return f"{what} needs the extra {extra!r} (the package {package!r} is not installed); run: {install_command(extra)}"


def install_command(extra: str) -> str:
    """Return the command that installs an extra from where this package was installed: a folder, a file or an index."""
    try:
        text = importlib.metadata.distribution("hybridspeech").read_text("direct_url.json")
        source = json.loads(text) if text else {}
    except (importlib.metadata.PackageNotFoundError, ValueError):
        source = {}
    url = source.get("url", "")
    if "dir_info" in source:
        editable = "-e " if source["dir_info"].get("editable") else ""
        return f"pip install {editable}{shlex.quote(f'{unquote(urlsplit(url).path)}[{extra}]')}"
    return f"pip install {shlex.quote(f'hybridspeech[{extra}] @ {url}' if url else f'hybridspeech[{extra}]')}"
