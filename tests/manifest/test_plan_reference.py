"""Manifest and plan are those of a plain implementation, clip by clip, on random names."""

from __future__ import annotations

import hashlib
import os
import random
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from support.empty_files import tree

from hybridspeech.config import SPLITS
from hybridspeech.errors import ManifestError
from hybridspeech.manifest.clips import Clip
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.manifest.splits import split_by_hash
from hybridspeech.manifest.tasks import add_copies
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.plan import plan_shards

LABELS = ("no", " yes", "yes", "e\u0301te\u0301", "\u00e9t\u00e9\n", "\u0434\u0430")


def normal(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def expected_clips(folder: Path, rows: list[dict[str, Any]]) -> list[Clip]:
    """Return the clips of a table in `folder`; those without a speaker are split by the names of their files."""
    labels = sorted({normal(row["label"]) for row in rows})
    clips = []
    for row in rows:
        path = os.path.normpath(os.path.join(folder, row["path"]))  # noqa: PTH118 - text in, text out
        clip_id = path.removeprefix(f"{folder}/") if path.startswith(f"{folder}/") else row["path"]
        speaker = normal(row.get("speaker") or "")
        clips.append(
            Clip(
                clip_id=clip_id,
                path=path,
                label=labels.index(normal(row["label"])),
                label_name=normal(row["label"]),
                speaker=speaker,
                split=split_by_hash(speaker or normal(path.rpartition("/")[2])),
            )
        )
    return sorted(clips, key=lambda clip: clip.clip_id)


def with_copies(clips: list[Clip], copies: int) -> list[Clip]:
    added = [
        Clip(**{name: getattr(clip, name) for name in Clip.__slots__} | {"clip_id": f"{clip.clip_id}#{k}", "copy": k})
        for clip in clips
        if clip.split == "training"
        for k in range(1, copies + 1)
    ]
    return sorted([*clips, *added], key=lambda clip: clip.clip_id)


def expected_plan(clips: list[Clip], num_shards: int, seed: int) -> list[list[Clip]]:
    shards = []
    for split in SPLITS:
        ordered = sorted(
            (clip for clip in clips if clip.split == split),
            key=lambda clip: (hashlib.sha256(f"{seed}\0".encode() + clip.clip_id.encode()).digest(), clip.clip_id),
        )
        total = min(num_shards, len(ordered))
        shards += [ordered[i::total] for i in range(total)]
    return shards


def random_rows(draw: random.Random, folder: Path, has_speakers: bool) -> list[dict[str, Any]]:
    below = ("{}.wav", "./a/{}.wav", "a//{}.wav", f"{folder}/b/{{}}.wav", "\u00e9 {} .wav", "{}")
    forms = (*below, "../{}.wav", "/elsewhere/{}.wav")
    rows = []
    for number in draw.sample(range(10**6), 400):
        row = {"path": draw.choice(forms).format(number), "label": draw.choice(LABELS)}
        rows.append(row | ({"speaker": f" s{draw.randrange(40)}\u00e9"} if has_speakers else {}))
    return rows


@pytest.mark.parametrize("has_speakers", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_manifest_and_plan_of_a_table_are_those_of_a_plain_implementation(
    tmp_path: Path, has_speakers: bool, seed: int
) -> None:
    draw = random.Random(seed)
    rows = random_rows(draw, tmp_path / "tables", has_speakers)
    rows[0]["path"] = "first.wav"
    tree(tmp_path / "tables", "first.wav")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "tables/clips.parquet", row_group_size=150)
    for row in rows:
        row["label"] = row["label"].strip()
    found = add_copies(read_manifest(tmp_path / "tables/clips.parquet", ManifestConfig()), 2)
    expected = with_copies(expected_clips(tmp_path / "tables", rows), 2)
    assert list(found.clips) == expected
    planned = plan_shards(found.clips, ShardConfig(num_shards=7, seed=seed))
    assert [list(task.clips) for task in planned] == expected_plan(expected, 7, seed)


def test_the_plan_of_a_folder_with_names_of_any_bytes_is_that_of_a_plain_implementation(tmp_path: Path) -> None:
    draw = random.Random(0)
    names = {bytes(draw.choices(b"abc\xc3\xa9\xff_. ", k=4)).strip(b".").replace(b"/", b"") for _ in range(200)}
    tree(tmp_path, *(os.fsdecode(b"w\xf6rd/" + name + b"x.wav") for name in names), "no/a.wav")
    found = read_manifest(tmp_path)
    assert {os.fsencode(clip.path).rpartition(b"/")[2] for clip in found.clips} >= {name + b"x.wav" for name in names}
    planned = plan_shards(found.clips, ShardConfig(num_shards=5))
    assert [list(task.clips) for task in planned] == expected_plan(list(found.clips), 5, 0)


def test_a_row_that_occurs_twice_among_many_is_named(tmp_path: Path) -> None:
    tree(tmp_path, "0.wav")
    paths = [f"{i}.wav" for i in range(3_000)]
    paths[2_500] = "./17.wav"
    pyarrow.parquet.write_table(pyarrow.table({"path": paths, "label": ["no"] * 3_000}), tmp_path / "clips.parquet")
    with pytest.raises(ManifestError, match=r"'17\.wav' is there twice \(row 18, row 2501\)"):
        read_manifest(tmp_path / "clips.parquet")
