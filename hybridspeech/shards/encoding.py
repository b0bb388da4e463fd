"""Encodes clips into shards, and keeps all shards equal in size although some clips turn out to be unusable.

Preprocessing and feeds share these functions, so that their shards have the same bytes. Knows nothing of engines, of the
files of an output, and of training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np

from hybridspeech.audio.background_noise import excerpt, load_noises
from hybridspeech.audio.decode import DecodedClip, decode_bytes, decode_file
from hybridspeech.audio.segments import decode_segment, read_segments
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import AudioError
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.manifest.clips import Clip
from hybridspeech.manifest.columns.clip_table import ClipTable
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.names import ShardInfo
from hybridspeech.shards.plan import ShardTask, rebalance
from hybridspeech.shards.rejects import Reject
from hybridspeech.shards.writer import ShardEncoder
from hybridspeech.storage.locations import is_url
from hybridspeech.storage.parallel_reads import read_many


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """Result of one ShardTask.

    `key` is a hash of all that decides the bytes of the shard apart from the audio, or empty. `sources` holds version and
    hash of the sound of each clip, by its id, and `noises` those of the background noise of augmented copies, by path; the
    hash of a reject is its reason. `cuts_s` holds the duration, in seconds, that was cut off each recorded clip that is longer
    than the clip duration. `source` is the location of the source, `host` the name of the host that made the shard.
    """

    key: str = ""
    info: ShardInfo
    rejects: tuple[Reject, ...] = ()
    sources: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    noises: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    cuts_s: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    host: str = ""


def read_local(clip: Clip, config: FeatureConfig) -> DecodedClip:
    """Read a clip from a file, or make a clip of silence.

    Raises
    ------
    AudioError: the clip can't be used.
    """
    if clip.segment is not None:
        return decode_segment(clip.path, config, clip.segment, clip.start_ms)
    if clip.excerpt is None:
        return decode_file(clip.path, config, clip.start_ms)
    num_samples, (position, volume) = config.num_samples, clip.excerpt
    if not clip.path:
        return DecodedClip(np.zeros(num_samples, np.float32))
    recording = load_noises((clip.path,), config.sample_rate_hz, num_samples, (clip.version,))
    return DecodedClip(np.float32(volume) * excerpt(recording, 0.0, position, num_samples))


def read_ahead(clips: Iterable[Clip], config: FeatureConfig, on_long: str) -> Callable[[Clip], DecodedClip]:
    """Return a function that reads these clips, to be called in their order.

    Files on an object store are requested before they are needed, many at the same time. The function raises AudioError if
    a clip can't be used, with the reason "exceeds-duration" for one that is longer than the clip duration if `on_long` is
    "reject".
    """
    contents = _from_store((clip for clip in clips if _is_stored(clip)), config)

    def read(clip: Clip) -> DecodedClip:
        decoded = decode_next(clip)
        if decoded.cut_s and on_long == "reject":
            limit_s = config.clip_duration_ms / 1000
            duration = f"{limit_s + decoded.cut_s:.2f} s; expected at most {limit_s:g} s"
            raise AudioError("exceeds-duration", f"{clip.path}: {duration}, or --on-long cut")
        # The manifest has counted the parts, and what is left at the end
        return replace(decoded, cut_s=0.0) if on_long == "split" else decoded

    def decode_next(clip: Clip) -> DecodedClip:
        if not _is_stored(clip):
            return read_local(clip, config)
        content = next(contents)
        if isinstance(content, FileNotFoundError):
            raise AudioError("missing", f"{clip.path}: no such file")
        if isinstance(content, Exception):
            raise content
        if isinstance(content, DecodedClip):
            return content
        return decode_bytes(content, config, clip.path, clip.start_ms)

    return read


def _is_stored(clip: Clip) -> bool:
    return clip.excerpt is None and is_url(clip.path)


def _from_store(clips: Iterable[Clip], config: FeatureConfig) -> Iterator[bytes | DecodedClip | Exception]:
    """Yield the content of each file on an object store, or the decoded segment, or the error."""
    for is_segment, group in groupby(clips, lambda clip: clip.segment is not None):
        if is_segment:
            yield from read_segments(((c.path, c.segment, c.start_ms) for c in group if c.segment), config)
        else:
            yield from read_many(clip.path for clip in group)


def encode_clips(
    clips: Iterable[Clip],
    extractor: FeatureExtractor,
    encoder: ShardEncoder,
    read: Callable[[Clip], np.ndarray],
) -> Iterator[Reject | None]:
    """Encode the clips, in order; yield, after each, None or the Reject of a clip that can't be used.

    Parameters
    ----------
    read : returns the waveform of a clip
    """
    for clip in clips:
        try:
            extractor(read(clip), out=encoder.payload)
        except AudioError as error:
            detail = error.detail.removeprefix(f"{clip.path}: ")
            yield Reject(clip_id=clip.clip_id, split=clip.split, reason=error.reason, detail=detail)
        else:
            encoder.write(clip.clip_id, clip.label, clip.label_name, clip.speaker, encoder.payload)
            yield None


def make_balanced(
    planned: Sequence[ShardTask], config: ShardConfig, make: Callable[[list[ShardTask]], Sequence[ShardRecord]]
) -> list[ShardRecord]:
    """Make all shards; after rejects, make those again whose clips change so that the shards of a split are equal in size.

    This repeats while further clips become unusable.

    Parameters
    ----------
    make : makes some shards, replaces those of the same names, and returns their records in the same order

    Returns
    -------
    Records of the final shards; empty if no clip can be used.
    """
    tasks = list(planned)
    rejected: set[str] = set()
    made: dict[str, tuple[ClipTable, ShardRecord]] = {}
    while todo := [task for task in tasks if task.name not in made or made[task.name][0] != task.clips]:
        records = make(todo)
        rejected |= {reject.clip_id for record in records for reject in record.rejects}
        for task, record in zip(todo, records, strict=True):
            made[task.name] = task.clips.without_ids(rejected), record
        tasks = rebalance(planned, rejected, config)
    return [made[task.name][1] for task in tasks]
