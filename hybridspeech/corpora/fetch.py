"""Fetches one URL to one file with a known SHA-256; continues after lost connections.

    NAME.part    bytes received so far; kept after a failure, so that the next call requests only the rest
    NAME         the complete file; it appears only after its SHA-256 was checked

Servers drop connections, ignore ranges, send other ranges than requested and give wrong lengths. The hash decides; the
other checks fail early and give the reason. Knows nothing of data sets and archives.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hybridspeech.corpora.redirects import open_url
from hybridspeech.errors import ConfigError, DownloadError, remedy_of

OnBytes = Callable[[int, int], None]
"""Called with the number of bytes received and expected (0 if unknown)."""

_SCHEMES = ("http", "https", "file")
_PASSING_CODES = frozenset({408, 425, 429, 500, 502, 503, 504})
_LASTING_REASONS = (FileNotFoundError, PermissionError, IsADirectoryError, ssl.SSLCertVerificationError)
_BLOCK_BYTES = 2**20


class _Interrupted(Exception):
    """The connection failed in a way that may be temporary."""


@dataclass(frozen=True, kw_only=True)
class FetchConfig:
    """Limits of retries. An attempt that receives new bytes is no failure; `pause_s` doubles with each failure, up to 30 s.

    `max_bytes` limits the size of a file whose size is not known in advance.
    """

    timeout_s: float = 30.0
    max_failures: int = 5
    max_requests: int = 100
    max_bytes: int = 8 * 2**30
    pause_s: float = 1.0


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One call of `fetch`."""

    url: str
    part: Path
    sha256: str
    num_bytes: int | None
    max_bytes: int
    config: FetchConfig
    on_bytes: OnBytes


def fetch(
    url: str,
    path: Path,
    *,
    sha256: str,
    num_bytes: int | None = None,
    config: FetchConfig = FetchConfig(),
    on_bytes: OnBytes = lambda done, total: None,
) -> int:
    """Fetch `url` to `path`; a file that exists and has the hash is not fetched again.

    Parameters
    ----------
    url : http, https or file
    num_bytes : size of the file, if known; a response of another length is refused

    Returns
    -------
    Number of bytes of the file.

    Raises
    ------
    ConfigError: the URL has another scheme. DownloadError: the server can't be reached or has no such file, the hash
        or the size differs, or the disk is full.
    """
    if urlsplit(url).scheme not in _SCHEMES or re.search(r"[\s\0]", url):
        raise ConfigError(f"url is {url!r}; expected one that starts with {', '.join(f'{s}://' for s in _SCHEMES)}")
    part = path.with_name(f"{path.name}.part")
    job = _Job(
        url=url,
        part=part,
        sha256=sha256,
        num_bytes=num_bytes,
        max_bytes=num_bytes or config.max_bytes,
        config=config,
        on_bytes=on_bytes,
    )
    try:
        if not (path.exists() and sha256_of(path) == sha256):
            _complete(job)
            part.replace(path)
        return path.stat().st_size
    except OSError as error:
        raise DownloadError(
            f"{error.filename or part}: can't write there ({error.strerror}); {remedy_of(error)}"
        ) from error


def sha256_of(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _complete(job: _Job) -> None:
    """Send requests until the file is complete and its hash is right. After a wrong resumed download, start again once."""
    failures, was_wrong, cause = 0, False, "the server never sends the complete file"
    for _ in range(job.config.max_requests):
        before = _size(job.part)
        try:
            from_start = _transfer(job)
        except _Interrupted as error:
            cause = str(error)
            failures = 0 if _size(job.part) > before else failures + 1
            if failures >= job.config.max_failures:
                break
            time.sleep(min(30.0, job.config.pause_s * 2**failures))
            continue
        found, size = sha256_of(job.part), _size(job.part)
        if found == job.sha256:
            return
        job.part.unlink()
        if from_start or was_wrong:
            raise DownloadError(
                f"{job.url}: SHA-256 is {found} ({size:,} bytes), expected {job.sha256}; it is damaged or another "
                "file, and was removed. Try a mirror with --url, or give its --sha256 if this is the file you want"
            )
        was_wrong = True
    if _size(job.part) and sha256_of(job.part) == job.sha256:
        return  # only the length that the server announced was wrong
    kept = (
        f"{_size(job.part):,} bytes are kept: the same command continues from there" if _size(job.part) else "try later"
    )
    raise DownloadError(f"{job.url}: {cause}; {kept}, or give a mirror with --url")


def _transfer(job: _Job) -> bool:
    """Request the missing bytes and append them to `part`; return whether the response began at the first byte."""
    start = _size(job.part)
    response = _open(job.url, start, job.config.timeout_s)
    if response is None:
        return False
    with response:
        start = _start_of(response, start, job.part)
        announced = _total_bytes(response, start)
        if announced and announced != (job.num_bytes or announced):
            raise DownloadError(
                f"{job.url}: the server has {announced:,} bytes, expected {job.num_bytes:,}: it is another file; check "
                "the URL, or give its --sha256 if this is the file you want"
            )
        expected = job.num_bytes or announced or 0
        done = _copy(response, job, start, expected)
    if done < expected:
        raise _Interrupted(f"the connection was closed after {done:,} of {expected:,} bytes")
    return start == 0


def _copy(response: Any, job: _Job, start: int, expected: int) -> int:
    """Write the received bytes; return the number of bytes in the file."""
    done = start
    with job.part.open("ab" if start else "wb") as file:
        while block := _read(response, done, expected):
            done += len(block)
            if max(done, expected) > job.max_bytes:
                raise DownloadError(f"{job.url}: more than {job.max_bytes:,} bytes, the most that is accepted")
            file.write(block)
            job.on_bytes(done, expected)
    return done


def _open(url: str, start: int, timeout_s: float) -> Any:
    """Request all bytes from `start`; return the response, or None if the server has no more."""
    headers = {"User-Agent": "hybridspeech", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        return open_url(urllib.request.Request(url, headers=headers), timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:
            return None
        if error.code in _PASSING_CODES:
            raise _Interrupted(f"the server answers {error.code} {error.reason}") from error
        raise DownloadError(f"{url}: the server answers {error.code} {error.reason}; check the URL") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, _LASTING_REASONS):
            raise DownloadError(f"{url}: {error.reason}; check the URL") from error
        raise _Interrupted(f"no connection ({error.reason})") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(f"no answer ({error or type(error).__name__})") from error


def _start_of(response: Any, asked: int, part: Path) -> int:
    """Return the position at which the response begins: 0 if the server ignores ranges."""
    if getattr(response, "status", None) != 206:
        return 0
    span = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if span and int(span[1]) == asked:
        return asked
    part.unlink(missing_ok=True)
    raise _Interrupted("the server sent another range than requested")


def _total_bytes(response: Any, start: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return start + int(length) if re.fullmatch(r"\d{1,18}", length) else None


def _read(response: Any, done: int, expected: int) -> bytes:
    """Return the bytes as they arrive, so that a lost connection loses none; b'' at the end."""
    try:
        block: bytes = response.read1(_BLOCK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        of_all = f" of {expected:,}" if expected else ""
        cause = str(error) or type(error).__name__
        raise _Interrupted(f"the connection broke after {done:,}{of_all} bytes ({cause})") from error
    return block


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
