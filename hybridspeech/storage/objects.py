"""Files of a location: list, read, write atomically, create exclusively, delete. Knows nothing of their content.

The same functions serve local paths and URLs. A local path never imports fsspec. A reader sees the complete file or none:
a local one is published by rename, an object is uploaded in one request and its size is compared afterwards.

A missing file is a FileNotFoundError everywhere. Other errors of a local path are OSErrors, those of a store StorageErrors.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hybridspeech.errors import StorageError
from hybridspeech.storage.filesystems import Store, open_store
from hybridspeech.storage.locations import is_url, join, parent_and_name
from hybridspeech.storage.retries import NO_BUCKET, Incomplete, retried
from hybridspeech.storage.s3_listing import NotListed, list_objects
from hybridspeech.storage.s3_requests import direct_requests
from hybridspeech.storage.small_files import write_atomically


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStat:
    """A file below a location: its path from there, its size, and a text that differs once its content has changed."""

    name: str
    num_bytes: int
    version: str


def list_files(location: str, prefix: str = "") -> list[FileStat]:
    """List the files below a location whose names begin with `prefix`, sorted by name; empty if there are none.

    Without `prefix` at any depth, else directly in the location.
    """
    if not is_url(location):
        return [stat for stat in _list_folder(Path(location)) if stat.name.startswith(prefix)]
    store, key = open_store(location)
    with contextlib.suppress(NotListed):
        return _list_directly(location, store, key, prefix)
    found = retried(lambda: _find(store, key, prefix), location)
    top = store.path(key).strip("/") + "/"
    paths = {path.strip("/"): info for path, info in found.items() if not path.endswith("/")}
    names = {path.removeprefix(top): info for path, info in paths.items() if path.startswith(top)}
    return [
        FileStat(name=name, num_bytes=int(info["size"]), version=_version(info))
        for name, info in sorted(names.items())
        if name.startswith(prefix)
    ]


def list_names(location: str) -> list[str]:
    """List the names directly in a location, sorted: of a local folder those of folders too, of a store those of files."""
    if is_url(location):
        return [stat.name for stat in list_files(location) if "/" not in stat.name]
    return sorted(os.listdir(location)) if Path(location).is_dir() else []  # noqa: PTH208 - names


def list_folder_names(location: str) -> list[str]:
    """List the names directly in a location, sorted; those of folders end with a slash. Nothing below them is listed."""
    if not is_url(location):
        with os.scandir(location) as items:
            return sorted(f"{item.name}/" if item.is_dir(follow_symlinks=False) else item.name for item in items)
    store, key = open_store(location)
    path = store.path(key)

    def listed() -> list[str]:
        try:
            found = store.fs.ls(path, detail=True)
        except FileNotFoundError:
            return []
        names = ((item["name"].rstrip("/").rpartition("/")[2], item["type"] == "directory") for item in found)
        return sorted(f"{name}/" if is_folder else name for name, is_folder in names)

    return retried(listed, location)


def stat_file(location: str) -> FileStat:
    """Return the size and version of one file.

    Raises
    ------
    FileNotFoundError: there is none.
    """
    if not is_url(location):
        status = os.stat(location)  # noqa: PTH116 - for millions of files, a Path each takes a third of the time
        return FileStat(name=parent_and_name(location)[1], num_bytes=status.st_size, version=str(status.st_mtime_ns))
    store, key = open_store(location)
    info = retried(lambda: _info(store, key), location)
    return FileStat(name=key.rpartition("/")[2], num_bytes=int(info["size"]), version=_version(info))


def is_file(location: str) -> bool:
    """Whether there is a file at this location."""
    if not is_url(location):
        return os.path.isfile(location)  # noqa: PTH113 - Path raises an error for a name that is too long
    try:
        stat_file(location)
    except FileNotFoundError:
        return False
    return True


def exists(location: str) -> bool:
    """Whether there is a file, or locally anything, at this location."""
    return is_file(location) if is_url(location) else os.path.exists(location)  # noqa: PTH110 - a name may be too long


def read_bytes(location: str, after: Exception | None = None) -> bytes:
    """Return the content of a file.

    Parameters
    ----------
    after : error of an attempt that counts as the first

    Raises
    ------
    FileNotFoundError: there is none.
    """
    if not is_url(location):
        return Path(location).read_bytes()
    store, key = open_store(location)
    failed = [after] if after else []

    def read() -> bytes:
        if failed:
            raise failed.pop()
        requests = direct_requests(store)
        content = requests.read(key) if requests else None
        if content is None:
            content = store.fs.cat_file(store.path(key))
        return cast("bytes", content)

    return retried(read, location)


def write_bytes(location: str, content: str | bytes) -> None:
    """Write a file atomically; it replaces an existing one. The folder of a local path must exist."""
    data = content.encode() if isinstance(content, str) else content
    if not is_url(location):
        write_atomically(Path(location), data)
        return
    store, key = open_store(location)

    def put() -> None:
        requests = direct_requests(store)
        if not (requests and requests.write(key, data)):
            store.fs.pipe_file(store.path(key), data)
            _check_size(store, key, len(data))

    retried(put, location)


def upload(path: Path, location: str) -> None:
    """Copy a local file to a URL, in one request (or in parts that the store joins at the end).

    Raises
    ------
    StorageError: the store refused it, or holds another size than the file's.
    """
    store, key = open_store(location)

    def put() -> None:
        requests = direct_requests(store)
        if not (requests and requests.write(key, path)):
            store.fs.put_file(os.fspath(path), store.path(key))
            _check_size(store, key, path.stat().st_size)

    retried(put, location)


def put_file(path: Path, location: str) -> None:
    """Copy a local file to a location, which has the complete file or none; a local folder is created.

    Raises
    ------
    OSError, StorageError: it can't be written.
    """
    if is_url(location):
        upload(path, location)
        return
    target = Path(location)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        shutil.copyfile(path, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def download(location: str, path: Path, num_bytes: int | None = None) -> None:
    """Copy a file of a URL to a local path, which appears only when it is complete.

    Parameters
    ----------
    num_bytes : size that is expected; None: the size that the store gives
    """
    store, key = open_store(location)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")

    def get() -> None:
        expected = int(_info(store, key)["size"]) if num_bytes is None else num_bytes
        store.fs.get_file(store.path(key), os.fspath(temporary))
        arrived = temporary.stat().st_size
        if arrived != expected:
            raise Incomplete(f"{arrived} of {expected} bytes arrived")
        temporary.replace(path)

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        retried(get, location)
    finally:
        temporary.unlink(missing_ok=True)


def create_exclusively(location: str, content: bytes) -> bool:
    """Create an object unless it exists; return whether this call created it.

    Parameters
    ----------
    content : unlike that of any other caller, so that a repeated request recognises its own object
    """
    store, key = open_store(location)
    try:
        retried(lambda: store.fs.pipe_file(store.path(key), content, mode="create"), location)
    except FileExistsError:
        try:
            return read_bytes(location) == content
        except FileNotFoundError:
            return False
    return True


def delete_files(locations: Iterable[str]) -> None:
    """Delete files; missing ones are ignored."""
    by_root: dict[str, tuple[Store, list[str]]] = {}
    for location in locations:
        if not is_url(location):
            Path(location).unlink(missing_ok=True)
            continue
        store, key = open_store(location)
        by_root.setdefault(parent_and_name(location)[0], (store, []))[1].append(store.path(key))
    for url, (store, paths) in by_root.items():
        retried(lambda store=store, paths=paths: _delete(store, paths), url)  # type: ignore[misc]


def delete_below(location: str) -> None:
    """Delete a local folder, or all files below a URL; nothing there is no error."""
    if is_url(location):
        delete_files(join(location, stat.name) for stat in list_files(location))
    elif Path(location).exists():
        shutil.rmtree(location)


def make_folder(location: str) -> None:
    """Create a local folder and those above it; a store needs none."""
    if not is_url(location):
        Path(location).mkdir(parents=True, exist_ok=True)


def _delete(store: Store, paths: list[str]) -> None:
    try:
        store.fs.rm(paths)
    except FileNotFoundError:
        for path in paths:
            if store.fs.exists(path):
                store.fs.rm_file(path)


def _list_directly(location: str, store: Store, key: str, prefix: str) -> list[FileStat]:
    requests = retried(lambda: direct_requests(store), location)
    if requests is None:
        raise NotListed
    top = f"{key}/" if key else ""
    found = list_objects(requests, top + prefix, is_deep=not prefix, retried=lambda action: retried(action, location))
    stats = [
        FileStat(name=name.removeprefix(top), num_bytes=num_bytes, version=version)
        for name, num_bytes, version in found
        if not name.endswith("/")
    ]
    return sorted(stats, key=lambda stat: stat.name)


def _find(store: Store, key: str, prefix: str) -> dict[str, dict[str, Any]]:
    begin = {"prefix": prefix, "maxdepth": 1} if prefix else {}
    try:
        found = cast("dict[str, dict[str, Any]]", store.fs.find(store.path(key), detail=True, **begin))
    except FileNotFoundError:
        found = {}
    if not found and hasattr(store.fs, "call_s3"):
        try:
            store.fs.call_s3("head_bucket", Bucket=store.root)
        except FileNotFoundError as error:
            raise StorageError(f"s3://{store.root}: {NO_BUCKET}") from error
    return found


def _info(store: Store, key: str) -> dict[str, Any]:
    info = cast("dict[str, Any]", store.fs.info(store.path(key)))
    if info.get("type") == "directory":
        raise FileNotFoundError(store.path(key))
    return info


def _check_size(store: Store, key: str, expected: int) -> None:
    stored = int(_info(store, key)["size"])
    if stored != expected:
        raise Incomplete(f"{stored} of {expected} bytes are stored")


def _version(info: dict[str, Any]) -> str:
    """ETag, generation or time, whichever the store gives."""
    for name in ("ETag", "etag", "generation", "LastModified", "last_modified", "mtime", "created"):
        if info.get(name):
            return str(info[name]).strip('"')
    return ""


def _list_folder(folder: Path) -> list[FileStat]:
    found = []
    for parent, _, names in os.walk(folder):
        prefix = os.path.relpath(parent, folder)
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # a temporary file that its writer has removed
                found.append(_stat(Path(parent, name), name if prefix == "." else join(prefix, name)))
    return sorted(found, key=lambda stat: stat.name)


def _stat(path: Path, name: str) -> FileStat:
    stat = path.stat()
    return FileStat(name=name, num_bytes=stat.st_size, version=str(stat.st_mtime_ns))
