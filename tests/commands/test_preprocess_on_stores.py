"""`preprocess` and `inspect` on object stores: the digest of local disks, or an error of one sentence."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.fault_proxy import FaultProxy

import hybridspeech as hs
from hybridspeech.errors import ConfigError, OutputExistsError, ShardError, StorageError
from hybridspeech.storage import retries
from hybridspeech.storage.copies import upload_files
from hybridspeech.storage.locations import join, parent_and_name
from hybridspeech.storage.objects import delete_files, list_files, read_bytes, write_bytes

pytestmark = pytest.mark.slow  # an S3 server, and seconds of retries

SHARDS = hs.ShardConfig(num_shards=3)


@pytest.fixture(scope="module")
def expected(flawed_tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Preprocess on local disks; some clips are rejected."""
    return hs.preprocess(flawed_tones, tmp_path_factory.mktemp("local") / "shards", engine="local", shards=SHARDS)


@pytest.fixture
def source(flawed_tones: Path, s3_url: str) -> str:
    """Upload the clips to the store, once. Read only."""
    url = join(parent_and_name(s3_url)[0], "flawed-tones")
    return url if list_files(url) else uploaded(flawed_tones, url)


def uploaded(folder: Path, url: str) -> str:
    upload_files(folder, [stat.name for stat in list_files(str(folder))], url)
    return url


def preprocess(source: str, out: str, **options: Any) -> Any:
    return hs.preprocess(source, out, **{"engine": "local", "shards": SHARDS, **options})


def same(found: Any, expected: Any) -> bool:
    names = ("digest", "num_clips", "num_rejects", "splits", "num_shards", "num_bytes")
    return all(getattr(found, name) == getattr(expected, name) for name in names)


def sizes_in(location: str) -> dict[str, int]:
    """Return sizes of the files of an output, without the records for a resume, which contain times and etags."""
    return {s.name: s.num_bytes for s in list_files(location) if not s.name.startswith("_progress/")}


def shards_in(location: str) -> list[str]:
    return [name for name in sizes_in(location) if ".tfrecord" in name]


@pytest.mark.parametrize(
    "settings",
    [
        {"engine": "local"},
        {"engine": "local", "engine_config": hs.EngineConfig(executor_cores=2)},
        pytest.param(
            {"engine": "spark", "engine_config": hs.EngineConfig(master="local[2]")},
            id="spark",
            marks=pytest.mark.cluster,
        ),
    ],
)
def test_shards_from_store_to_store_have_the_local_digest(
    settings: dict[str, Any], source: str, s3_url: str, expected: Any
) -> None:
    out = join(s3_url, "shards")
    assert same(preprocess(source, out, **settings), expected)
    assert sizes_in(out) == sizes_in(expected.out)
    for name in ("manifest.parquet", "rejects.jsonl", "index.json", "dataset_info.json", "features.json"):
        assert read_bytes(join(out, name)) == read_bytes(join(expected.out, name))
    assert hs.inspect(out, verify=True).problems == ()


def test_shards_between_store_and_disk_have_the_local_digest(
    source: str, flawed_tones: Path, s3_url: str, expected: Any, tmp_path: Path
) -> None:
    assert same(preprocess(source, str(tmp_path / "shards")), expected)
    assert same(preprocess(str(flawed_tones), join(s3_url, "out")), expected)


def test_waveform_shards_on_a_store_have_noise_and_silence(noisy_tones: Path, tmp_path: Path) -> None:
    url = f"memory://test/{uuid.uuid4().hex}"
    uploaded(noisy_tones, join(url, "source"))
    options = {
        "features": hs.FeatureConfig(kind="waveform"),
        "manifest": hs.ManifestConfig(task="words:low,high,_unknown_,_silence_", silence_percentage=50.0),
    }
    local = preprocess(str(noisy_tones), str(tmp_path / "shards"), **options)
    stored = preprocess(join(url, "source"), join(url, "shards"), **options)
    assert same(stored, local)
    assert hs.inspect(join(url, "shards"), verify=True).problems == ()
    assert replace(hs.inspect(join(url, "shards")), shards="") == replace(hs.inspect(tmp_path / "shards"), shards="")


def test_a_resume_makes_only_what_is_missing(source: str, s3_url: str, expected: Any) -> None:
    out = join(s3_url, "shards")
    with pytest.raises(RuntimeError, match="stop"):
        preprocess(source, out, on_progress=raise_after(40))
    assert not any(stat.name == "index.json" for stat in list_files(out))
    with pytest.raises(OutputExistsError, match="is not empty"):
        preprocess(source, out)
    records = {stat.name for stat in list_files(join(out, "_progress"))} - {"settings.json"}
    assert records
    computed: list[int] = []
    found = preprocess(source, out, resume=True, on_progress=lambda progress: computed.append(progress.done))
    assert same(found, expected)
    assert max(computed[:10]) > 0
    again = preprocess(source, out, resume=True)
    assert (again.digest, again.clips_per_s) == (expected.digest, 0)


def raise_after(num_clips: int) -> Callable[[hs.Progress], None]:
    def on_progress(progress: hs.Progress) -> None:
        if progress.done >= num_clips:
            raise RuntimeError("stop")

    return on_progress


def test_overwrite_replaces_an_output_and_leaves_other_files(source: str, s3_url: str, expected: Any) -> None:
    out = join(s3_url, "shards")
    preprocess(source, out, shards=hs.ShardConfig(num_shards=5))
    write_bytes(join(out, "notes.txt"), b"mine")
    assert same(preprocess(source, out, overwrite=True), expected)
    assert "notes.txt" in sizes_in(out)
    assert len(shards_in(out)) == expected.num_shards


def test_verify_names_what_is_missing_damaged_or_extra(source: str, s3_url: str) -> None:
    out = join(s3_url, "shards")
    preprocess(source, out)
    first, second = shards_in(out)[:2]
    damaged = bytearray(read_bytes(join(out, second)))
    damaged[1000] ^= 1
    write_bytes(join(out, second), bytes(damaged))
    write_bytes(join(out, "training-00009-of-00010.tfrecord"), b"")
    delete_files([join(out, first)])
    assert hs.inspect(out, verify=True).problems == (
        f"{join(out, first)}: missing",
        f"{join(out, second)}: its content has changed (its checksum differs)",
        f"{join(out, 'training-00009-of-00010.tfrecord')}: not in index.json; remove it",
    )


def test_the_second_of_two_jobs_at_the_same_time_is_refused(source: str, s3_url: str, expected: Any) -> None:
    out = join(s3_url, "shards")
    held, done = threading.Event(), threading.Event()

    def wait_once(progress: hs.Progress) -> None:
        if progress.stage == "shards" and not held.is_set():
            held.set()
            done.wait(60)

    results: list[Any] = []
    first = threading.Thread(target=lambda: results.append(preprocess(source, out, on_progress=wait_once)))
    first.start()
    assert held.wait(60)
    try:
        with pytest.raises(ConfigError, match="another job is writing there"):
            preprocess(source, out, overwrite=True)
    finally:
        done.set()
        first.join()
    assert same(results[0], expected)


@pytest.mark.parametrize("fault", ["503", "slow-down", "cut-request", "cut-answer", "short-length", "long-length"])
def test_temporary_faults_give_the_same_digest(
    fault: str, fault_proxy: FaultProxy, source: str, s3_url: str, expected: Any
) -> None:
    generator = random.Random(fault)
    fault_proxy.choose = lambda number, line: fault if generator.random() < 0.05 else None
    found = preprocess(source, join(s3_url, "shards"))
    fault_proxy.choose = lambda number, line: None
    assert same(found, expected)
    assert hs.inspect(join(s3_url, "shards"), verify=True).problems == ()
    assert fault_proxy.injected[fault] > 3


@pytest.mark.parametrize(
    ("fault", "sentence"), [("503", r"failed 7 times in a row \(503\)"), ("expired", "the credentials have expired")]
)
def test_permanent_faults_end_in_one_sentence_and_a_resume_finishes(
    fault: str,
    sentence: str,
    fault_proxy: FaultProxy,
    source: str,
    s3_url: str,
    expected: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.01)
    fault_proxy.num_requests = 0
    fault_proxy.choose = lambda number, line: fault if number > 100 else None
    with pytest.raises(StorageError, match=sentence):
        preprocess(source, join(s3_url, "shards"))
    fault_proxy.choose = lambda number, line: None
    assert same(preprocess(source, join(s3_url, "shards"), resume=True), expected)


def test_missing_shards_are_named(s3_url: str) -> None:
    with pytest.raises(ShardError, match=r"no index\.json here; expected a folder written by"):
        hs.inspect(join(s3_url, "nothing"))
