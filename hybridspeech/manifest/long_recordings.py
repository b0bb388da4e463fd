"""Splits recordings that are longer than the clip duration into consecutive clips: a manifest to a manifest.

The driver reads the duration of every recording. Those on an object store are downloaded for it. Knows nothing of shards.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from hybridspeech.audio.decode import NEGLIGIBLE_S, duration_s
from hybridspeech.errors import AudioError, counted
from hybridspeech.manifest.clips import Clip, Manifest, part_suffix

SMALLEST_REST = 0.5
"""A rest of at least this share of the clip duration becomes a clip, padded with zeros; a shorter one is dropped."""
READERS = 16


def split_long(manifest: Manifest, clip_duration_ms: int) -> Manifest:
    """Return the manifest with consecutive clips instead of each recording that is longer than the clip duration.

    The id of a part is that of the recording, with the start: ``yes/a.wav@2000ms``. A recording that can't be decoded stays.
    """
    with ThreadPoolExecutor(READERS, thread_name_prefix="hybridspeech-durations") as pool:
        durations_ms = list(pool.map(_duration_ms, manifest.clips))
    clips: list[Clip] = []
    num_long, dropped_ms = 0, list[float]()
    for clip, duration_ms in zip(manifest.clips, durations_ms, strict=True):
        if duration_ms < clip_duration_ms + 1000 * NEGLIGIBLE_S:
            clips.append(clip)
            continue
        parts = list(_parts(clip, duration_ms, clip_duration_ms))
        clips += parts
        num_long += 1
        dropped_ms.append(max(0.0, duration_ms - len(parts) * clip_duration_ms))
    if not num_long:
        return manifest
    note = (
        f"{counted(num_long, 'recording')} longer than {clip_duration_ms:,} ms: split into "
        f"{counted(len(clips) - len(manifest.clips) + num_long, 'clip')}; rests of less than half a clip, "
        f"{sum(dropped_ms) / 1000:,.1f} s in total, were dropped; the parts have the label of their recording, so each must "
        "hold the word"
    )
    ordered = tuple(sorted(clips, key=lambda clip: clip.clip_id))
    return replace(manifest, clips=ordered, notes=(*manifest.notes, note))


def _duration_ms(clip: Clip) -> float:
    """Return the duration of a recording; 0 for one that can't be decoded, and for silence."""
    if clip.excerpt is not None:
        return 0.0
    try:
        return 1000 * duration_s(clip.path)
    except AudioError:
        return 0.0


def _parts(clip: Clip, duration_ms: float, clip_duration_ms: int) -> Iterator[Clip]:
    whole, rest_ms = divmod(duration_ms, clip_duration_ms)
    for part in range(int(whole) + (rest_ms >= SMALLEST_REST * clip_duration_ms)):
        start_ms = part * clip_duration_ms
        yield replace(clip, clip_id=clip.clip_id + part_suffix(start_ms), start_ms=start_ms)
