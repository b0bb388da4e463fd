"""Checks that driver and workers see the same source and output. Knows nothing of engines and of how shards are made."""

from __future__ import annotations

import functools
import socket
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hybridspeech.errors import ConfigError, ShardError
from hybridspeech.manifest.columns.clip_table import ClipTable
from hybridspeech.shards.encoding import ShardRecord
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.write_errors import translate_write_errors
from hybridspeech.storage.locations import is_url, join

_WAIT_S = 3.0  # a network file system may show a new file late
_NUM_SAMPLES = 5


@dataclass(frozen=True, kw_only=True)
class SharedStorage:
    """What a worker must see if it shares the storage of the driver.

    `probe` is a file in the output with the content `nonce`; '' for an output on an object store. `samples` are a few
    files of the source; a worker must see at least one of them.
    """

    driver_host: str
    out: str
    probe: str
    nonce: str
    samples: tuple[str, ...] = ()

    def check(self) -> None:
        """Check once per process that this worker sees output and source.

        Raises
        ------
        ConfigError: it does not; the message names both hosts.
        """
        _check_once(self)


@contextmanager
def probed_storage(out: str, clips: ClipTable | None = None) -> Iterator[SharedStorage]:
    """Write a probe file with a random name and content into the output; remove it at the end.

    Raises
    ------
    ShardError: it can't be written.
    """
    name, nonce = (
        f".probe-{uuid.uuid4().hex}.tmp",
        uuid.uuid4().hex,
    )  # a killed job's file goes with its other .tmp files
    samples = _samples(clips) if clips else ()
    probe = "" if is_url(out) else join(out, name)
    if probe:
        with translate_write_errors(out):
            Path(probe).write_text(nonce, encoding="ascii")
    try:
        yield SharedStorage(driver_host=socket.gethostname(), out=out, probe=probe, nonce=nonce, samples=samples)
    finally:
        if probe:
            Path(probe).unlink(missing_ok=True)


def _samples(clips: ClipTable) -> tuple[str, ...]:
    """Return a few local files of the source."""
    drawn = clips[:: max(1, len(clips) // (10 * _NUM_SAMPLES))].values("path", "excerpt")
    paths = [path for path, excerpt in drawn if path and excerpt is None and not is_url(path)]
    return tuple(path for path in paths[:: max(1, len(paths) // _NUM_SAMPLES)][:_NUM_SAMPLES] if Path(path).is_file())


@functools.lru_cache(maxsize=8)
def _check_once(storage: SharedStorage) -> None:
    deadline = time.monotonic() + _WAIT_S
    while missing := _missing(storage):
        if time.monotonic() > deadline:
            raise ConfigError(
                f"{missing} of the driver (host {storage.driver_host}) is not visible to a worker (host "
                f"{socket.gethostname()}): it is not on shared storage; give a folder that all hosts mount at the same "
                "path, or a URL"
            )
        time.sleep(0.1)


def _missing(storage: SharedStorage) -> str:
    """Return the location that this host does not see; empty if it sees all."""
    if storage.probe and _read(storage.probe) != storage.nonce:
        return storage.out
    is_other_host = socket.gethostname() != storage.driver_host  # on the same host, removed files are rejects
    if is_other_host and storage.samples and not any(Path(path).is_file() for path in storage.samples):
        return f"the source file {storage.samples[0]}"
    return ""


def wait_until_complete(index: ShardIndex, records: Iterable[ShardRecord], out: str) -> None:
    """Check that the driver sees all shards that the workers have written.

    Raises
    ------
    ShardError: it does not; the message names the hosts that wrote the missing ones.
    """
    deadline = time.monotonic() + _WAIT_S
    while problems := index.incomplete(out):
        if time.monotonic() > deadline:
            hosts = sorted({record.host for record in records if any(record.info.name in text for text in problems)})
            raise ShardError(
                f"{problems[0]} (and {len(problems) - 1} more), as the driver (host {socket.gethostname()}) sees them; they "
                f"were written on {', '.join(hosts) or 'another host'}: the output is not on shared storage, or they were "
                "removed; give a folder that all hosts mount at the same path, then --resume"
            )
        time.sleep(0.1)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
