"""The verb `preprocess`: on every engine (fixture `engine`), or on the local one if the engine does not matter."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import soundfile

from hybridspeech.commands.preprocess import PreprocessResult, preprocess
from hybridspeech.config import FeatureConfig, Progress
from hybridspeech.engines.base import Engine
from hybridspeech.errors import ConfigError, OutputExistsError, TooManyRejectsError
from hybridspeech.features.extractor import spectrogram
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.reader import read_shard

SMALL = FeatureConfig(kind="logmel", n_mels=16, hop_length=400)


def files_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.is_file()}


@pytest.fixture(scope="session")
def reference(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PreprocessResult]:
    """Shards of the tones, from the reference engine."""
    out = tmp_path_factory.mktemp("reference") / "shards"
    return out, preprocess(tones, out, features=SMALL, engine="local")


def test_every_engine_writes_the_bytes_of_the_reference(
    engine: Engine, tones: Path, reference: tuple[Path, PreprocessResult], tmp_path: Path
) -> None:
    expected, result = reference
    made = preprocess(tones, tmp_path / "out", features=SMALL, engine=engine)
    assert made.digest == result.digest
    assert files_of(tmp_path / "out") == files_of(expected)


def test_every_engine_gives_the_real_clips_the_same_digest(
    engine: Engine, speech_commands: Path, tmp_path: Path, real_digest: str
) -> None:
    made = preprocess(speech_commands, tmp_path / "out", engine=engine)
    assert (made.num_clips, made.num_rejects) == (1700, 0)
    assert made.splits == {"training": 1112, "validation": 180, "testing": 408}
    assert made.digest == real_digest


@pytest.fixture(scope="session")
def real_digest(speech_commands: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("real")
    try:
        return preprocess(speech_commands, out / "shards", engine="local").digest
    finally:
        shutil.rmtree(out)


def test_a_record_holds_the_clip(tones: Path, reference: tuple[Path, PreprocessResult]) -> None:
    out, _ = reference
    index = ShardIndex.load(out)
    example = next(iter(read_shard(out / index.of_split("training")[0].name, shape=SMALL.shape)))
    wave, _ = soundfile.read(tones / example.clip_id, dtype="float32")
    np.testing.assert_array_equal(example.values, spectrogram(wave, SMALL))
    assert example.label_name == example.clip_id.split("/")[0] == index.labels[example.label]
    assert example.clip_id.split("/")[1].startswith(example.speaker)


def test_every_clip_is_in_one_shard_of_its_split(tones: Path, reference: tuple[Path, PreprocessResult]) -> None:
    out, result = reference
    index = ShardIndex.load(out)
    manifest = {
        row["clip_id"]: row["split"] for row in pyarrow.parquet.read_table(out / "manifest.parquet").to_pylist()
    }
    seen = Counter(
        (example.clip_id, shard.split)
        for shard in index.shards
        for example in read_shard(out / shard.name, shape=SMALL.shape)
    )
    assert seen == Counter(manifest.items())
    assert len(seen) == result.num_clips == 120


@pytest.mark.parametrize("engine_name", ["local", pytest.param("spark", marks=pytest.mark.cluster)])
def test_unusable_clips_are_rejected_with_a_reason_and_shards_stay_equal(
    tones: Path, tmp_path: Path, engine_name: str
) -> None:
    source = tmp_path / "source"
    shutil.copytree(tones, source)
    for i in range(9):
        (source / "high" / f"bad{i}.wav").write_bytes(b"" if i % 2 else b"this is text, not audio")
    good = preprocess(tones, tmp_path / "good", features=SMALL, manifest=ManifestConfig(split="none"), engine="local")
    made = preprocess(
        source, tmp_path / "out", features=SMALL, manifest=ManifestConfig(split="none"), engine=engine_name
    )
    rejects = [json.loads(line) for line in (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()]
    assert {reject["clip_id"]: reject["reason"] for reject in rejects} == {
        f"high/bad{i}.wav": "empty" if i % 2 else "not-audio" for i in range(9)
    }
    assert all(str(source) not in reject["detail"] for reject in rejects)
    assert (made.num_clips, made.num_rejects) == (good.num_clips, 9) == (120, 9)
    sizes = [shard.num_examples for shard in ShardIndex.load(tmp_path / "out").shards]
    assert max(sizes) - min(sizes) <= 1
    ids = Counter(
        example.clip_id
        for shard in ShardIndex.load(tmp_path / "out").shards
        for example in read_shard(tmp_path / "out" / shard.name, shape=SMALL.shape)
    )
    assert len(ids) == 120
    assert set(ids.values()) == {1}
    assert not list((tmp_path / "out").rglob(".*"))
    assert [path.name for path in (tmp_path / "out").glob("_*")] == ["_progress"]


@pytest.mark.parametrize("limit", [3, 0.01])
def test_too_many_rejects_stop_the_job(tones: Path, tmp_path: Path, limit: float) -> None:
    source = tmp_path / "source"
    shutil.copytree(tones, source)
    for i in range(4):
        (source / "low" / f"bad{i}.wav").touch()
    with pytest.raises(TooManyRejectsError, match=r"clips could not be used.*low/bad\d.wav: empty"):
        preprocess(source, tmp_path / "out", features=SMALL, engine="local", max_rejects=limit)
    assert (tmp_path / "out" / "rejects.jsonl").read_text()
    assert not (tmp_path / "out" / "index.json").exists()


def test_a_source_without_a_usable_clip_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "source" / "word").mkdir(parents=True)
    (tmp_path / "source" / "word" / "a.wav").touch()
    with pytest.raises(TooManyRejectsError, match="1 of 1 clip "):
        preprocess(tmp_path / "source", tmp_path / "out", features=SMALL, engine="local")


def test_resume_makes_only_unfinished_shards(
    tones: Path, tmp_path: Path, reference: tuple[Path, PreprocessResult]
) -> None:
    out, stages, said = tmp_path / "out", list[Progress](), list[str]()

    def stop_half_way(progress: Progress) -> None:
        said.append(progress.message)
        if progress.stage == "shards" and progress.done > 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        preprocess(tones, out, features=SMALL, engine="local", on_progress=stop_half_way)
    assert re.fullmatch(rf"\d+ of 120 clips are finished in {out}; --resume makes the rest", said[-1])
    with pytest.raises(OutputExistsError):
        preprocess(tones, out, features=SMALL, engine="local")
    made = preprocess(tones, out, features=SMALL, engine="local", resume=True, on_progress=stages.append)
    assert next(stage.done for stage in stages if stage.stage == "shards") > 50
    assert made.digest == reference[1].digest
    assert files_of(out) == files_of(reference[0])


def test_a_resume_of_a_finished_job_does_nothing(tones: Path, tmp_path: Path) -> None:
    first = preprocess(tones, tmp_path / "out", features=SMALL, engine="local")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    again = preprocess(tones, tmp_path / "out", features=SMALL, engine="local", resume=True)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before
    assert (again.digest, again.num_clips, again.clips_per_s) == (first.digest, 120, 0)


def test_a_resume_adds_new_clips(tones: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(tones, source)
    preprocess(source, tmp_path / "out", features=SMALL, engine="local")
    shutil.copy(source / "low" / "00000001_nohash_0.wav", source / "low" / "00000001_nohash_1.wav")
    made = preprocess(source, tmp_path / "out", features=SMALL, engine="local", resume=True)
    assert made.num_clips == 121


def test_a_resume_under_other_settings_is_refused(tones: Path, tmp_path: Path) -> None:
    preprocess(tones, tmp_path / "out", features=SMALL, engine="local")
    with pytest.raises(ConfigError, match="made with other features"):
        preprocess(tones, tmp_path / "out", features=FeatureConfig(kind="logmel"), engine="local", resume=True)
    assert (tmp_path / "out" / "index.json").exists()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_dtype_and_compression_keep_the_values(
    tones: Path, tmp_path: Path, reference: tuple[Path, PreprocessResult], dtype: str, compression: str
) -> None:
    shards = ShardConfig(dtype=dtype, compression=compression, num_shards=2)  # type: ignore[arg-type]
    preprocess(tones, tmp_path / "out", features=SMALL, shards=shards, engine="local")
    index = ShardIndex.load(tmp_path / "out")
    examples = {
        example.clip_id: example.values
        for shard in index.shards
        for example in read_shard(tmp_path / "out" / shard.name, compression, shape=SMALL.shape)
    }
    wave, _ = soundfile.read(tones / "low" / "00000000_nohash_0.wav", dtype="float32")
    tolerance_db = 0.06 if dtype == "float16" else 0.0
    np.testing.assert_allclose(
        examples["low/00000000_nohash_0.wav"], spectrogram(wave, SMALL), rtol=0, atol=tolerance_db
    )


def test_progress_counts_every_clip(tones: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    preprocess(tones, tmp_path / "out", features=SMALL, engine="local", on_progress=seen.append)
    done = [progress.done for progress in seen if progress.stage == "shards"]
    assert done == sorted(done)
    assert done[-1] == 120
