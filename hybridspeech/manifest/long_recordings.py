"""Splits recordings that are longer than the clip duration into consecutive clips: a manifest to a manifest.

The driver reads the duration of every recording. Those on an object store are downloaded for it. Knows nothing of shards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from hybridspeech.audio.decode import NEGLIGIBLE_S, duration_s
from hybridspeech.errors import AudioError, counted
from hybridspeech.manifest.clips import Clip, Manifest, part_suffix
from hybridspeech.manifest.columns.clip_table import ClipTable
from hybridspeech.manifest.columns.text_columns import CHUNK, binary_column

SMALLEST_REST = 0.5
"""A rest of at least this share of the clip duration becomes a clip, padded with zeros; a shorter one is dropped."""
READERS = 16


def split_long(manifest: Manifest, clip_duration_ms: int) -> Manifest:
    """Return the manifest with consecutive clips instead of each recording that is longer than the clip duration.

    The id of a part is that of the recording, with the start: ``yes/a.wav@2000ms``. A recording that can't be decoded stays.
    """
    durations_ms = _durations_ms(manifest.clips)
    is_long = durations_ms >= clip_duration_ms + 1000 * NEGLIGIBLE_S
    if not is_long.any():
        return manifest
    long = np.flatnonzero(is_long)
    num_parts = [_num_parts(duration_ms, clip_duration_ms) for duration_ms in durations_ms[long].tolist()]
    dropped_ms = [
        max(0.0, duration_ms - count * clip_duration_ms)
        for duration_ms, count in zip(durations_ms[long].tolist(), num_parts, strict=True)
    ]
    parts = _parts(manifest.clips.take(np.repeat(long, num_parts)), num_parts, clip_duration_ms)
    clips = ClipTable.concat([manifest.clips.take(np.flatnonzero(~is_long)), parts]).sorted_by_id()
    note = (
        f"{counted(len(long), 'recording')} longer than {clip_duration_ms:,} ms: split into "
        f"{counted(len(parts), 'clip')}; rests of less than half a clip, "
        f"{sum(dropped_ms) / 1000:,.1f} s in total, were dropped; the parts have the label of their recording, so each must "
        "hold the word"
    )
    return replace(manifest, clips=clips, notes=(*manifest.notes, note))


def _durations_ms(clips: ClipTable) -> np.ndarray:
    """Return the duration of each recording: float64 [shape=(num_clips,)]."""
    found = [np.zeros(0)]
    with ThreadPoolExecutor(READERS, thread_name_prefix="hybridspeech-durations") as pool:
        for first in range(0, len(clips), CHUNK):
            found.append(np.array(list(pool.map(_duration_ms, clips[first : first + CHUNK])), np.float64))
    return np.concatenate(found)


def _duration_ms(clip: Clip) -> float:
    """Return the duration of a recording; 0 for one that can't be decoded, and for silence."""
    if clip.excerpt is not None:
        return 0.0
    start_s, segment_s = clip.segment or (0.0, math.inf)
    if segment_s < math.inf:
        return 1000 * segment_s
    try:
        return 1000 * max(0.0, duration_s(clip.path) - start_s)
    except AudioError:
        return 0.0


def _num_parts(duration_ms: float, clip_duration_ms: int) -> int:
    whole, rest_ms = divmod(duration_ms, clip_duration_ms)
    return int(whole) + (rest_ms >= SMALLEST_REST * clip_duration_ms)


def _parts(recordings: ClipTable, num_parts: Sequence[int], clip_duration_ms: int) -> ClipTable:
    """Return the parts of recordings, each of which is there once per part."""
    import pyarrow

    starts_ms = [part * clip_duration_ms for count in num_parts for part in range(count)]
    names = zip(recordings.values("clip_id", "path"), starts_ms, strict=True)
    ids, paths = zip(*((clip_id + part_suffix(start_ms), path) for (clip_id, path), start_ms in names), strict=True)
    return recordings.replaced(
        clip_id=pyarrow.array(ids, pyarrow.large_string()),
        path=binary_column(paths),
        start_ms=np.array(starts_ms, np.int64),
    )
