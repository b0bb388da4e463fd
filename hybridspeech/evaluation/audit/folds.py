"""Divides the clips of shards into folds for a cross-validation: no speaker is in two folds.

The clips are written once. The shards of a fold's training are links to them. Knows nothing of networks.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from hybridspeech.audio.pcm import from_pcm16
from hybridspeech.shards.content import read_checked
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.names import ShardInfo, shard_name
from hybridspeech.shards.writer import ShardWriter

SHARDS_PER_FOLD = 4


def assign_folds(clip_ids: Sequence[str], speakers: Sequence[str], num_folds: int) -> list[int]:
    """Return the fold of each clip; a clip without a known speaker counts as a speaker of its own.

    The speakers with most clips are assigned first, each to the smallest fold; a hash decides between equal ones.
    """
    names = [speaker or f"\0{clip_id}" for clip_id, speaker in zip(clip_ids, speakers, strict=True)]
    counts = Counter(names)
    ordered = sorted(counts, key=lambda name: (-counts[name], hashlib.sha256(name.encode(errors="replace")).digest()))
    sizes, fold_of = [0] * num_folds, dict[str, int]()
    for name in ordered:
        fold_of[name] = sizes.index(min(sizes))
        sizes[fold_of[name]] += counts[name]
    return [fold_of[name] for name in names]


def write_folds(shards: Path, index: ShardIndex, fold_of: Sequence[int], out: Path) -> Iterator[Path]:
    """Write the clips of all splits, and yield the folder of each fold: its clips are the testing split, all others training.

    Parameters
    ----------
    shards : local folder of waveform shards
    fold_of : fold of each clip, in the order of `index.shards`
    """
    infos = _write_clips(shards, index, fold_of, out / "clips")
    for fold in sorted(infos):
        folder = out / f"fold-{fold}"
        folder.mkdir()
        if (shards / "noise").is_dir():
            (folder / "noise").symlink_to((shards / "noise").resolve())
        others = [info for other, of_fold in sorted(infos.items()) if other != fold for info in of_fold]
        linked = [
            *_link(out / "clips", folder, "training", others),
            *_link(out / "clips", folder, "testing", infos[fold]),
        ]
        config = replace(index.shards_config, compression="none", num_shards=None)
        replace(index, shards=tuple(linked), shards_config=config, num_rejects=0, excluded=()).save(folder)
        yield folder


def _write_clips(shards: Path, index: ShardIndex, fold_of: Sequence[int], out: Path) -> dict[int, list[ShardInfo]]:
    out.mkdir(parents=True)
    count = SHARDS_PER_FOLD * (max(fold_of) + 1)
    config = replace(index.shards_config, compression="none")
    num_written = Counter[int]()
    with ExitStack() as opened:
        writers = [
            opened.enter_context(ShardWriter(out / shard_name("training", number, count), config, index.features.shape))
            for number in range(count)
        ]
        examples = (example for shard in index.shards for example in read_checked(shards, index, shard))
        for fold, example in zip(fold_of, examples, strict=True):
            writer = writers[SHARDS_PER_FOLD * fold + num_written[fold] % SHARDS_PER_FOLD]
            from_pcm16(example.values.reshape(writer.payload.shape), out=writer.payload)
            writer.write(example.clip_id, example.label, example.label_name, example.speaker, writer.payload)
            num_written[fold] += 1
    infos: dict[int, list[ShardInfo]] = {}
    for number, writer in enumerate(writers):
        if writer.info and writer.info.num_examples:
            infos.setdefault(number // SHARDS_PER_FOLD, []).append(writer.info)
    return infos


def _link(clips: Path, folder: Path, split: str, infos: Sequence[ShardInfo]) -> list[ShardInfo]:
    linked = []
    for number, info in enumerate(infos):
        name = shard_name(split, number, len(infos))
        (folder / name).symlink_to((clips / info.name).resolve())
        linked.append(replace(info, name=name, split=split))
    return linked
