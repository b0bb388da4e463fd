"""The verb `inspect`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.trained_runs import SMALL, tone_shards

from hybridspeech.commands.inspect import inspect
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError, ShardError
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.records import to_json
from hybridspeech.shards.index import ShardIndex


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, tones: Path) -> Path:
    return tone_shards(tmp_path_factory.getbasetemp(), tones)


@pytest.fixture
def copy(shards: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of shards that a test may damage."""
    yield shutil.copytree(shards, tmp_path / "shards")


def test_counts_add_up(shards: Path) -> None:
    result, index = inspect(shards), ShardIndex.load(shards)
    assert result.num_clips == 120 == sum(result.splits.values())
    assert list(result.labels) == ["high", "low", "middle"]
    for split, count in index.splits.items():
        assert sum(by_split[split] for by_split in result.labels.values()) == count


def test_sizes_settings_and_digest_are_those_of_the_index(shards: Path) -> None:
    result = inspect(shards)
    assert result.num_bytes == sum(path.stat().st_size for path in shards.glob("*.tfrecord"))
    assert (result.features, result.spectrogram_shape) == (SMALL, (129, 63))
    assert result.digest == ShardIndex.load(shards).digest


def test_result_is_json(shards: Path) -> None:
    data = json.loads(json.dumps(to_json(inspect(shards))))
    assert data["labels"]["low"].keys() == data["splits"].keys()
    assert data["problems"] is None


def test_table_and_fields_have_the_counts_and_the_digest(shards: Path) -> None:
    result = inspect(shards, verify=True)
    header, rows = result.table()
    assert header == ["label", "training", "validation", "testing"]
    assert [row[0] for row in rows] == ["high", "low", "middle", "all"]
    assert sum(map(int, rows[-1][1:])) == 120
    facts = result.facts()
    assert (facts["digest"], facts["shape"]) == (result.digest, "129 bins x 63 frames")
    assert facts["verified"] == "all shards are present and unchanged"


def test_rejects_are_counted_by_reason_and_not_among_the_clips(tones: Path, tmp_path: Path) -> None:
    source = shutil.copytree(tones, tmp_path / "source")
    (source / "low" / "ffffffff_nohash_0.wav").touch()
    (source / "low" / "ffffffff_nohash_1.wav").write_text("words, not sound " * 99)
    preprocess(source, tmp_path / "shards", features=SMALL, engine="local")
    result = inspect(tmp_path / "shards")
    assert result.num_rejects == 2 == sum(result.rejects.values())
    assert result.rejects["empty"] == 1
    assert sum(result.labels["low"].values()) == 40


def test_unknown_speakers_are_reported_by_preprocess_and_inspect(tones: Path, tmp_path: Path) -> None:
    source, shards = tmp_path / "source", tmp_path / "shards"
    for path in tones.glob("*/*.wav"):
        target = source / path.parent.name / path.name.replace("_nohash_", "-")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    notes: list[str] = []
    preprocess(
        source, shards, features=SMALL, engine="local", on_progress=lambda progress: notes.append(progress.message)
    )
    (warning,) = inspect(shards).warnings
    assert warning.startswith("the speaker of 120 of 120 clips is unknown")
    assert "--speaker-pattern prefix, which finds 40 speakers" in warning
    assert warning in notes
    by_prefix = ManifestConfig(speaker_pattern="prefix")
    preprocess(source, shards, features=SMALL, manifest=by_prefix, engine="local", overwrite=True)
    assert inspect(shards).warnings == ()
    assert ShardIndex.load(shards).manifest == by_prefix


def test_verify_finds_no_problem_in_good_shards(shards: Path) -> None:
    assert inspect(shards, verify=True).problems == ()


def test_verify_finds_a_changed_byte(copy: Path) -> None:
    shard = copy / ShardIndex.load(copy).shards[0].name
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    problems = inspect(copy, verify=True).problems
    assert problems is not None
    (problem,) = problems
    assert shard.name in problem


def test_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"index\.json"):
        inspect(tmp_path)


def test_damaged_rejects_and_manifest_are_named(copy: Path) -> None:
    (copy / "rejects.jsonl").write_text("{")
    with pytest.raises(ShardError, match=r"rejects\.jsonl"):
        inspect(copy)
    (copy / "rejects.jsonl").unlink()
    (copy / "manifest.parquet").write_bytes(b"PAR1")
    with pytest.raises(ShardError, match=r"manifest\.parquet"):
        inspect(copy)


@pytest.mark.parametrize("features", [SMALL, FeatureConfig(kind="logmel")], ids=["stft", "logmel"])
def test_plot_is_a_png_file(tones: Path, tmp_path: Path, features: FeatureConfig) -> None:
    preprocess(tones, tmp_path / "shards", features=features, engine="local")
    result = inspect(tmp_path / "shards", plot=tmp_path / "new" / "plot.png", num_plots=2)
    assert result.plot == str(tmp_path / "new" / "plot.png")
    assert (tmp_path / "new" / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_plot_of_no_labels_is_refused(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="num_plots is 0"):
        inspect(shards, plot=tmp_path / "plot.png", num_plots=0)
