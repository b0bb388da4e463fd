"""`preprocess --exclude` leaves clips out, and says so in the index and in the digest."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.audio_files import noise, sound

from hybridspeech.commands.inspect import inspect
from hybridspeech.commands.preprocess import PreprocessResult, preprocess
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ManifestError
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.reader import read_shard

SMALL = FeatureConfig(kind="logmel", n_mels=16, hop_length=400)


def make(tones: Path, out: Path, **options: Any) -> PreprocessResult:
    return preprocess(tones, out, engine="local", **{"features": SMALL, "shards": ShardConfig(num_shards=4), **options})


def exclude(folder: Path, *clip_ids: str) -> Path:
    path = folder / "audit.csv"
    path.write_text("clip_id,exclude\n" + "".join(f"{clip_id},yes\n" for clip_id in clip_ids))
    return path


def ids_in(out: Path) -> set[str]:
    return {example.clip_id for shard in ShardIndex.load(out).shards for example in read_shard(out / shard.name)}


TWO = ("high/00000001_nohash_0.wav", "low/00000005_nohash_0.wav")


def test_excluded_clips_are_in_the_index_and_in_no_shard(tones: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    table = exclude(tmp_path, *TWO, "low/unknown.wav")
    before = make(tones, tmp_path / "all")
    made = make(tones, tmp_path / "out", exclude=table, on_progress=lambda progress: notes.append(progress.message))
    assert (made.num_clips, made.num_rejects) == (before.num_clips - 2, 0)
    assert ids_in(tmp_path / "all") - ids_in(tmp_path / "out") == set(TWO)
    assert ShardIndex.load(tmp_path / "out").excluded == TWO
    assert f"left out 2 clips that {table} excludes; 1 other clip that it lists is not in the source" in notes
    result = inspect(tmp_path / "out", verify=True)
    assert (result.problems, result.facts()["excluded"]) == ((), "2 clips on request")


def test_a_table_that_excludes_nothing_leaves_the_digest(tones: Path, tmp_path: Path) -> None:
    digest = make(tones, tmp_path / "all").digest
    assert make(tones, tmp_path / "none", exclude=exclude(tmp_path, "low/unknown.wav")).digest == digest
    assert "excluded" in (tmp_path / "none" / "index.json").read_text()


def test_the_digest_tells_left_out_clips_from_missing_ones(tones: Path, tmp_path: Path) -> None:
    source = shutil.copytree(tones, tmp_path / "source")
    made = make(source, tmp_path / "out", exclude=exclude(tmp_path, *TWO))
    for clip_id in TWO:
        (source / clip_id).unlink()
    fewer = make(source, tmp_path / "fewer")
    shards = [ShardIndex.load(tmp_path / name).shards for name in ("out", "fewer")]
    assert shards[0] == shards[1]
    assert made.digest != fewer.digest


def test_a_resume_with_another_table_leaves_the_shards_of_other_splits(tones: Path, tmp_path: Path) -> None:
    out, table = tmp_path / "out", exclude(tmp_path, *TWO)
    before = make(tones, out)
    times = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tfrecord")}
    made = make(tones, out, resume=True, exclude=table)
    assert made.digest == make(tones, tmp_path / "fresh", exclude=table).digest != before.digest
    changed = {name.split("-")[0] for name, time in times.items() if (out / name).stat().st_mtime_ns != time}
    assert changed == {"training"}
    assert make(tones, out, resume=True).digest == before.digest


def test_parts_of_long_recordings_and_silence_can_be_left_out(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for word in ("no", "yes"):
        (source / word).mkdir(parents=True)
        for i in range(4):
            wave = np.concatenate([noise(seed=10 * i + k) for k in range(3)])
            (source / word / f"{i}.wav").write_bytes(sound("WAV", "PCM_16", wave))
    table = exclude(tmp_path, "yes/1.wav@1000ms", "_silence_/training-00000")
    options = {
        "features": FeatureConfig(kind="waveform"),
        "manifest": ManifestConfig(split="none", on_long="split", task="words:yes,no,_silence_"),
    }
    make(source, tmp_path / "out", exclude=table, **options)
    found = ids_in(tmp_path / "out")
    assert not {"yes/1.wav@1000ms", "_silence_/training-00000"} & found
    assert "yes/1.wav@2000ms" in found


def test_a_table_that_leaves_no_clip_is_an_error(tones: Path, tmp_path: Path) -> None:
    every = [str(path.relative_to(tones)) for path in tones.glob("*/*.wav")]
    with pytest.raises(ManifestError, match="excludes all 120 clips; correct the table"):
        make(tones, tmp_path / "out", exclude=exclude(tmp_path, *every))
    assert not (tmp_path / "out").exists()
