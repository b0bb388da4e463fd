"""The driver keeps the records of finished shards without their clips."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from support.audio_files import noise, sound

from hybridspeech.config import FeatureConfig
from hybridspeech.manifest.columns.clip_table import ClipTable
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.encoding import ShardRecord
from hybridspeech.shards.finished_shards import SourceVersions, read_records
from hybridspeech.shards.names import ShardInfo
from hybridspeech.shards.plan import plan_shards
from hybridspeech.shards.sources import with_versions
from hybridspeech.shards.worker import ShardMaker

SMALL = FeatureConfig(kind="logmel", n_mels=16, hop_length=400)


def versioned(folder: Path) -> ClipTable:
    for i in range(4):
        (folder / "no").mkdir(parents=True, exist_ok=True)
        (folder / f"no/{i}.wav").write_bytes(sound("WAV", "PCM_16", noise(seed=i)))
    return with_versions(read_manifest(folder, ManifestConfig(split="none")).clips)


def test_a_worker_stores_the_clips_of_a_record_and_does_not_return_them(tmp_path: Path) -> None:
    clips, config = versioned(tmp_path / "source"), ShardConfig(num_shards=1).for_features("logmel")
    (tmp_path / "out/_progress").mkdir(parents=True)
    (returned,) = ShardMaker(out=str(tmp_path / "out"), features=SMALL, shards=config, key="")(
        plan_shards(clips, config)
    )
    (stored,) = read_records(str(tmp_path / "out/_progress"))
    assert returned.sources == {}
    assert sorted(stored.sources) == sorted(clip.clip_id for clip in clips)
    assert returned.info == stored.info
    assert json.loads((tmp_path / "out/_progress" / f"{stored.info.name}.json").read_text())["sources"]


def test_clips_with_another_version_and_clips_that_are_gone_are_counted(tmp_path: Path) -> None:
    clips = versioned(tmp_path)
    name = "training-00000-of-00001.tfrecord"
    info = ShardInfo(name=name, split="training", num_examples=3, num_bytes=1, checksum="0")
    sources = {clip_id: (version, "sound") for clip_id, version in clips[:2].values("clip_id", "version")}
    now = SourceVersions(clips, {"hum.wav": "1"})
    found = now.finished(ShardRecord(info=info, sources=sources, noises={"hum.wav": ("1", "sound")}))
    assert (found.num_sources, len(found.changed), found.has_current_noises, found.record.sources) == (2, 0, True, {})
    other = {**sources, "no/1.wav": ("0-0", "sound"), "no/gone.wav": ("1-1", "sound")}
    found = now.finished(ShardRecord(info=info, sources=other, noises={"hum.wav": ("2", "sound")}))
    assert (found.num_sources, len(np.unique(found.changed)), found.has_current_noises) == (3, 2, False)
