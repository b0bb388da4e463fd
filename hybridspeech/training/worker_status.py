"""Messages between the ranks and the driver of a run: small files in RUN/workers.

    rank-NNN.json    status of a rank; only that rank writes it
    rank-NNN.last    space reserved for the failure record of a rank
    stop, stop-at    request of the driver to stop, and order of the chief when to stop: see `stopping`
    rank-NNN.answer  the rank has the order; only if the ranks do not share the folder
    feed.json        progress of a feed; only the driver writes it
    feeder-NNN.json  last round of a feed in which a task has started for a rank; only that task writes it

Knows nothing of TensorFlow, Spark and Ray.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybridspeech.errors import RunError
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import read_bytes, write_bytes

FAILURE_RECORD_BYTES = 8192
"""Reserved for a failure record. A cause has at most 1,000 characters (`one_line`), of six bytes each in JSON."""


class WorkerStatus:
    """Status, failures, stop order and feed state of the ranks of one run; creating the object does not access the disk.

    Parameters
    ----------
    location : RUN/workers; or a URL with such files, for status and rounds of a feed only
    """

    def __init__(self, location: str | Path) -> None:
        self._location, folder = str(location), Path(location)
        self._folder = folder
        self._stop_request = folder / "stop"
        self._stop_order = folder / "stop-at"
        self._feed = folder / "feed.json"

    def clear(self, num_workers: int) -> None:
        """Remove the messages of an earlier attempt: they would be taken for messages of this one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for rank in range(num_workers):
            Path(self._status(rank)).unlink(missing_ok=True)
            self._failure_record(rank).unlink(missing_ok=True)
            self._answer(rank).unlink(missing_ok=True)
        for path in self._folder.glob("feed*.json"):
            path.unlink(missing_ok=True)
        self._stop_request.unlink(missing_ok=True)
        # Empty instead of absent: NFS caches the absence of a file, but reads the content of an existing one from the server.
        self._stop_order.write_bytes(b"")

    def write(self, rank: int, **fields: Any) -> None:
        """Merge `fields` into the status of a rank. `at` is the Unix time of the last sign of progress, in seconds."""
        status = {**_read_json(self._status(rank)), "at": time.time(), **fields, "rank": rank}
        write_bytes(self._status(rank), json.dumps(status))

    def read(self, rank: int) -> dict[str, Any]:
        """Return the last status of a rank; empty if it has not written one.

        Raises
        ------
        RunError: its file is damaged.
        """
        status = _read_json(self._status(rank))
        with contextlib.suppress(RunError):  # the record is being written
            status |= _read_json(str(self._failure_record(rank)))
        return status

    def reserve_failure_record(self, rank: int) -> None:
        """Reserve the space on disk that `write_failure` needs when the disk is full."""
        self._failure_record(rank).write_bytes(b"{}".ljust(FAILURE_RECORD_BYTES))

    def write_failure(self, rank: int, *, cause: str, **fields: Any) -> None:
        """Write to the status that a rank has failed; on a full disk into the reserved space, without `fields`."""
        record = {"state": "failed", "cause": cause, "failed_at": time.time()}
        try:
            self.write(rank, **record, **fields)
        except OSError:
            with self._failure_record(rank).open("r+b") as file:
                file.write(json.dumps(record).encode())

    def request_stop(self) -> None:
        """Ask the chief to let all ranks save and stop; the driver calls it."""
        self._stop_request.touch()

    def is_stop_requested(self) -> bool:
        """Return whether the driver has requested a stop."""
        return self._stop_request.exists()

    def order_stop(self, check: int) -> None:
        """Order all ranks to stop at this check; the chief calls it. Written in place, for the reason given in `clear`."""
        self._stop_order.write_text(f"{check}\n", encoding="ascii")

    def stop_order(self) -> int | None:
        """Return the check at which all ranks stop; None without an order."""
        try:
            text = self._stop_order.read_text(encoding="ascii")
            return int(text) if text.endswith("\n") else None
        except (FileNotFoundError, ValueError):
            return None

    def answer(self, rank: int) -> None:
        """Write that a rank has the stop order."""
        self._answer(rank).touch()

    def has_answered(self, rank: int) -> bool:
        """Return whether a rank has the stop order."""
        return self._answer(rank).exists()

    def write_feed(self, **fields: Any) -> None:
        """Write the progress of the feed."""
        write_bytes(str(self._feed), json.dumps(fields))

    def read_feed(self) -> dict[str, Any]:
        """Return what `write_feed` was last given; empty without a feed.

        Raises
        ------
        RunError: its file is damaged.
        """
        return _read_json(str(self._feed))

    def write_feeder_round(self, rank: int, round_: int) -> None:
        """Write that the task that feeds a rank has started, in this round of the feed."""
        write_bytes(self._feeder(rank), json.dumps({"round": round_}))

    def read_feeder_round(self, rank: int) -> int:
        """Return the last round in which a task that feeds a rank has started; 0 if none has."""
        return int(_read_json(self._feeder(rank)).get("round", 0))

    def _status(self, rank: int) -> str:
        return join(self._location, f"rank-{rank:03d}.json")

    def _feeder(self, rank: int) -> str:
        return join(self._location, f"feeder-{rank:03d}.json")

    def _failure_record(self, rank: int) -> Path:
        return self._folder / f"rank-{rank:03d}.last"

    def _answer(self, rank: int) -> Path:
        return self._folder / f"rank-{rank:03d}.answer"


TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("rank", "pid", "step", "received", "done", "total", "round", "num_rejects", "steps"), (int,)),
    **dict.fromkeys(("at", "failed_at"), (int, float)),
    **dict.fromkeys(("state", "phase", "host", "cause", "traceback"), (str,)),
    **dict.fromkeys(("report", "splits"), (dict,)),
    "waits": (str, type(None)),
}
"""Types of the fields in these files."""


def _read_json(path: str) -> dict[str, Any]:
    """Return the content of a small file; empty if there is none.

    Raises
    ------
    RunError: it is not JSON, or a field has another type than in TYPES.
    """
    try:
        content = json.loads(read_bytes(path).decode())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: is damaged ({str(error)[:200]}); train again with --resume") from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: is damaged (it is no object); train again with --resume")
    for name, types in TYPES.items():
        if name in content and type(content[name]) not in types:
            raise RunError(f"{path}: is damaged ({name} is {str(content[name])[:60]!r}); train again with --resume")
    return content
