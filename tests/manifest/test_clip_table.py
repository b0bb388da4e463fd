"""A table of clips is a sequence of clips, and its pickle grows with its own clips only."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.empty_files import tree

from hybridspeech.manifest.clips import Clip, Manifest
from hybridspeech.manifest.columns.clip_table import ClipTable
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.manifest.tasks import add_copies
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.plan import ShardTask, plan_shards

BYTES_PER_CLIP = 30
"""A pickled list of clips takes 140."""
CLIPS = [
    Clip(clip_id="no/a.wav", path="/x/no/a.wav", label=0, label_name="no", speaker="", split="training"),
    Clip(clip_id="no/a.wav#1", path="/x/no/a.wav", label=0, label_name="no", speaker="", split="training", copy=1),
    Clip(clip_id="yes/é.wav", path="/x/yes/\udcff.wav", label=1, label_name="yes", speaker="bob", split="testing"),
    Clip(
        clip_id="_silence_/testing-00000",
        path="",
        label=2,
        label_name="_silence_",
        speaker="",
        split="testing",
        excerpt=(0.25, 0.1),
        version="12-34",
    ),
    Clip(
        clip_id="yes/b.wav@0ms",
        path="s3://b/b.wav",
        label=1,
        label_name="yes",
        speaker="é",
        split="testing",
        start_ms=7,
    ),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A folder with copies and with names that are not UTF-8."""
    folder = tree(tmp_path_factory.mktemp("clips"), *(f"yes/{i:08x}_nohash_{i % 7}.wav" for i in range(300)))
    tree(folder, os.fsdecode(b"n\xf6/\xff_nohash_0.wav"), "no/é.wav")
    return add_copies(read_manifest(folder), 2)


def test_a_table_has_the_clips_that_it_was_made_of() -> None:
    table = ClipTable.of(CLIPS)
    assert list(table) == CLIPS
    assert [table[i] for i in range(-1, 3)] == [CLIPS[-1], *CLIPS[:3]]
    assert list(table[1:][::2]) == CLIPS[1:][::2]
    assert list(table.of_split("testing")) == CLIPS[2:]
    assert list(table.without_ids({"no/a.wav"})) == CLIPS[1:]
    assert list(table.values("label", "copy")) == [(clip.label, clip.copy) for clip in CLIPS]
    assert table == ClipTable.of(CLIPS) != ClipTable.of(CLIPS[::-1])


def test_parts_with_other_columns_are_joined(found: Manifest) -> None:
    other = [replace(clip, clip_id=f"z{clip.clip_id}", path=f"/z{clip.path}") for clip in found.clips[:3]]
    parts = [found.clips[5:], ClipTable.of(CLIPS), ClipTable.of(other), found.clips[:5]]
    joined = ClipTable.concat(parts)
    assert list(joined) == [clip for part in parts for clip in part]
    assert list(joined.sorted_by_id()) == sorted(joined, key=lambda clip: clip.clip_id)


def test_copies_and_names_that_are_not_utf_8_have_the_paths_of_their_files(found: Manifest) -> None:
    assert {clip.path for clip in found.clips if clip.copy} <= {clip.path for clip in found.clips if not clip.copy}
    assert all(Path(clip.path).exists() for clip in found.clips)
    assert os.fsdecode(b"\xff_nohash_0.wav") in {Path(clip.path).name for clip in found.clips}


def task_of(found: Manifest, num_shards: int) -> ShardTask:
    return plan_shards(found.clips, ShardConfig(num_shards=num_shards))[0]


def test_the_pickle_of_a_task_has_its_clips_only(tmp_path: Path) -> None:
    tree(tmp_path, "no/00000000_nohash_0.wav")
    sizes = []
    for num_clips, num_shards in ((1_000, 1), (20_000, 20)):
        rows = [f"no/{i * 7919:08x}_nohash_{i % 9}.wav,no,training" for i in range(num_clips)]
        (tmp_path / "clips.csv").write_text("\n".join(["path,label,split", *rows]))
        task = task_of(read_manifest(tmp_path / "clips.csv"), num_shards)
        assert len(task.clips) == 1_000
        sizes.append(len(pickle.dumps(task)))
    assert max(sizes) < BYTES_PER_CLIP * 1_000
    assert sizes[1] < 1.2 * sizes[0]


def test_a_pickled_table_is_read_without_arrow(found: Manifest, tmp_path: Path) -> None:
    tables = [ClipTable.of(CLIPS), task_of(found, 3).clips]
    (tmp_path / "tables").write_bytes(pickle.dumps(tables))
    assert pickle.loads((tmp_path / "tables").read_bytes()) == tables
    code = "import pickle, sys; tables = pickle.load(open(sys.argv[1], 'rb')); print([len(list(table)) for table in tables]); "
    code += "sys.exit('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "tables"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([len(table) for table in tables])
