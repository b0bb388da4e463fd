"""Selects the labels of a task, and adds ``_unknown_``, ``_silence_`` and augmented copies: a manifest to a manifest.

``_unknown_`` and ``_silence_`` follow TensorFlow's speech_commands example (``input_data.py``): in each split their number
is a percentage of the clips of the chosen words. ``_unknown_`` is a sample of the other words; ``_silence_`` consists of
excerpts of background noise at a volume from 0 to 1. A seeded hash of ids draws both, so that nothing depends on the
order of a listing. Knows nothing of sound and shards.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import replace

from hybridspeech.audio.background_noise import Noise
from hybridspeech.config import SPLITS
from hybridspeech.errors import ManifestError
from hybridspeech.manifest.clips import Clip, Manifest, copy_suffix
from hybridspeech.manifest.config import SILENCE, UNKNOWN, ManifestConfig


def select_task(manifest: Manifest, config: ManifestConfig, noises: Sequence[Noise]) -> Manifest:
    """Return the clips and labels of `config.task`; the manifest itself for task "all".

    Raises
    ------
    ManifestError: the source lacks a word of the task, or has no other word to draw _unknown_ from.
    """
    if config.words is None:
        return manifest
    words = sorted(set(config.words) - {SILENCE, UNKNOWN})
    if missing := [word for word in words if word not in manifest.labels]:
        raise ManifestError(
            f"{manifest.source}: task {config.task!r} needs the word {missing[0]!r}, and the source has only "
            f"{', '.join(manifest.labels)}"
        )
    chosen = [clip for clip in manifest.clips if clip.label_name in words]
    sizes = {split: sum(clip.split == split for clip in chosen) for split in SPLITS}
    if UNKNOWN in config.words:
        others = [clip for clip in manifest.clips if clip.label_name not in words]
        if not others:
            raise ManifestError(f"{manifest.source}: no other word is left for {UNKNOWN}; leave it out of the task")
        chosen += _draw_unknown(others, sizes, config)
    if SILENCE in config.words:
        chosen += _cut_silence(noises, sizes, config)
    labels = tuple(sorted(set(config.words)))
    clips = (replace(clip, label=labels.index(clip.label_name)) for clip in chosen)
    return replace(manifest, clips=tuple(sorted(clips, key=lambda clip: clip.clip_id)), labels=labels)


def add_copies(manifest: Manifest, copies: int) -> Manifest:
    """Return the manifest with `copies` augmented copies of each training clip added."""
    added = (
        replace(clip, clip_id=clip.clip_id + copy_suffix(copy), copy=copy)
        for clip in manifest.of_split("training")
        for copy in range(1, copies + 1)
    )
    return replace(manifest, clips=tuple(sorted((*manifest.clips, *added), key=lambda clip: clip.clip_id)))


def _draw_unknown(others: Sequence[Clip], sizes: dict[str, int], config: ManifestConfig) -> list[Clip]:
    drawn = []
    for split, size in sizes.items():
        count = math.ceil(size * config.unknown_percentage / 100)
        candidates = [clip for clip in others if clip.split == split]
        drawn += sorted(candidates, key=lambda clip: (_hash(clip.clip_id, config.seed), clip.clip_id))[:count]
    return [replace(clip, label_name=UNKNOWN) for clip in drawn]


def _cut_silence(noises: Sequence[Noise], sizes: dict[str, int], config: ManifestConfig) -> list[Clip]:
    clips = []
    for split, size in sizes.items():
        available = [noise for noise in noises if split in noise.splits]
        for number in range(math.ceil(size * config.silence_percentage / 100)):
            clip_id = f"{SILENCE}/{split}-{number:05d}"
            choice, position, volume = (
                int.from_bytes(part, "big") / 256**8 for part in _parts(_hash(clip_id, config.seed), 8, 3)
            )
            noise = available[int(choice * len(available))] if available else None
            clips.append(
                Clip(
                    clip_id=clip_id,
                    path=noise.path if noise else "",
                    label=0,
                    label_name=SILENCE,
                    speaker=f"{SILENCE}/{noise.name}" if noise and len(noise.splits) == 1 else "",
                    split=split,
                    excerpt=(position, volume),
                )
            )
    return clips


def _hash(clip_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"task\0{seed}\0".encode() + os.fsencode(clip_id)).digest()


def _parts(data: bytes, size: int, count: int) -> list[bytes]:
    return [data[i * size : (i + 1) * size] for i in range(count)]
