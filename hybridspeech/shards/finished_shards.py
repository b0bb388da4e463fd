"""What the driver knows of finished shards: their records without the clips, which stay in OUT/_progress.

Knows nothing of engines and of how shards are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import xxhash

from hybridspeech.manifest.columns.clip_table import ClipTable
from hybridspeech.shards.encoding import ShardRecord
from hybridspeech.shards.worker import parse_record
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import list_names
from hybridspeech.storage.parallel_reads import read_many

NOTHING = np.zeros(0, np.uint64)


@dataclass(frozen=True, kw_only=True, eq=False)
class FinishedShard:
    """A shard that has a record.

    Parameters
    ----------
    record : without `sources`
    num_sources : number of clips in the record
    changed : uint64, hashes of the ids of its clips that have another version now, or are gone
    has_current_noises : whether the background noise has the version of now
    """

    record: ShardRecord
    num_sources: int
    changed: np.ndarray = field(default_factory=lambda: NOTHING)
    has_current_noises: bool = True


class SourceVersions:
    """The versions that all files of a job have now: 8 bytes per clip.

    A hash of 64 bits stands for id and version. It guards against accidents, not attackers.

    Parameters
    ----------
    noises : by path
    """

    def __init__(self, clips: ClipTable, noises: Mapping[str, str]) -> None:
        self._hashes = np.sort(_hashes(clips.values("clip_id", "version"), len(clips)))
        self._noises = noises

    def finished(self, record: ShardRecord) -> FinishedShard:
        """Compare the record of a shard with the versions of now."""
        recorded = [(clip_id, version) for clip_id, (version, _) in record.sources.items()]
        hashes = _hashes(recorded, len(recorded))
        places = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        is_now = self._hashes[places] == hashes
        changed = [clip_id for (clip_id, _), same in zip(recorded, is_now.tolist(), strict=True) if not same]
        return FinishedShard(
            record=replace(record, sources={}),
            num_sources=len(recorded),
            changed=_hashes(((clip_id,) for clip_id in changed), len(changed)),
            has_current_noises=all(self._noises.get(path) == version for path, (version, _) in record.noises.items()),
        )


def _hashes(texts: Iterable[tuple[str, ...]], count: int) -> np.ndarray:
    encoded = ("\0".join(each).encode("utf-8", "surrogatepass") for each in texts)
    return np.fromiter(map(xxhash.xxh3_64_intdigest, encoded), np.uint64, count)


def read_records(folder: str) -> Iterator[ShardRecord]:
    """Read the records in a progress folder; a damaged one is left out, so that its shard is made again."""
    names = [name for name in list_names(folder) if ".tfrecord" in name and name.endswith(".json")]
    for content in read_many(join(folder, name) for name in names):
        record = None if isinstance(content, Exception) else parse_record(content)
        if record:
            yield record
