"""Local copies of files on an object store: fetched ahead of their use, checked, and bounded in size.

Knows nothing of what is in the files; the caller gives the check.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from hybridspeech.processes.scratch import scratch_folder
from hybridspeech.storage.locations import is_url, join
from hybridspeech.storage.objects import download, list_files, upload, write_bytes

FETCHES_IN_FLIGHT = 4
KEPT_BEHIND = 8
"""The last requested files, which are not removed: their reader may not have opened them yet."""
SMALL_BYTES = 1 << 20
CLOSING_S = 10.0
"""How long the end waits for downloads under way; one that hangs does not keep a command from ending."""


class LocalCopies:
    """Copies of the files of one location, in a temporary folder that is removed with the object; a context manager.

    Parameters
    ----------
    location : a URL
    sizes : size of each file in bytes, by name
    max_bytes : how much is on disk at most, apart from files in use; those needed latest are removed and fetched again
    check : called with the name and the copy of a file that has arrived; raises what is wrong with it
    """

    def __init__(
        self, location: str, sizes: Mapping[str, int], max_bytes: int, check: Callable[[str, Path], None]
    ) -> None:
        self._location, self._sizes, self._max_bytes, self._check = location, sizes, max_bytes, check
        self._folder = scratch_folder()
        self._fetchers = [
            threading.Thread(target=self._fetch_ahead, name=f"hybridspeech-fetch-{number}", daemon=True)
            for number in range(FETCHES_IN_FLIGHT)
        ]
        self._changed = threading.Condition()
        self._order: list[str] = []  # names that will be requested, in reading order
        self._awaited: list[str] = []  # names that a reader waits for
        self._recent: deque[str] = deque(maxlen=KEPT_BEHIND)
        self._there: set[str] = set()
        self._on_the_way: set[str] = set()
        self._errors: dict[str, Exception] = {}
        self._closed = False
        self.error: Exception | None = None
        """What `path` has raised last, for a caller that has called it through another library."""

    def __enter__(self) -> LocalCopies:
        for fetcher in self._fetchers:
            fetcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        deadline = time.monotonic() + CLOSING_S
        for fetcher in self._fetchers:  # one that still writes would put files into the folder while it is removed
            fetcher.join(max(0.0, deadline - time.monotonic()))
        self._folder.cleanup()

    @property
    def num_bytes(self) -> int:
        """Size of the copies that are there or on their way."""
        return sum(self._sizes[name] for name in (*self._there, *self._on_the_way))

    def expect(self, names: Sequence[str]) -> None:
        """Fetch these files next, in this order."""
        with self._changed:
            self._order = list(names)
            self._changed.notify_all()

    def path(self, name: str) -> Path:
        """Return the copy of a file; wait until it has arrived.

        Raises
        ------
        FileNotFoundError, StorageError: it can't be fetched. Errors of `check`: the content is wrong.
        """
        with self._changed:
            self._awaited.append(name)
            self._changed.notify_all()
            self._changed.wait_for(lambda: name in self._there or name in self._errors)
            self._awaited.remove(name)
            if name in self._errors:
                self.error = self._errors[name]
                raise self.error
            if name in self._order:
                self._order.remove(name)
            self._recent.append(name)
            self._changed.notify_all()
        return Path(self._folder.name) / name

    def _fetch_ahead(self) -> None:
        while (name := self._next()) is not None:
            target = Path(self._folder.name) / name
            error = None
            try:
                download(join(self._location, name), target, self._sizes[name])
                self._check(name, target)
            except Exception as failure:  # noqa: BLE001 - raised again by `path`
                error = failure
            with self._changed:
                self._on_the_way.discard(name)
                if error is None:
                    self._there.add(name)
                else:
                    self._errors[name] = error
                self._changed.notify_all()

    def _next(self) -> str | None:
        """Wait for a file to fetch and for space; None once the object is closed."""
        with self._changed:
            while not self._closed:
                settled = self._there | self._on_the_way | self._errors.keys()
                name = next((name for name in (*self._awaited, *self._order) if name not in settled), None)
                if name is not None and (self._make_space(name) or name in self._awaited):
                    self._on_the_way.add(name)
                    return name
                self._changed.wait()
        return None

    def _make_space(self, name: str) -> bool:
        """Remove copies that are needed later than `name`, the latest first; whether `name` fits then."""
        use = {expected: place for place, expected in enumerate(self._order)}
        never = len(use)
        needed_at = -1 if name in self._awaited else use.get(name, never)
        kept = {*self._recent, *self._awaited}
        removable = sorted(self._there - kept, key=lambda copy: use.get(copy, never))
        while self.num_bytes + self._sizes[name] > self._max_bytes:
            if not removable or use.get(removable[-1], never) <= needed_at:
                return False
            latest = removable.pop()
            self._there.remove(latest)
            (Path(self._folder.name) / latest).unlink(missing_ok=True)
        return True


def fetch_files(location: str, names: Iterable[str], folder: Path) -> None:
    """Copy files of a URL to the same names in a local folder."""
    with ThreadPoolExecutor(FETCHES_IN_FLIGHT) as pool:
        for done in [pool.submit(download, join(location, name), folder / name) for name in names]:
            done.result()


@contextmanager
def fetched(location: str | Path, *parts: str) -> Iterator[Path]:
    """Give a local folder with the files of a location, until the context ends; a local location is given as it is.

    Parameters
    ----------
    parts : names of files, and of folders ending in "/", that are needed; none: all
    """
    if not is_url(location):
        yield Path(location)
        return
    names = [stat.name for stat in list_files(str(location))]
    wanted = [
        n for n in names if not parts or any(n == part or (part[-1] == "/" and n.startswith(part)) for part in parts)
    ]
    with scratch_folder() as scratch:
        folder = Path(scratch, "files")
        folder.mkdir()
        fetch_files(str(location), wanted, folder)
        yield folder


@contextmanager
def uploaded(location: str | Path) -> Iterator[Path]:
    """Yield a local folder to write to; at the end its files are uploaded, unless an error was raised.

    A local location is given as it is.
    """
    if not is_url(location):
        yield Path(location)
        return
    with scratch_folder() as scratch:
        folder = Path(scratch, "files")
        folder.mkdir()
        yield folder
        upload_files(folder, [stat.name for stat in list_files(str(folder))], str(location))


def upload_files(folder: Path, names: Iterable[str], location: str) -> None:
    """Copy files of a local folder to the same names of a URL; those that are given last are uploaded last."""

    def put(name: str) -> None:
        path = folder / name
        if path.stat().st_size < SMALL_BYTES:
            write_bytes(join(location, name), path.read_bytes())
        else:
            upload(path, join(location, name))

    *first, last = [*names]
    with ThreadPoolExecutor(FETCHES_IN_FLIGHT) as pool:
        for done in [pool.submit(put, name) for name in first]:
            done.result()
    put(last)
