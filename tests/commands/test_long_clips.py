"""Clips that are longer than the clip duration: counted, and cut or rejected."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile

from hybridspeech.commands.preprocess import preprocess
from hybridspeech.commands.run import make_source
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError
from hybridspeech.feeds.base import FeedJob
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.encoding import ShardRecord
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.plan import ShardTask
from hybridspeech.shards.reader import read_shard
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.recipes import REPORT
from hybridspeech.training.run_directory import RunDirectory

SMALL = FeatureConfig(kind="waveform")


@pytest.fixture
def source(tones: Path, tmp_path: Path) -> Path:
    """Copy the tones, with one clip of 1.5 s and one of 3 s."""
    copy = shutil.copytree(tones, tmp_path / "source")
    for word, seconds in (("high", 1.5), ("low", 3.0)):
        path = min((copy / word).iterdir())
        wave, rate_hz = soundfile.read(path, dtype="float32")
        soundfile.write(path, np.resize(wave, int(seconds * rate_hz)), rate_hz, subtype="PCM_16")
    return copy


def test_long_clips_are_cut_and_counted(tones: Path, source: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    made = preprocess(
        source, tmp_path / "out", features=SMALL, engine="local", on_progress=lambda p: notes.append(p.message)
    )
    assert (made.num_clips, made.num_rejects, made.num_long, made.cut_s) == (120, 0, 2, 2.5)
    assert made.digest == preprocess(tones, tmp_path / "whole", features=SMALL, engine="local").digest
    assert any(
        note.startswith(
            "2 of 120 clips are longer than the clip duration of 1,000 ms: 2.5 s in total were cut off at their ends, at "
            "most 2.0 s of one"
        )
        for note in notes
    )
    again = preprocess(source, tmp_path / "out", features=SMALL, engine="local", resume=True)
    assert (again.num_long, again.cut_s) == (2, 2.5)


def test_long_clips_are_rejected_on_request(source: Path, tmp_path: Path) -> None:
    out, reject = tmp_path / "out", ManifestConfig(on_long="reject")
    made = preprocess(source, out, features=SMALL, manifest=reject, engine="local")
    rejects = [json.loads(line) for line in (out / "rejects.jsonl").read_text().splitlines()]
    assert [(entry["clip_id"].split("/")[0], entry["reason"]) for entry in rejects] == [
        ("high", "exceeds-duration"),
        ("low", "exceeds-duration"),
    ]
    assert rejects[0]["detail"] == "1.50 s; expected at most 1 s, or --on-long cut"
    assert (made.num_rejects, made.num_long, ShardIndex.load(out).manifest) == (2, 0, reject)
    again = preprocess(source, out, features=SMALL, manifest=reject, engine="local", resume=True)
    assert again.digest == made.digest
    with pytest.raises(ConfigError, match="made with other on_long"):
        preprocess(source, out, features=SMALL, engine="local", resume=True)


@pytest.mark.parametrize(("on_long", "num_rejects"), [("cut", 0), ("reject", 2)])
def test_run_feeds_the_same_clips(source: Path, on_long: Literal["cut", "reject"], num_rejects: int) -> None:
    config = ManifestConfig(on_long=on_long)
    clips = make_source(source, FeatureConfig(kind="logmel"), config, ShardConfig(num_shards=2), 1, math.inf)
    records = [item for item in clips.chunks(clips.tasks, 0) if isinstance(item, ShardRecord)]
    rejects = [reject.reason for record in records for reject in record.rejects]
    assert rejects == ["exceeds-duration"] * num_rejects


def counting(path: Path, seconds: list[float], rate_hz: int = 16_000) -> None:
    """Write a recording whose level in each part tells the number of the part."""
    parts = [np.full(round(length * rate_hz), 0.1 * number) for number, length in enumerate(seconds, 1)]
    soundfile.write(path, np.concatenate(parts), rate_hz, subtype="PCM_16")


@pytest.mark.parametrize(("name", "rate_hz"), [("long.wav", 16_000), ("long.flac", 8_000)])
def test_long_clips_are_split_into_consecutive_clips(tones: Path, tmp_path: Path, name: str, rate_hz: int) -> None:
    source = shutil.copytree(tones, tmp_path / "source")
    counting(source / "high" / f"a_nohash_{name}", [1, 1, 0.6], rate_hz)
    counting(source / "low" / f"b_nohash_{name}", [1, 0.4], rate_hz)
    notes: list[str] = []
    split = ManifestConfig(on_long="split")
    made = preprocess(
        source,
        tmp_path / "out",
        features=SMALL,
        manifest=split,
        engine="local",
        on_progress=lambda p: notes.append(p.message),
    )
    assert (made.num_clips, made.num_rejects, made.num_long) == (120 + 3 + 1, 0, 0)
    (note,) = [note for note in notes if "split into" in note]
    assert note.startswith(
        "2 recordings longer than 1,000 ms: split into 4 clips; rests of less than half a clip, 0.4 s"
    )
    index = ShardIndex.load(tmp_path / "out")
    examples = [example for info in index.shards for example in read_shard(tmp_path / "out" / info.name)]
    levels = {
        example.clip_id.split("@")[1]: np.abs(example.values.reshape(-1)[:8_000]).max() / 32_768
        for example in examples
        if example.clip_id.startswith(f"high/a_nohash_{name}@")
    }
    assert levels == pytest.approx({"0ms": 0.1, "1000ms": 0.2, "2000ms": 0.3}, abs=0.03)
    assert f"low/b_nohash_{name}@0ms" in {example.clip_id for example in examples}
    assert len({example.speaker for example in examples if "high/a_nohash" in example.clip_id}) == 1
    again = preprocess(source, tmp_path / "out", features=SMALL, manifest=split, engine="local", resume=True)
    assert again.digest == made.digest


def test_splitting_without_long_clips_changes_nothing(tones: Path, tmp_path: Path) -> None:
    features = FeatureConfig(kind="waveform", clip_duration_ms=1_000)
    split, cut = (
        preprocess(
            tones, tmp_path / on_long, features=features, manifest=ManifestConfig(on_long=on_long), engine="local"
        )
        for on_long in ("split", "cut")
    )
    assert split.digest == cut.digest


def test_run_splits_the_same_clips(source: Path) -> None:
    config = ManifestConfig(on_long="split")
    clips = make_source(source, FeatureConfig(kind="logmel"), config, ShardConfig(num_shards=2), 1, math.inf)
    ids = {clip.clip_id.split("@")[1] for task in clips.tasks for clip in task.clips if "@" in clip.clip_id}
    assert ids == {"0ms", "1000ms", "2000ms"}
    assert any("split into" in note for note in clips.notes)


def test_run_reports_what_preprocess_reports(source: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    features = FeatureConfig(kind="logmel")
    preprocess(
        source, tmp_path / "out", features=features, engine="local", on_progress=lambda p: notes.append(p.message)
    )
    clips = make_source(source, features, ManifestConfig(), ShardConfig(num_shards=2), 1, math.inf)
    assert clips.notes
    assert set(clips.notes) < set(notes)
    plan = TrainPlan(shards="", run=str(tmp_path / "run"), fit=REPORT)
    RunDirectory(plan.run).create(plan)
    feed = FeedJob(clips, plan)

    def make(parts: list[list[ShardTask]], generation: int) -> None:
        for item in clips.chunks(parts[0], generation):
            if isinstance(item, ShardRecord):
                feed.put(item)

    feed.run(make)
    cut = RunDirectory(plan.run).status.read_feed()["cut"]
    number = sum(len(task.clips) for task in clips.tasks)  # without those for testing
    assert cut.startswith(f"2 of {number} clips are longer than the clip duration of 1,000 ms: 2.5 s in total")


def test_a_few_samples_more_do_not_count_as_long(tones: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tones, tmp_path / "source")
    path = min((copy / "high").iterdir())
    wave, rate_hz = soundfile.read(path, dtype="float32")
    soundfile.write(path, np.resize(wave, rate_hz + 50), rate_hz, subtype="PCM_16")
    made = preprocess(copy, tmp_path / "out", features=SMALL, manifest=ManifestConfig(on_long="reject"), engine="local")
    assert (made.num_rejects, made.num_long) == (0, 0)
