"""Sources that change during a job, and sources with unusable or malicious files."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.audio_files import BAD, ODD, sound, wav, write_bad_files
from support.process_faults import SHARDS, SMALL, PeakMemory, command, workers_of

from hybridspeech.audio.decode import read_clip
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.config import EngineConfig, Progress
from hybridspeech.engines import ENGINES
from hybridspeech.engines.base import Engine
from hybridspeech.errors import TooManyRejectsError
from hybridspeech.features.extractor import spectrogram
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.reader import read_shard

UNSPLIT = ManifestConfig(split="none")


def rejects_in(out: Path) -> dict[str, str]:
    """Return the reason by clip id; check that every reject has a detail."""
    rows = [json.loads(line) for line in (out / "rejects.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all(row["detail"] for row in rows)
    assert len({row["clip_id"] for row in rows}) == len(rows)
    return {row["clip_id"]: row["reason"] for row in rows}


def clips_in(out: Path) -> Counter[str]:
    return Counter(example.clip_id for shard in ShardIndex.load(out).shards for example in read_shard(out / shard.name))


def sizes_of(out: Path) -> list[int]:
    return [shard.num_examples for shard in ShardIndex.load(out).shards]


@pytest.fixture
def source(clips: Path, tmp_path: Path) -> Path:
    """A copy of the clips that a test may damage."""
    return shutil.copytree(clips, tmp_path / "source")


def test_a_clip_that_is_removed_after_the_listing_is_a_reject(source: Path, tmp_path: Path) -> None:
    def remove(progress: Progress) -> None:
        if progress.stage == "engine":
            (source / "no/00000000_nohash_0.wav").unlink()
            (source / "off/00000001_nohash_0.wav").write_bytes(b"")
            (source / "yes/00000002_nohash_0.wav").write_bytes(sound("WAV", "PCM_16", np.zeros(9, np.float32)))

    out = tmp_path / "out"
    preprocess(source, out, features=SMALL, shards=SHARDS, manifest=UNSPLIT, engine="local", on_progress=remove)
    assert rejects_in(out) == {"no/00000000_nohash_0.wav": "missing", "off/00000001_nohash_0.wav": "empty"}
    assert len(clips_in(out)) == sum(clips_in(out).values()) == 298
    silent = next(
        example
        for shard in ShardIndex.load(out).shards
        for example in read_shard(out / shard.name, shape=SMALL.shape)
        if example.clip_id == "yes/00000002_nohash_0.wav"
    )
    wave = read_clip(source / silent.clip_id, SMALL)
    np.testing.assert_array_equal(silent.values, spectrogram(wave, SMALL))


def test_a_clip_that_is_removed_between_two_readings_is_a_reject(source: Path, tmp_path: Path) -> None:
    """Shards are made again with equal sizes; clips that can't be read then are rejected with a reason."""
    bad = [f"no/bad{i}.wav" for i in range(40)]
    for name in bad:
        (source / name).touch()

    def remove(progress: Progress) -> None:
        if progress.stage == "equal shards":
            for path in sorted((source / "off").iterdir())[:60]:
                path.unlink()

    out = tmp_path / "out"
    made = preprocess(source, out, features=SMALL, shards=SHARDS, manifest=UNSPLIT, engine="local", on_progress=remove)
    rejects, there = rejects_in(out), clips_in(out)
    assert made.num_rejects == len(rejects) > len(bad)
    assert rejects.keys().isdisjoint(there)
    assert len(there) == sum(there.values()) == 340 - len(rejects)
    assert max(sizes_of(out)) - min(sizes_of(out)) <= 1
    assert ShardIndex.load(out).verify(out) == []


def test_a_shard_that_was_made_again_is_not_taken_for_an_earlier_version(source: Path, tmp_path: Path) -> None:
    """The shard has the same size and other clips; the job ends before it is finished, and the removed clips return."""
    hidden, stages = tmp_path / "hidden", list[str]()
    hidden.mkdir()
    for i in range(40):
        (source / f"no/bad{i}.wav").touch()

    def disturb(progress: Progress) -> None:
        if not stages or progress.done == 0:
            stages.append(progress.stage)
        if progress.stage == "equal shards" and stages.count("equal shards") == 1 and not any(hidden.iterdir()):
            for path in sorted((source / "off").iterdir())[::3]:
                path.rename(hidden / path.name)
        if stages.count("equal shards") == 2 and progress.done == progress.total:
            raise KeyboardInterrupt

    out, options = tmp_path / "out", {"features": SMALL, "manifest": UNSPLIT, "engine": "local"}
    with pytest.raises(KeyboardInterrupt):
        preprocess(source, out, shards=ShardConfig(num_shards=30), on_progress=disturb, **options)  # type: ignore[arg-type]
    for path in hidden.iterdir():
        path.rename(source / "off" / path.name)
    preprocess(source, out, shards=ShardConfig(num_shards=30), resume=True, **options)  # type: ignore[arg-type]
    assert ShardIndex.load(out).verify(out) == []
    assert rejects_in(out).keys() == {f"no/bad{i}.wav" for i in range(40)}
    assert sum(clips_in(out).values()) == len(clips_in(out)) == 300


def test_max_rejects_counts_rejects_of_all_readings(source: Path, tmp_path: Path) -> None:
    for i in range(40):
        (source / f"no/bad{i}.wav").touch()

    def remove(progress: Progress) -> None:
        if progress.stage == "equal shards":
            shutil.rmtree(source / "off", ignore_errors=True)

    with pytest.raises(TooManyRejectsError):
        preprocess(
            source,
            tmp_path / "out",
            features=SMALL,
            shards=SHARDS,
            manifest=UNSPLIT,
            engine="local",
            max_rejects=41,
            on_progress=remove,
        )
    assert not (tmp_path / "out/index.json").exists()


def test_a_source_that_is_removed_is_one_sentence(source: Path, tmp_path: Path) -> None:
    def remove(progress: Progress) -> None:
        if progress.stage == "engine":
            shutil.rmtree(source)

    with pytest.raises(TooManyRejectsError, match=r"300 of 300 clips .* missing: no such file"):
        preprocess(source, tmp_path / "out", features=SMALL, engine="local", on_progress=remove)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], set[str]]:
    """Write a table of unusable, unusual and oddly named files; return the reasons of unusable clips, and the usable ones."""
    root = tmp_path_factory.mktemp("hostile")
    reasons = {str(path.relative_to(root)): reason for path, reason in write_bad_files(root / "bad").items()}
    good = {f"odd/{name}.wav": content() for name, content in ODD.items()}
    names = ("a\nb", "a\tb", '"quoted"', "caf\u00e9", "\u202egnol", "x" * 250, "-rf", "%s %d", "*?[", "100%", " ")
    good |= {f"names/{name}.wav": wav() for name in names}
    for name, content in good.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content)
    table = root / "table.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label"), *((name, name.split("/")[0]) for name in [*reasons, *good])])
    return table, reasons, set(good)


def check_hostile(out: Path, reasons: dict[str, str], good: set[str]) -> None:
    assert rejects_in(out) == reasons
    assert clips_in(out) == Counter(good)
    assert max(sizes_of(out)) - min(sizes_of(out)) <= 1


def test_there_are_forty_kinds_of_unusable_files(hostile: tuple[Path, dict[str, str], set[str]]) -> None:
    assert len(hostile[1]) >= len(BAD) + 5 >= 40


def test_a_table_of_unusable_files_is_processed_in_bounded_memory(
    hostile: tuple[Path, dict[str, str], set[str]], tmp_path: Path
) -> None:
    table, reasons, good = hostile
    options = ("--engine", "local", "--features", "logmel", "--split", "none", "--shards", "9")
    code = "from hybridspeech.cli import main\ntry: main()\nfinally: print(open('/proc/self/status').read())"
    _, _, _, *arguments = command(table, tmp_path / "out", *options)
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    check_hostile(tmp_path / "out", reasons, good)
    peak_kib = re.search(r"VmHWM:\s+(\d+) kB", done.stdout)
    assert peak_kib is not None
    assert 0 < int(peak_kib[1]) < 400 * 1024


def test_a_folder_of_unusual_files_is_processed(tmp_path: Path) -> None:
    """Pipes, devices and folders are no clips; loops of links end, and names need not be UTF-8."""
    source, out = tmp_path / "source", tmp_path / "out"
    reasons = {str(path.relative_to(source)): reason for path, reason in write_bad_files(source / "bad").items()}
    (source / "bad" / "round").symlink_to(source, target_is_directory=True)
    (source / "good").mkdir()
    (source / "good" / "a.wav").write_bytes(wav())
    (source / "good" / "line\nbreak.wav").write_bytes(wav())
    Path(os.fsdecode(os.fsencode(source / "good") + b"/caf\xe9.wav")).write_bytes(wav())
    preprocess(source, out, features=SMALL, manifest=UNSPLIT, engine="local")
    clips = {name: reason for name, reason in reasons.items() if reason != "not-a-file"}
    assert rejects_in(out) == clips
    there = clips_in(out)
    assert len(there) == sum(there.values()) == 3
    assert {"good/a.wav", "good/line\nbreak.wav"} < there.keys()


@pytest.fixture(scope="class")
def spark() -> Iterator[Engine]:
    with ENGINES.load("spark")(EngineConfig(master="local[2]")) as opened:
        yield opened


@pytest.mark.cluster
class TestOnSpark:
    """One session for all tests."""

    def test_a_table_of_unusable_files_is_processed_in_bounded_memory(
        self, spark: Engine, hostile: tuple[Path, dict[str, str], set[str]], tmp_path: Path
    ) -> None:
        table, reasons, good = hostile
        with PeakMemory(workers_of) as memory:
            preprocess(table, tmp_path / "out", features=SMALL, manifest=UNSPLIT, engine=spark)
        check_hostile(tmp_path / "out", reasons, good)
        assert 0 < memory.peak_bytes < 400 << 20

    def test_max_rejects_stops_a_job_early(self, spark: Engine, source: Path, tmp_path: Path) -> None:
        for path in source.rglob("*.wav"):
            path.write_bytes(b"not a sound at all")
        with pytest.raises(TooManyRejectsError, match=r"of 300 clips could not be used \(max_rejects is 5\)"):
            preprocess(source, tmp_path / "out", features=SMALL, shards=SHARDS, engine=spark, max_rejects=5)
        made = list((tmp_path / "out").glob("*.tfrecord"))
        assert 0 < len(made) < 15
        assert spark.map_partitions(lambda items: items, [[0], [1]]) == [[0], [1]]

    def test_a_removed_clip_is_a_reject(self, spark: Engine, source: Path, tmp_path: Path) -> None:
        def remove(progress: Progress) -> None:
            if progress.stage == "engine":
                (source / "no/00000000_nohash_0.wav").unlink()

        preprocess(source, tmp_path / "out", features=SMALL, engine=spark, on_progress=remove)
        assert rejects_in(tmp_path / "out") == {"no/00000000_nohash_0.wav": "missing"}
        assert len(clips_in(tmp_path / "out")) == 299
