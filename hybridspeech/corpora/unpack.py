"""Unpacks an archive (.tar.gz or .zip) below one folder.

An archive is untrusted: it may hold only regular files and folders, below the folder, each once, up to a number and a
size. Any other entry ends the unpacking with an error. Permissions and owners are not taken over. Tar entries also pass
the data filter of `tarfile` (PEP 706). Knows nothing of downloads.
"""

from __future__ import annotations

import gzip
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from hybridspeech.corpora.fetch import OnBytes
from hybridspeech.errors import DownloadError

_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError),
    *(NotImplementedError, RuntimeError, ValueError),  # by zipfile: unknown compression, encrypted; a name with a NUL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """One entry of an archive. `kind` is "file", "folder", "link" or "special file"."""

    name: str
    kind: str
    num_bytes: int
    open: Callable[[], IO[bytes] | None]


def unpack(
    archive: Path,
    folder: Path,
    *,
    max_members: int = 300_000,
    max_bytes: int = 16 * 2**30,
    on_bytes: OnBytes = lambda done, total: None,
) -> None:
    """Write the files of an archive below `folder`, which is created; the metadata files of macOS are left out.

    Parameters
    ----------
    max_members, max_bytes : limits of the number of entries and of the total size of the files

    Raises
    ------
    DownloadError: the archive is damaged, of another kind, too large, or has a forbidden entry; or the disk is full.
        Files that were written before stay: remove `folder`.
    """
    num_members = num_bytes = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with archive.open("rb") as file:
            for member in _members(archive, file, folder):
                num_members, num_bytes = num_members + 1, num_bytes + member.num_bytes
                if num_members > max_members or num_bytes > max_bytes:
                    raise DownloadError(
                        f"{archive.name}: more than {max_members:,} entries or {max_bytes:,} bytes of files; this is "
                        "not a data set of recorded words"
                    )
                _write(archive, folder, member)
                on_bytes(file.tell(), archive.stat().st_size)
    except _DAMAGED as error:
        raise DownloadError(f"{archive.name}: the archive is damaged ({error}); give another --url") from error
    except OSError as error:
        raise DownloadError(
            f"{error.filename or folder}: can't unpack {archive.name} there ({error.strerror})"
        ) from error


def _members(archive: Path, file: IO[bytes], folder: Path) -> Iterator[_Member]:
    magic = file.read(4)
    file.seek(0)
    if magic == b"PK\3\4":
        return _zip_members(file)
    if magic[:2] == b"\x1f\x8b":
        return _tar_members(file, folder)
    raise DownloadError(f"{archive.name}: neither a .tar.gz nor a .zip; it starts with {magic!r}")


def _tar_members(file: IO[bytes], folder: Path) -> Iterator[_Member]:
    with gzip.open(file) as unzipped, tarfile.open(fileobj=unzipped, mode="r|") as archive:
        for info in archive:
            if info.isreg() and not info.issparse():
                kind = "file"
            else:
                kind = "folder" if info.isdir() else "link" if info.issym() or info.islnk() else "special file"
            source = partial(_open_in_tar, archive, info, folder)
            yield _Member(name=info.name, kind=kind, num_bytes=info.size, open=source)


def _open_in_tar(archive: tarfile.TarFile, info: tarfile.TarInfo, folder: Path) -> IO[bytes] | None:
    if hasattr(tarfile, "data_filter"):  # absent in early patch releases of Python 3.10 and 3.11
        info = tarfile.data_filter(info, str(folder))
    return archive.extractfile(info)


def _zip_members(file: IO[bytes]) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            mode = stat.S_IFMT(info.external_attr >> 16)
            kind = "folder" if info.is_dir() else "link" if stat.S_ISLNK(mode) else "file"
            if mode not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
                kind = "special file"
            yield _Member(name=info.filename, kind=kind, num_bytes=info.file_size, open=partial(archive.open, info))


def _write(archive: Path, folder: Path, member: _Member) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise _refusal(archive, member, "is not below the folder")
    if member.kind not in ("file", "folder"):
        raise _refusal(archive, member, f"is a {member.kind}")
    if member.num_bytes < 0:
        raise _refusal(archive, member, f"has {member.num_bytes} bytes")
    if "__MACOSX" in path.parts or path.name == ".DS_Store" or path.name.startswith("._"):
        return
    target = folder / path
    if member.kind == "folder":
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source = member.open()
    assert source is not None, "only links and special files have no content"
    try:
        with source, target.open("xb") as file:
            shutil.copyfileobj(source, file)
    except FileExistsError as error:
        raise _refusal(archive, member, "occurs twice") from error


def _refusal(archive: Path, member: _Member, reason: str) -> DownloadError:
    return DownloadError(
        f"{archive.name}: its entry {member.name!r} {reason}; only regular files and folders are unpacked, each once. "
        "Do not trust this archive"
    )
