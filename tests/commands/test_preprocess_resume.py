"""A resume detects changes of the source, and makes only the affected shards again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.audio_files import noise, sound

from hybridspeech.commands.preprocess import PreprocessResult, preprocess
from hybridspeech.config import AugmentConfig, EngineConfig, FeatureConfig, Progress
from hybridspeech.errors import ShardError
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.records import to_json
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.index import ShardIndex

SMALL = FeatureConfig(kind="logmel", n_mels=16, hop_length=400)
WAVEFORM = FeatureConfig(kind="waveform")
UNSPLIT = ManifestConfig(split="none")


def write_wav(path: Path, seed: int, seconds: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sound("WAV", "PCM_16", np.concatenate([noise(seed=seed + i) for i in range(seconds)])))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two words with six clips each, an empty clip, and two recordings of noise."""
    for i in range(12):
        write_wav(tmp_path / "source" / ("no" if i % 2 else "yes") / f"{i}.wav", seed=i)
    (tmp_path / "source/no/empty.wav").touch()
    for i in range(2):
        write_wav(tmp_path / f"source/_background_noise_/{i}.wav", seed=100 + i, seconds=2)
    return tmp_path / "source"


def make(source: Path, out: Path, **options: Any) -> PreprocessResult:
    """Preprocess in one process, so that its caches stay between two calls."""
    options = {"features": SMALL, "manifest": UNSPLIT, "shards": ShardConfig(num_shards=3), **options}
    return preprocess(source, out, engine="local", engine_config=EngineConfig(num_executors=1), **options)


def change_in_place(path: Path) -> None:
    """Return another sound of the same size."""
    size = path.stat().st_size
    write_wav(path, seed=1000)
    assert path.stat().st_size == size


def touch(path: Path) -> None:
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))


def times_of(out: Path, pattern: str = "*.tfrecord") -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.glob(pattern)}


def test_a_clip_that_was_changed_in_place_is_read_again(source: Path, tmp_path: Path) -> None:
    out, messages = tmp_path / "out", list[str]()
    before = make(source, out)
    times = times_of(out)
    change_in_place(source / "yes/4.wav")
    again = make(source, out, resume=True, on_progress=lambda progress: messages.append(progress.message))
    assert again.digest == make(source, tmp_path / "fresh").digest != before.digest
    assert f"1 source file has another size or time than in {out}: reading again" in messages
    assert sum(times_of(out)[name] != times[name] for name in times) == 1


def test_another_source_of_the_same_names_is_noticed(source: Path, tmp_path: Path) -> None:
    make(source, tmp_path / "out")
    shutil.copytree(source, tmp_path / "other")
    for path in (tmp_path / "other/yes").iterdir():
        change_in_place(path)
    again = make(tmp_path / "other", tmp_path / "out", resume=True)
    assert again.digest == make(tmp_path / "other", tmp_path / "fresh").digest


def test_another_source_with_the_same_names_sizes_and_times_is_noticed(source: Path, tmp_path: Path) -> None:
    """Archives may give all files the same time."""
    shutil.copytree(source, tmp_path / "other")
    change_in_place(tmp_path / "other/yes/4.wav")
    for path in (*source.rglob("*.wav"), *(tmp_path / "other").rglob("*.wav")):
        os.utime(path, ns=(0, 0))
    make(source, tmp_path / "out")
    times = times_of(tmp_path / "out")
    again = make(tmp_path / "other", tmp_path / "out", resume=True)
    assert again.digest == make(tmp_path / "other", tmp_path / "fresh").digest
    assert sum(times_of(tmp_path / "out")[name] != times[name] for name in times) == 1


def test_moving_the_source_changes_no_shard(source: Path, tmp_path: Path) -> None:
    before, times = make(source, tmp_path / "out"), times_of(tmp_path / "out")
    source.rename(tmp_path / "moved")
    again = make(tmp_path / "moved", tmp_path / "out", resume=True)
    assert (again.digest, times_of(tmp_path / "out")) == (before.digest, times)


def test_another_modification_time_changes_no_shard(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    before, times = make(source, out), times_of(out)
    for path in source.rglob("*.wav"):
        touch(path)
    assert make(source, out, resume=True).digest == before.digest
    assert times_of(out) == times
    index = times_of(out, "index.json")
    assert make(source, out, resume=True).digest == before.digest
    assert times_of(out, "index.json") == index


def test_a_repaired_clip_is_added(source: Path, tmp_path: Path) -> None:
    make(source, tmp_path / "out")
    write_wav(source / "no/empty.wav", seed=50)
    again = make(source, tmp_path / "out", resume=True)
    assert (again.num_clips, again.num_rejects) == (13, 0)
    assert again.digest == make(source, tmp_path / "fresh").digest


def test_a_clip_that_lost_its_content_is_rejected(source: Path, tmp_path: Path) -> None:
    make(source, tmp_path / "out")
    (source / "yes/4.wav").write_bytes(b"")
    again = make(source, tmp_path / "out", resume=True)
    assert (again.num_clips, again.num_rejects) == (11, 2)
    assert again.digest == make(source, tmp_path / "fresh").digest


def test_an_unfinished_job_notices_a_change_in_a_finished_shard(source: Path, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.stage == "shards" and progress.done == progress.total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(source, tmp_path / "out", on_progress=stop)
    for path in sorted((source / "yes").iterdir())[:2]:
        change_in_place(path)
    again = make(source, tmp_path / "out", resume=True)
    assert again.digest == make(source, tmp_path / "fresh").digest


@pytest.mark.parametrize(
    "options",
    [
        {"features": WAVEFORM},
        {"augment": AugmentConfig(background_volume=0.5, background_frequency=1.0), "augment_copies": 1},
        {"manifest": ManifestConfig(split="none", task="words:yes,no,_silence_", silence_percentage=50)},
    ],
    ids=["stored noise", "augmented copies", "silence"],
)
def test_noise_that_was_changed_in_place_is_read_again(source: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    out = tmp_path / "out"
    before = make(source, out, **options)
    for path in (source / "_background_noise_").iterdir():
        touch(path)
    times = times_of(out)
    assert make(source, out, resume=True, **options).digest == before.digest
    assert times_of(out) == times
    for i, path in enumerate(sorted((source / "_background_noise_").iterdir())):
        write_wav(path, seed=2000 + i, seconds=2)
    again = make(source, out, resume=True, **options)
    assert again.digest == make(source, tmp_path / "fresh", **options).digest != before.digest


def test_shards_without_records_are_made_again(source: Path, tmp_path: Path) -> None:
    before = make(source, tmp_path / "out")
    shutil.rmtree(tmp_path / "out/_progress")
    change_in_place(source / "yes/4.wav")
    again = make(source, tmp_path / "out", resume=True)
    assert again.digest == make(source, tmp_path / "fresh").digest != before.digest


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"info": 3}', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_record_makes_only_its_shard_again(source: Path, tmp_path: Path, content: bytes) -> None:
    out = tmp_path / "out"
    before, times = make(source, out), times_of(out)
    sorted((out / "_progress").glob("*.tfrecord.json"))[0].write_bytes(content)
    assert make(source, out, resume=True).digest == before.digest
    assert sum(times_of(out)[name] != times[name] for name in times) == 1


def write_as_format_1(out: Path) -> ShardIndex:
    """Replace the checksums in index.json and in the records by those of format version 1."""
    present = ShardIndex.load(out)
    sha256 = {shard.name: hashlib.sha256((out / shard.name).read_bytes()).hexdigest() for shard in present.shards}
    shards = tuple(replace(shard, checksum=f"sha256:{sha256[shard.name]}") for shard in present.shards)
    index = replace(present, format_version=1, shards=shards)
    counts = {"num_clips": index.num_clips, "splits": index.splits, "digest": index.digest}
    data = json.loads(json.dumps({**counts, **to_json(index)}))
    records = {path: json.loads(path.read_text()) for path in (out / "_progress").glob("*.tfrecord.json")}
    for info in (*data["shards"], *(record["info"] for record in records.values())):
        del info["checksum"]
        info["sha256"] = sha256[info["name"]]
    for path, record in {**records, out / "index.json": data}.items():
        path.write_text(json.dumps(record))
    return index


def test_an_output_of_format_1_is_read_and_made_again(source: Path, tmp_path: Path) -> None:
    first, said = make(source, tmp_path / "out"), list[str]()
    before = write_as_format_1(tmp_path / "out")
    assert ShardIndex.load(tmp_path / "out") == before
    again = make(source, tmp_path / "out", resume=True, on_progress=lambda progress: said.append(progress.message))
    assert again.digest == first.digest
    assert ShardIndex.load(tmp_path / "out").format_version == 2
    assert f"{tmp_path / 'out'} has format version 1: making all shards again" in said


def test_damaged_settings_are_one_sentence(source: Path, tmp_path: Path) -> None:
    make(source, tmp_path / "out")
    (tmp_path / "out/_progress/settings.json").write_text("{")
    with pytest.raises(ShardError, match=r"settings\.json: is damaged; start again with --overwrite"):
        make(source, tmp_path / "out", resume=True)


def test_sizes_and_times_are_in_the_progress_folder_only(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(source, out)
    stat = (source / "yes/4.wav").stat()
    records = [json.loads(path.read_text()) for path in (out / "_progress").glob("*.tfrecord.json")]
    sources = {clip_id: version for record in records for clip_id, (version, _) in record["sources"].items()}
    assert sources["yes/4.wav"] == f"{stat.st_size}-{stat.st_mtime_ns}"
    assert all(str(stat.st_mtime_ns).encode() not in path.read_bytes() for path in out.iterdir() if path.is_file())


def test_other_files_of_the_source_are_ignored(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers compare the sound; for an unchanged source the driver starts no engine."""
    make(source, tmp_path / "out")
    (source / "README.md").write_text("new")
    stages: list[str] = []
    make(source, tmp_path / "out", resume=True, on_progress=lambda progress: stages.append(progress.stage))
    assert "engine" not in stages
