"""The audit finds planted faults, and nothing in good clips."""

from __future__ import annotations

import csv
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.planted_faults import Fault, plant
from hybridspeech.commands import audit_training
from hybridspeech.commands.inspect import inspect
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.config import EngineConfig, FeatureConfig
from hybridspeech.engines import ENGINES
from hybridspeech.errors import ConfigError, OutputExistsError
from hybridspeech.evaluation.audit.audit import audit_shards
from hybridspeech.evaluation.audit.duplicates import correlations, find_duplicates
from hybridspeech.evaluation.audit.findings import AuditedClips, duplicate_findings, sound_findings
from hybridspeech.evaluation.audit.folds import assign_folds, write_folds
from hybridspeech.evaluation.audit.label_doubts import FoldNetwork, find_doubts
from hybridspeech.evaluation.audit.measurements import Measurements, measure
from hybridspeech.features.clip_transform import ClipTransform, view_of
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.reader import read_shard
from hybridspeech.storage.copies import upload_files
from hybridspeech.storage.objects import list_files

WAVEFORM = FeatureConfig(kind="waveform")
WORDS = ("no", "off", "on", "stop", "yes")
FAULTS = {"exact-duplicate": 4, "near-duplicate": 10, "silence": 3, "clipping": 4, "cut": 4, "low-rate": 4}


def waveform_shards(source: Path, out: Path) -> Path:
    split = ManifestConfig(split="hash", allow_speaker_overlap=True)
    preprocess(source, out, features=WAVEFORM, manifest=split, engine="local")
    return out


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def planted(speech_commands: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Fault]]:
    """Shards of five real words with faults. Read only."""
    root = tmp_path_factory.mktemp("planted")
    for word in WORDS:
        shutil.copytree(speech_commands / word, root / "words" / word)
    faults = plant(root / "words", root / "source", seed=7, counts=FAULTS)
    return waveform_shards(root / "source", root / "shards"), faults


@pytest.fixture(scope="module")
def audited(planted: tuple[Path, list[Fault]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("audited")
    inspect(planted[0], audit=out / "audit.csv", report=out / "audit.html", check_labels=False)
    return out


@pytest.mark.parametrize("kind", FAULTS)
def test_planted_faults_are_found(kind: str, planted: tuple[Path, list[Fault]], audited: Path) -> None:
    found = {row["clip_id"] for row in rows_of(audited / "audit.csv") if row["kind"] == kind}
    faults = [fault for fault in planted[1] if fault.kind == kind]
    missed = [fault for fault in faults if not {fault.clip_id, fault.original} & found]
    assert len(missed) <= (1 if kind in ("clipping", "cut") else 0), missed


def test_duplicates_are_the_planted_ones(planted: tuple[Path, list[Fault]], audited: Path) -> None:
    rows = [row for row in rows_of(audited / "audit.csv") if row["kind"].endswith("duplicate")]
    known = {clip_id for fault in planted[1] for clip_id in (fault.clip_id, fault.original)}
    assert {row["clip_id"] for row in rows} <= known
    assert len(rows) == FAULTS["exact-duplicate"] + FAULTS["near-duplicate"]
    assert {row["exclude"] for row in rows} == {"yes"}


def test_the_table_is_ranked_and_has_a_proposal_in_each_row(audited: Path) -> None:
    rows = rows_of(audited / "audit.csv")
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 1.0
    assert all(row["proposal"] and row["detail"] and row["exclude"] in ("yes", "no") for row in rows)
    assert {row["exclude"] for row in rows if row["kind"] in ("clipping", "cut", "low-rate")} == {"no"}


def test_the_report_has_players_and_loads_nothing(audited: Path) -> None:
    page = (audited / "audit.html").read_text(encoding="utf-8")
    assert page.count('src="data:audio/wav') > 30
    assert "Near duplicate: 10" in page
    assert 'src="http' not in page
    assert "<script" not in page


def test_the_table_is_a_fix_for_preprocess(planted: tuple[Path, list[Fault]], audited: Path, tmp_path: Path) -> None:
    source, table = planted[0].parent / "source", audited / "audit.csv"
    split = ManifestConfig(split="hash", allow_speaker_overlap=True)
    preprocess(source, tmp_path / "fixed", features=WAVEFORM, manifest=split, engine="local", exclude=table)
    result = inspect(tmp_path / "fixed", audit=tmp_path / "again.csv", check_labels=False)
    assert {kind: result.findings[kind] for kind in ("exact-duplicate", "near-duplicate", "silence")} == {
        "exact-duplicate": 0,
        "near-duplicate": 0,
        "silence": 0,
    }
    assert result.num_excluded == sum(row["exclude"] == "yes" for row in rows_of(table))


def test_processes_give_the_same_table(
    planted: tuple[Path, list[Fault]], audited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hybridspeech.commands.inspect.MIN_CLIPS_FOR_PROCESSES", 1)
    monkeypatch.setattr("hybridspeech.commands.inspect.num_cores", lambda: 2)
    inspect(planted[0], audit=tmp_path / "audit.csv", check_labels=False)
    assert (tmp_path / "audit.csv").read_bytes() == (audited / "audit.csv").read_bytes()


def test_spectrograms_can_not_be_audited(small_shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds logmel spectrograms.*preprocess with --features waveform"):
        inspect(small_shards, audit=tmp_path / "audit.csv")


def test_a_table_with_decisions_is_not_replaced(planted: tuple[Path, list[Fault]], tmp_path: Path) -> None:
    (tmp_path / "audit.csv").write_text("clip_id\n")
    with pytest.raises(OutputExistsError, match="may have your decisions"):
        inspect(planted[0], audit=tmp_path / "audit.csv")
    with pytest.raises(ConfigError, match=r"audit\.csv is no folder that can be written"):
        inspect(planted[0], audit=tmp_path / "audit.csv" / "new.csv")
    assert (tmp_path / "audit.csv").read_text() == "clip_id\n"


def test_shards_on_a_store_give_the_same_table(
    planted: tuple[Path, list[Fault]], audited: Path, tmp_path: Path
) -> None:
    url = f"memory://audit/{uuid.uuid4().hex}"
    upload_files(planted[0], [stat.name for stat in list_files(str(planted[0]))], url)
    inspect(url, audit=tmp_path / "audit.csv", check_labels=False)
    assert (tmp_path / "audit.csv").read_bytes() == (audited / "audit.csv").read_bytes()


def word(seed: int, rate_hz: int = 16_000) -> np.ndarray:
    """Return one second with a vowel-like sound in the middle, over faint noise; float."""
    generator = np.random.default_rng(seed)
    times = np.arange(rate_hz) / rate_hz
    pitch = generator.uniform(100, 250) * (1 + 0.05 * np.sin(2 * np.pi * generator.uniform(2, 6) * times))
    phase = 2 * np.pi * np.cumsum(pitch) / rate_hz
    tones = sum(generator.uniform(0, 1) / k * np.sin(k * phase + generator.uniform(0, 6)) for k in range(1, 30))
    envelope = np.exp(-(((times - generator.uniform(0.4, 0.6)) / 0.1) ** 2))
    return 0.2 * envelope * np.asarray(tones) + 0.001 * generator.standard_normal(rate_hz)


def to_int16(*waves: np.ndarray) -> np.ndarray:
    return np.round(np.clip(np.stack(waves), -1, 1) * 32_767).astype(np.int16)


def clips_of(samples: np.ndarray, splits: Sequence[str] = (), labels: Sequence[int] = ()) -> AuditedClips:
    count = len(samples)
    return AuditedClips(
        clip_ids=[f"{number}.wav" for number in range(count)],
        splits=splits or ["training"] * count,
        speakers=[""] * count,
        labels=np.array(labels or [0] * count),
        positions=range(count),
        names=("a", "b"),
        measured=measure(samples, 16_000),
    )


def test_good_clips_have_no_findings() -> None:
    clips = clips_of(to_int16(*(word(seed) for seed in range(40))))
    assert list(sound_findings(clips)) == []
    assert find_duplicates(clips.measured) == []


def test_a_full_scale_sine_is_not_clipped_and_a_louder_one_is() -> None:
    sine = np.sin(2 * np.pi * 997 * np.arange(16_000) / 16_000) * np.hanning(16_000)
    flat = measure(to_int16(sine, 2 * sine, 0.4 * np.clip(2 * sine, -1, 1)), 16_000).flat
    assert flat[0] == 0
    assert flat[1] > 1000 < flat[2]


@pytest.mark.parametrize(
    "change", [lambda w: 0.2 * w, lambda w: np.roll(w, 777), lambda w: -w], ids=["gain", "shift", "sign"]
)
def test_correlation_does_not_depend_on_gain_shift_and_sign(change: Any) -> None:
    waves = [word(seed) for seed in range(5)]
    ones, others = (measure(to_int16(*some), 16_000).sketch for some in (waves, [change(wave) for wave in waves]))
    assert correlations(ones, others).min() > 0.98
    assert correlations(ones, np.roll(others, 1, axis=0)).max() < 0.9


def test_many_clips_are_not_compared_pair_by_pair() -> None:
    """20,000 clips have 200 million pairs, which would take hours."""
    generator = np.random.default_rng(0)
    count, twins = 20_000, 50
    descriptor = generator.standard_normal((count, 68)).astype(np.float32)
    sketch = generator.integers(-127, 128, (count, 400)).astype(np.int8)
    descriptor[-twins:] = descriptor[:twins] + 0.05
    sketch[-twins:] = sketch[:twins]
    nothing = np.zeros(count, np.float32)
    names = ("loudest_db", "floor_db", "start_db", "end_db", "flat", "drop_db", "high_db", "over_rounding_db")
    content = np.arange(count, dtype=np.uint64)
    measured = Measurements(descriptor=descriptor, sketch=sketch, content=content, **dict.fromkeys(names, nothing))
    pairs = {(one, other) for one, other, _ in find_duplicates(measured)}
    expected = {(number, count - twins + number) for number in range(twins)}
    assert pairs <= expected
    assert len(pairs) >= twins - 1


def test_the_clip_for_training_is_left_out_and_both_of_two_labels() -> None:
    samples = to_int16(*[word(0)] * 2, *[word(1)] * 2, *[word(2)] * 3)
    splits = ["testing", "training", "training", "training", "training", "training", "training"]
    clips = clips_of(samples, splits, labels=[0, 0, 0, 1, 0, 0, 0])
    found = {finding.place: finding for finding in duplicate_findings(clips, find_duplicates(clips.measured))}
    assert sorted(found) == [1, 2, 3, 5, 6]
    assert found[1].detail == "as 0.wav in testing"
    assert found[2].detail == "as 3.wav with label b"
    assert found[2].proposal == found[3].proposal == "exclude: one of the two labels is wrong"


def test_folds_have_no_speaker_in_common_and_similar_sizes() -> None:
    speakers = [f"s{number % 40}" for number in range(400)] + [""] * 100
    folds = assign_folds([f"{number}.wav" for number in range(500)], speakers, 3)
    assert all(len({fold for fold, s in zip(folds, speakers, strict=True) if s == f"s{n}"}) == 1 for n in range(40))
    assert max(map(folds.count, range(3))) - min(map(folds.count, range(3))) <= 10


def test_each_clip_is_in_the_testing_split_of_one_fold(planted: tuple[Path, list[Fault]], tmp_path: Path) -> None:
    shards, index = planted[0], ShardIndex.load(planted[0])
    clips = [example for shard in index.shards for example in read_shard(shards / shard.name)]
    folds = assign_folds([clip.clip_id for clip in clips], [clip.speaker for clip in clips], 3)
    tested: list[str] = []
    for folder in write_folds(shards, index, folds, tmp_path / "folds"):
        fold = ShardIndex.load(folder)
        assert (
            inspect(folder, verify=True).problems == ()
            if (folder / "manifest.parquet").exists()
            else not fold.incomplete(folder)
        )
        parts = {
            split: [example for shard in fold.of_split(split) for example in read_shard(folder / shard.name)]
            for split in ("training", "testing")
        }
        assert not {e.speaker for e in parts["training"]} & {e.speaker for e in parts["testing"]}
        assert len(parts["training"]) + len(parts["testing"]) == len(clips)
        tested += [example.clip_id for example in parts["testing"]]
    assert sorted(tested) == sorted(clip.clip_id for clip in clips)


def test_a_label_is_doubted_if_another_is_far_more_probable() -> None:
    sure, unsure, wrong = [0.9, 0.1], [0.4, 0.6], [0.02, 0.98]
    probabilities = np.array([sure, sure, sure, unsure, wrong, [0.1, 0.9], [0.1, 0.9]], np.float32)
    ((place, label, doubt),) = find_doubts(probabilities, np.array([0, 0, 0, 0, 0, 1, 1]))
    assert (place, label) == (4, 1)
    assert doubt == pytest.approx(np.log(0.98 / 0.02), rel=1e-3)


def test_a_label_that_the_network_never_knows_is_doubted_less() -> None:
    probabilities = np.array([[0.05, 0.95]] * 9 + [[0.001, 0.999]], np.float32)
    doubts = find_doubts(probabilities, np.zeros(10, int))
    assert [place for place, _, _ in doubts] == [9]


MOVED = [("high", "low", "00000003"), ("low", "middle", "0000000b"), ("middle", "high", "00000011")]
"""Clips with a wrong label: the right label, the wrong one, and the speaker."""


@pytest.fixture
def mislabelled(tones: Path, tmp_path: Path) -> Path:
    source = Path(shutil.copytree(tones, tmp_path / "source"))
    for label, other, speaker in MOVED:
        (source / label / f"{speaker}_nohash_0.wav").rename(source / other / f"{speaker}_nohash_1.wav")
    return waveform_shards(source, tmp_path / "shards")


def nearest_mean(shards: Path, run: Path) -> FoldNetwork:
    """Train on the mean spectrum of each label; a clip is as probable as its spectrum is near."""
    logmel, index = view_of(WAVEFORM), ShardIndex.load(shards)
    transform, sums = ClipTransform(WAVEFORM, logmel), np.zeros((len(index.labels), logmel.shape[0]))
    labels: list[int] = []
    for shard in index.of_split("training"):
        for example in read_shard(shards / shard.name):
            labels.append(example.label)
            sums[example.label] += transform(example.values[np.newaxis], [example.clip_id], 0)[0].mean(1)
    means = sums / np.bincount(labels)[:, np.newaxis]

    def classify(batch: Any) -> np.ndarray:
        spectra = np.asarray(batch)[..., 0].mean(2)
        closeness = -np.square(spectra[:, np.newaxis] - means).mean(-1)
        exponents = np.exp(closeness - closeness.max(1, keepdims=True))
        return exponents / exponents.sum(1, keepdims=True)

    return FoldNetwork(features=logmel, classify=classify)


@pytest.mark.slow
def test_labels_are_checked_by_networks_that_have_not_heard_the_speaker(mislabelled: Path) -> None:
    index = ShardIndex.load(mislabelled)
    with ENGINES.load("local")(EngineConfig()) as engine:
        audit = audit_shards(mislabelled, index, engine.map_partitions, nearest_mean, lambda progress: None)
    doubted = {
        audit.clips.clip_ids[found.place]: found.detail for found in audit.findings if found.kind == "label-doubt"
    }
    assert doubted == {
        f"{other}/{speaker}_nohash_1.wav": f"more like {label} to a network that has not heard this speaker"
        for label, other, speaker in MOVED
    }


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_dscnn_doubts_the_wrong_labels(mislabelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_training, "FIT", replace(audit_training.FIT, epochs=30, batch_size=8))
    result = inspect(mislabelled, audit=tmp_path / "audit.csv")
    doubted = {row["clip_id"] for row in rows_of(tmp_path / "audit.csv") if row["kind"] == "label-doubt"}
    assert {f"{other}/{speaker}_nohash_1.wav" for _, other, speaker in MOVED} <= doubted
    assert result.findings["label-doubt"] == len(doubted) <= 6
