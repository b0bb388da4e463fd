"""Selects the labels of a task, and adds ``_unknown_``, ``_silence_`` and augmented copies: a manifest to a manifest.

``_unknown_`` and ``_silence_`` follow TensorFlow's speech_commands example (``input_data.py``): in each split their number
is a percentage of the clips of the chosen words. ``_unknown_`` is a sample of the other words, besides all clips that have
this label in the source; ``_silence_`` consists of
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
from hybridspeech.manifest.clips import Clip, Manifest
from hybridspeech.manifest.columns.clip_table import ClipTable
from hybridspeech.manifest.columns.coded_texts import CodedTexts
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
    chosen = [manifest.clips.where("label_name", words)]
    found = chosen[0].coded("split").counts()
    sizes = {split: found[split] for split in SPLITS}
    if UNKNOWN in config.words:
        own = manifest.clips.where("label_name", [UNKNOWN])
        others = manifest.clips.where("label_name", set(manifest.clips.coded("label_name").used()) - {*words, UNKNOWN})
        if not len(others) and not len(own):
            raise ManifestError(f"{manifest.source}: no other word is left for {UNKNOWN}; leave it out of the task")
        chosen += [own, _draw_unknown(others, sizes, config)]
    if SILENCE in config.words:
        chosen.append(ClipTable.of(_cut_silence(noises, sizes, config)))
    labels = tuple(sorted(set(config.words)))
    return replace(manifest, clips=ClipTable.concat(chosen).sorted_by_id().relabelled(labels), labels=labels)


def add_copies(manifest: Manifest, copies: int) -> Manifest:
    """Return the manifest with `copies` augmented copies of each training clip added."""
    if not copies:
        return manifest
    recorded = manifest.of_split("training")
    added = [recorded.augmented(copy) for copy in range(1, copies + 1)]
    return replace(manifest, clips=ClipTable.concat([manifest.clips, *added]).sorted_by_id())


def _draw_unknown(others: ClipTable, sizes: dict[str, int], config: ManifestConfig) -> ClipTable:
    drawn = []
    for split, size in sizes.items():
        candidates, seed = others.of_split(split), f"task\0{config.seed}\0".encode()
        drawn.append(candidates.in_hash_order(seed)[: math.ceil(size * config.unknown_percentage / 100)])
    chosen = ClipTable.concat(drawn)
    return chosen.replaced(label_name=CodedTexts.constant(UNKNOWN, len(chosen)))


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
