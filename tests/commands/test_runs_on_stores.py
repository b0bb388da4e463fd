"""`train`, `evaluate`, `predict` and `export` with shards and runs on an object store give the numbers of local disks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hybridspeech as hs
from hybridspeech.errors import OutputExistsError, WorkerError
from hybridspeech.storage.copies import upload_files
from hybridspeech.storage.locations import join, parent_and_name
from hybridspeech.storage.objects import list_files, read_bytes, write_bytes
from hybridspeech.training import loop

pytestmark = pytest.mark.slow
FIT = hs.FitConfig(epochs=2, batch_size=8, deterministic=True, seed=3, shuffle_buffer=32)


@pytest.fixture(scope="module")
def shards(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("waveforms") / "shards"
    hs.preprocess(
        tones, out, engine="local", features=hs.FeatureConfig(kind="waveform"), shards=hs.ShardConfig(num_shards=4)
    )
    return out


@pytest.fixture(scope="module")
def local(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Train on local disks."""
    return hs.train(shards, tmp_path_factory.mktemp("runs") / "run", backend="local", fit=FIT)


@pytest.fixture
def stored_shards(shards: Path, s3_url: str) -> str:
    return uploaded(shards, join(parent_and_name(s3_url)[0], "waveforms"))


def uploaded(folder: Path, url: str) -> str:
    if not list_files(url):
        upload_files(folder, [stat.name for stat in list_files(str(folder))], url)
    return url


def curve(result: Any) -> list[dict[str, float]]:
    times = ("seconds", "examples_per_s")
    return [{name: value for name, value in row.items() if name not in times} for row in result.history]


@pytest.mark.parametrize("cache", ["16g", "1m"])
def test_shards_on_a_store_give_the_curve_of_local_ones(
    cache: str, stored_shards: str, local: Any, tmp_path: Path
) -> None:
    cluster = hs.ClusterConfig(shard_cache=cache)
    stored = hs.train(stored_shards, tmp_path / "run", backend="local", fit=FIT, cluster=cluster)
    assert curve(stored) == curve(local)


def test_a_changed_shard_on_a_store_is_named(shards: Path, s3_url: str, tmp_path: Path) -> None:
    url = uploaded(shards, join(s3_url, "damaged"))
    name = next(stat.name for stat in list_files(url) if stat.name.startswith("training-00002"))
    damaged = bytearray(read_bytes(join(url, name)))
    damaged[5000] ^= 1
    write_bytes(join(url, name), bytes(damaged))
    with pytest.raises(WorkerError, match=rf"ShardError: {url}/{name}: its content has changed"):
        hs.train(url, tmp_path / "run", backend="local", fit=FIT)


def test_a_run_on_a_store_is_evaluated_used_and_exported(
    local: Any, tones: Path, stored_shards: str, s3_url: str, tmp_path: Path
) -> None:
    run = uploaded(Path(local.run_dir), join(s3_url, "run"))
    expected = hs.evaluate(local.run_dir, local_shards(local), out=tmp_path / "e")
    found = hs.evaluate(run, stored_shards)
    assert replace(found, run="", files=expected.files) == replace(expected, run="")
    assert found.files.metrics == join(run, "evaluation-testing/metrics.json")
    assert json.loads(read_bytes(str(found.files.metrics)))["files"]["metrics"] == found.files.metrics
    clips = uploaded(tones / "low", join(s3_url, "clips"))
    answers = list(hs.predict(run, [clips]))
    assert [answer.probability for answer in answers] == [
        answer.probability for answer in hs.predict(local.run_dir, [tones / "low"])
    ]
    assert answers[0].path.startswith(clips)
    for format, name in (("savedmodel", "model"), ("tflite", "model.tflite")):
        exported = hs.export(run, join(s3_url, name), format=format)
        assert exported.path == join(s3_url, name)
        assert sum(stat.num_bytes for stat in list_files(join(s3_url, name))) in (exported.num_bytes, 0)
    with pytest.raises(OutputExistsError, match="exists already"):
        hs.export(run, join(s3_url, "model"))
    assert hs.export(run, join(s3_url, "model"), overwrite=True).max_difference < 1e-3


def local_shards(result: Any) -> str:
    plan = json.loads((Path(result.run_dir) / "plan.json").read_text())
    return str(plan["shards"])


def test_a_run_on_a_store_has_the_curve_and_the_files_of_a_local_one(
    stored_shards: str, local: Any, s3_url: str
) -> None:
    run = join(s3_url, "run")
    stored = hs.train(stored_shards, run, backend="local", fit=FIT)
    assert (stored.run_dir, curve(stored)) == (run, curve(local))
    names = {stat.name for stat in list_files(run)}
    expected = {stat.name for stat in list_files(local.run_dir) if "tensorboard" not in stat.name}
    assert {name for name in names if "tensorboard" not in name} == expected
    assert json.loads(read_bytes(join(run, "plan.json")))["run"] == run
    with pytest.raises(OutputExistsError, match="is not empty"):
        hs.train(stored_shards, run, backend="local", fit=FIT)


def test_a_run_on_a_store_is_resumed_after_its_host_is_lost(
    stored_shards: str, local: Any, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, run_epoch = join(s3_url, "run"), loop.run_epoch

    def lost_in_the_second_epoch(rank: Any, start: Any) -> Any:
        if start.epochs == 1:
            raise ConnectionError(f"lost {rank.context.run.path}")
        return run_epoch(rank, start)

    monkeypatch.setattr(loop, "run_epoch", lost_in_the_second_epoch)
    with pytest.raises(WorkerError, match=f"worker 0 failed: ConnectionError: lost {run}"):
        hs.train(stored_shards, run, backend="local", fit=FIT)
    assert not any(stat.name.startswith("model/") for stat in list_files(run))
    monkeypatch.setattr(loop, "run_epoch", run_epoch)
    resumed = hs.train(stored_shards, run, backend="local", fit=FIT, resume=True)
    assert curve(resumed) == curve(local)
    assert resumed.history[0] == json.loads(read_bytes(join(run, "metrics.jsonl")).splitlines()[0])
    assert any(stat.name == "model/model.weights.h5" for stat in list_files(run))


@pytest.mark.soak
def test_ray_trains_into_a_run_on_a_store(stored_shards: str, s3_url: str) -> None:
    cluster = hs.ClusterConfig(num_workers=2)
    trained = hs.train(stored_shards, join(s3_url, "run"), backend="ray", fit=FIT, cluster=cluster)
    assert hs.evaluate(trained.run_dir, stored_shards).run == trained.run_dir
    assert any(stat.name == "workers/rank-001.log" for stat in list_files(trained.run_dir))


@pytest.mark.soak
def test_spark_feeds_clips_of_a_store_into_a_run_on_it(tones: Path, s3_url: str, tmp_path: Path) -> None:
    clips, logmel = uploaded(tones, join(s3_url, "words")), hs.FeatureConfig(kind="logmel")
    options: dict[str, Any] = {"features": logmel, "fit": FIT, "cluster": hs.ClusterConfig(num_workers=2)}
    stored = hs.run(clips, join(s3_url, "run"), backend="tfos", **options)
    assert curve(stored) == curve(hs.run(tones, tmp_path / "run", backend="tfos", **options))
    assert any(stat.name == "model/model.weights.h5" for stat in list_files(stored.run_dir))
