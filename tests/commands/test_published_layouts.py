"""Every form of a source gives the shards of the same clips in word folders, to the byte; segments give their clips."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow.parquet
import pytest
import soundfile
from pyspark.sql import SparkSession
from support.published_sources import (
    SPOKEN_WORDS_COLUMNS,
    clips_of,
    common_voice_row,
    copied,
    speaker_of,
    spoken_words_row,
    write_common_voice,
    write_nemo,
    write_table,
)
from typer.testing import CliRunner

from hybridspeech.cli import app
from hybridspeech.commands.preprocess import PreprocessResult, preprocess
from hybridspeech.commands.run import make_source
from hybridspeech.config import FeatureConfig
from hybridspeech.engines import Engine
from hybridspeech.manifest.clips import recording_of
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.reader import Example, read_shard
from hybridspeech.shards.rejects import Reject
from hybridspeech.storage.copies import upload_files

WAVEFORM = FeatureConfig(kind="waveform")


def shards_of(source: Any, out: Path, engine: str | Engine = "local", **manifest: Any) -> PreprocessResult:
    config, shards = ManifestConfig(**manifest), ShardConfig(num_shards=1)
    return preprocess(source, out, features=WAVEFORM, manifest=config, shards=shards, engine=engine)


def examples(out: Path) -> dict[str, Example]:
    return {each.clip_id: each for path in out.glob("*.tfrecord") for each in read_shard(path, (16_000,))}


@pytest.fixture(scope="module")
def words(noisy_tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips in word folders, without background noise. Read only."""
    root = tmp_path_factory.mktemp("words") / "words"
    for clip in clips_of(noisy_tones):
        if not clip.parent.name.startswith("_"):
            (root / clip.parent).mkdir(parents=True, exist_ok=True)
            (root / clip).write_bytes((noisy_tones / clip).read_bytes())
    return root


@pytest.fixture(scope="module")
def digest(words: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of their shards."""
    return shards_of(words, tmp_path_factory.mktemp("digest") / "out").digest


def test_published_layouts_of_the_same_clips_have_the_digest_of_the_folder(
    words: Path, digest: str, tmp_path: Path
) -> None:
    clips = clips_of(words)
    nemo = copied(words, tmp_path / "nemo")
    write_nemo(nemo, clips, "train_manifest.json", offset=0.0)
    assert shards_of(nemo / "train_manifest.json", tmp_path / "1").digest == digest
    copied(words, tmp_path / "mswc" / "clips")
    rows = [spoken_words_row(clip, "") for clip in clips]
    write_table(tmp_path / "mswc" / "xx_splits.csv", SPOKEN_WORDS_COLUMNS, rows)
    assert shards_of(tmp_path / "mswc", tmp_path / "2").digest == digest
    copied(words, tmp_path / "cv" / "clips")
    write_common_voice(tmp_path / "cv", {"validated": [common_voice_row(clip, clip.parent.name) for clip in clips]})
    assert shards_of(tmp_path / "cv", tmp_path / "3").digest == digest
    folder = copied(words, tmp_path / "hf")
    metadata = [{"file_name": str(clip), "label": clip.parent.name} for clip in clips]
    write_table(folder / "metadata.csv", ["file_name", "label"], metadata, lineterminator="\r\n")
    assert shards_of(folder, tmp_path / "4").digest == digest


def test_data_frames_have_the_digest_of_the_folder(
    words: Path, digest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(words)
    frame = pandas.DataFrame({"file": [str(clip) for clip in clips_of(words)]})
    frame["word"] = frame["file"].str.split("/").str[0].astype("category")
    columns = {"path": "file", "label": "word"}
    assert shards_of(frame, tmp_path / "pandas", columns=columns).digest == digest
    assert shards_of(pyarrow.table(frame), tmp_path / "arrow", columns=columns).digest == digest
    config = ManifestConfig(columns=columns)
    source = make_source(frame, FeatureConfig(kind="logmel"), config, ShardConfig(num_shards=1), 1, math.inf)
    assert source.num_clips == sum(clip.split != "testing" for clip in read_manifest(words).clips)


@pytest.mark.cluster
@pytest.mark.parametrize("engine", ["spark-local"], indirect=True)
def test_a_spark_data_frame_has_the_digest_of_the_folder(
    engine: Engine, words: Path, digest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(words)
    rows = [(str(clip), clip.parent.name, 7) for clip in clips_of(words)]
    frame = SparkSession.builder.getOrCreate().createDataFrame(rows, "path string, label string, n int")
    assert shards_of(frame.repartition(3), tmp_path / "out", engine).digest == digest


@pytest.fixture(scope="module")
def recording(words: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """One recording with all clips, one after the other, and a table of its segments; segment id -> id of the clip."""
    root, at_s = tmp_path_factory.mktemp("recording"), 0.0
    parts, lines, clip_of = [np.zeros(0, np.int16)], ["path,label,speaker,start,duration"], {}
    for clip in clips_of(words):
        lines.append(f"day/one.flac,{clip.parent.name},{speaker_of(clip)},{at_s!r},1")
        clip_of[f"day/one.flac@{1000 * at_s:g}ms" if at_s else "day/one.flac"] = str(clip)
        parts += [soundfile.read(words / clip, dtype="int16")[0], np.full(40, 1_000, np.int16)]
        at_s += 1 + 40 / 16_000
    (root / "day").mkdir()
    soundfile.write(root / "day" / "one.flac", np.concatenate(parts), 16_000)
    (root / "segments.csv").write_text("\n".join(lines))
    return root / "segments.csv", clip_of


def test_segments_are_the_clips_that_they_hold(
    words: Path, recording: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    table, clip_of = recording
    shards_of(words, tmp_path / "words")
    result = shards_of(table, tmp_path / "segments")
    expected, found = examples(tmp_path / "words"), examples(tmp_path / "segments")
    assert result.num_rejects == 0 and result.num_long == 0
    assert found.keys() == clip_of.keys()
    for segment, clip in clip_of.items():
        assert (found[segment].label_name, found[segment].speaker) == (
            expected[clip].label_name,
            expected[clip].speaker,
        )
        np.testing.assert_array_equal(found[segment].values, expected[clip].values)
    row = pyarrow.parquet.read_table(tmp_path / "segments" / "manifest.parquet").to_pylist()[1]
    assert (row["clip_id"], row["start_s"], row["duration_s"]) == ("day/one.flac@1002.5ms", 1.0025, 1.0)


def test_a_long_segment_is_split_and_its_parts_are_found_in_the_recording(
    recording: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    table, _ = recording
    changed = table.with_name("long.csv")
    lines = ["path,label,start,end", "day/one.flac,low,0,2.6", "day/one.flac,low,5.0125,7.5", "day/one.flac,low,9,10"]
    changed.write_text("\n".join(lines))
    shards_of(changed, tmp_path / "out", on_long="split", split="none")
    found = examples(tmp_path / "out")
    starts_ms = {
        **{"day/one.flac": 0, "day/one.flac@1000ms": 1000, "day/one.flac@2000ms": 2000, "day/one.flac@9000ms": 9000},
        **{f"day/one.flac@5012.5ms@{part}ms": 5012.5 + part for part in (0, 1000)},
    }
    starts_ms["day/one.flac@0ms"] = starts_ms.pop("day/one.flac")
    assert found.keys() == starts_ms.keys()
    samples = soundfile.read(table.parent / "day" / "one.flac", dtype="int16")[0]
    for row in pyarrow.parquet.read_table(tmp_path / "out" / "manifest.parquet").to_pylist():
        name, part_ms = recording_of(row["clip_id"], (row["start_s"], row["duration_s"]))
        assert (name, 1000 * row["start_s"] + part_ms) == ("day/one.flac", starts_ms[row["clip_id"]])
        first, size = (
            round(16 * starts_ms[row["clip_id"]]),
            min(16_000, round(16 * (1000 * row["duration_s"] - part_ms))),
        )
        np.testing.assert_array_equal(found[row["clip_id"]].values[:size], samples[first : first + size])


@pytest.mark.parametrize("store", ["memory", pytest.param("s3", marks=pytest.mark.slow)])
def test_tables_and_segments_on_a_store_have_the_local_digest(
    recording: tuple[Path, dict[str, str]], store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    table, _ = recording
    url = request.getfixturevalue("s3_url") if store == "s3" else f"memory://formats/{uuid.uuid4().hex}"
    upload_files(table.parent, ["segments.csv", "day/one.flac"], url)
    digests = {shards_of(place, tmp_path / name).digest for name, place in (("1", table), ("2", f"{url}/segments.csv"))}
    assert len(digests) == 1


def test_a_segment_outside_its_recording_is_a_reject_and_a_changed_one_is_made_again(
    recording: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    table, clip_of = recording
    lines = table.read_text().splitlines()
    changed = table.with_name("changed.csv")
    changed.write_text("\n".join([*lines, "day/one.flac,low,zoe,1000,1", "day/one.flac,low,zoe,48.1,9"]))
    result = shards_of(changed, tmp_path / "out")
    rejects = [Reject(**json.loads(line)) for line in (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()]
    assert {(reject.clip_id, reject.reason) for reject in rejects} == {
        ("day/one.flac@1000000ms", "outside"),
        ("day/one.flac@48100ms", "outside"),
    }
    assert result.splits and sum(result.splits.values()) == len(clip_of)
    changed.write_text("\n".join([lines[0], lines[1].replace(",1", ",0.5"), *lines[2:]]))
    config, shards = ManifestConfig(), ShardConfig(num_shards=1)
    resumed = preprocess(
        changed, tmp_path / "out", features=WAVEFORM, manifest=config, shards=shards, engine="local", resume=True
    )
    assert resumed.digest == shards_of(changed, tmp_path / "fresh").digest != result.digest


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRunner]:
    monkeypatch.chdir(tmp_path)
    yield CliRunner()


def test_the_command_line_names_columns_and_formats(words: Path, runner: CliRunner, tmp_path: Path) -> None:
    lines = [f"{words / clip};{clip.parent.name};{speaker_of(clip)}".replace(";", "\t") for clip in clips_of(words)]
    Path("list.tsv").write_text("\n".join(["Datei\tWort\tWer", *lines]), encoding="utf-8")
    options = ["--engine", "local", "--features", "logmel", "--json", "--shards", "1"]
    done = runner.invoke(
        app, ["preprocess", "list.tsv", "out", "--columns", "path=Datei,label=Wort,speaker=Wer", *options]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["num_clips"] == 48
    assert "read as a table: list.tsv; path from 'Datei', label from 'Wort', speaker from 'Wer'" in done.stderr
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert index["manifest"]["columns"] == {"path": "Datei", "label": "Wort", "speaker": "Wer"}
    again = runner.invoke(
        app, ["preprocess", "list.tsv", "again", "--config", "out/index.json", "--engine", "local", "--json"]
    )
    assert json.loads(again.stdout)["digest"] == json.loads(done.stdout)["digest"]
    for given, message in (
        (["--columns", "path"], "--columns 'path': expected NAME=VALUE"),
        (["--columns", "pfad=Datei"], "columns has 'pfad'; expected path, label"),
        (["--columns", "path=Datei"], "no column 'label'; it has Datei, Wort, Wer"),
        (["--source-format", "speakers"], "--source-format speakers needs a folder"),
        ([], "no column 'path'; it has Datei, Wort, Wer. Name the one to use: --columns path=NAME"),
    ):
        wrong = runner.invoke(app, ["preprocess", "list.tsv", "wrong", *given, *options])
        assert wrong.exit_code in (1, 2)
        assert message in " ".join(wrong.stderr.split())
        assert not Path("wrong").exists()


@pytest.mark.parametrize("store", ["memory", pytest.param("s3", marks=pytest.mark.slow)])
def test_published_layouts_on_a_store_have_the_digest_of_the_folder(
    words: Path, digest: str, store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue("s3_url") if store == "s3" else f"memory://formats/{uuid.uuid4().hex}"
    clips = clips_of(words)
    copied(words, tmp_path / "cv" / "clips")
    write_common_voice(tmp_path / "cv", {"validated": [common_voice_row(clip, clip.parent.name) for clip in clips]})
    upload_files(tmp_path / "cv", ["validated.tsv", *(f"clips/{clip}" for clip in clips)], url)
    assert shards_of(url, tmp_path / "1").digest == digest
    rows = [{"path": f"{url}/clips/{clip}", "label": clip.parent.name, "speaker": speaker_of(clip)} for clip in clips]
    write_table(tmp_path / "local.csv", ["path", "label", "speaker"], rows)
    assert shards_of(tmp_path / "local.csv", tmp_path / "2").num_clips == len(clips)
