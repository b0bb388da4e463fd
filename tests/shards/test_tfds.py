"""TensorFlow Datasets and `datasets` read our shards; the files for TFDS belong to the output."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
from support.snippets import ROOT, titled

from benchmarks.environments import PeerEnvironments
from hybridspeech.commands.inspect import inspect
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.config import FeatureConfig
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.reader import read_shard
from hybridspeech.shards.tfds import TFDS_NAMES
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import is_file, read_bytes, write_bytes

SMALL = FeatureConfig(kind="logmel", n_mels=16, hop_length=400)
WAVEFORM = FeatureConfig(kind="waveform")
PAGE = ROOT / "docs" / "how-to" / "read-shards.md"
TORCH = "torch==2.13.0"  # as in benchmarks/registry/preprocessing.py
needs_tfds = pytest.mark.skipif(sys.version_info < (3, 11), reason="TFDS for Python 3.10 needs an old protobuf")


@pytest.fixture(scope="module")
def shards(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small shards. Read only."""
    out = tmp_path_factory.mktemp("tfds") / "shards"
    preprocess(tones, out, features=SMALL, engine="local", shards=ShardConfig(num_shards=3))
    return out


@pytest.fixture
def copy(shards: Path, tmp_path: Path) -> Path:
    """A copy of them that a test may change."""
    return Path(shutil.copytree(shards, tmp_path / "shards"))


def resume(tones: Path, copy: Path) -> None:
    preprocess(tones, copy, features=SMALL, engine="local", shards=ShardConfig(num_shards=3), resume=True)


@needs_tfds
@pytest.mark.slow
@pytest.mark.parametrize(
    ("features", "dtype"),
    [(SMALL, "float32"), (SMALL, "float16"), (WAVEFORM, "int16")],
    ids=lambda value: str(value)[:7],
)
def test_tfds_reads_every_example(features: FeatureConfig, dtype: str, noisy_tones: Path, tmp_path: Path) -> None:
    import tensorflow_datasets as tfds

    out = tmp_path / "shards"
    stored = ShardConfig(dtype=dtype, num_shards=2)
    preprocess(noisy_tones, out, features=features, shards=stored, engine="local")
    builder, index = tfds.builder_from_directory(str(out)), ShardIndex.load(out)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == index.splits
    assert builder.info.features["label"].names == list(index.labels)
    for split in index.splits:
        ours = [example for shard in index.of_split(split) for example in read_shard(out / shard.name)]
        theirs = list(tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False)))
        assert [row["clip_id"].decode() for row in theirs] == [example.clip_id for example in ours]
        assert [row["label"] for row in theirs] == [example.label for example in ours]
        assert [row["speaker"].decode() for row in theirs] == [example.speaker for example in ours]
        name = "waveform" if features is WAVEFORM else "spectrogram"
        for row, example in zip(theirs, ours, strict=True):
            np.testing.assert_array_equal(row[name].reshape(-1), example.values)
            assert row[name].dtype == example.values.dtype


@needs_tfds
@pytest.mark.slow
def test_the_documented_reader_for_tfds_runs(
    shards: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shards.parent)
    exec(titled(PAGE, "read_tfds.py"), {})
    printed = capsys.readouterr().out
    assert "['high', 'low', 'middle']" in printed
    assert "(16, 16, 41) <dtype: 'float32'> (16,)" in printed


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_documented_reader_for_pytorch_reads_every_clip_once_in_each_epoch(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "torch_shards.py").write_text(titled(PAGE, "torch_shards.py"))
    code = (
        "import sys; from torch.utils.data import DataLoader; from torch_shards import Shards\n"
        "data = Shards(sys.argv[1], 'training', seed=1); loader = DataLoader(data, batch_size=7, num_workers=2)\n"
        "epochs = [[float(v.sum()) for values, _ in loader for v in values] for _ in range(2)]\n"
        "plain = [float(v.sum()) for v, _ in Shards(sys.argv[1], 'training')]\n"
        "assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(plain) and len(plain) == len(data) > 60\n"
        "assert plain != epochs[0]; print('read', len(plain))\n"
    )
    python = PeerEnvironments(tmp_path / "environments").python([TORCH])
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n{code}"
    done = subprocess.run([*python, "-c", code, str(shards)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("read ")


def test_verify_names_a_missing_and_a_changed_file(copy: Path) -> None:
    (copy / "features.json").unlink()
    with (copy / "dataset_info.json").open("a") as file:
        file.write(" ")
    assert inspect(copy, verify=True).problems == (
        f"{copy / 'dataset_info.json'}: does not agree with index.json; run preprocessing again with --resume",
        f"{copy / 'features.json'}: missing; run preprocessing again with --resume",
    )


def test_shards_of_an_earlier_version_are_complete_and_a_resume_adds_the_files(
    tones: Path, copy: Path, shards: Path
) -> None:
    for name in TFDS_NAMES:
        (copy / name).unlink()
    assert inspect(copy, verify=True).problems == ()
    before = {path.name: path.stat().st_mtime_ns for path in copy.iterdir()}
    resume(tones, copy)
    after = {path.name: path.stat().st_mtime_ns for path in copy.iterdir()}
    assert {name: (copy / name).read_bytes() for name in TFDS_NAMES} == {
        name: (shards / name).read_bytes() for name in TFDS_NAMES
    }
    assert {name: time for name, time in after.items() if name not in TFDS_NAMES} == before


def test_a_resume_repairs_a_changed_file(tones: Path, copy: Path) -> None:
    (copy / "label.labels.txt").write_text("wrong\n")
    resume(tones, copy)
    assert (copy / "label.labels.txt").read_text() == "high\nlow\nmiddle\n"


def test_compressed_shards_have_no_files_for_tfds(tones: Path, copy: Path) -> None:
    packed = ShardConfig(compression="gzip", num_shards=3)
    preprocess(tones, copy, features=SMALL, engine="local", shards=packed, overwrite=True)
    assert not set(TFDS_NAMES) & {path.name for path in copy.iterdir()}
    (copy / "features.json").write_text("{}")
    problem = f"{copy / 'features.json'}: TFDS can't read compressed shards; remove it"
    assert inspect(copy, verify=True).problems == (problem,)


def test_a_store_has_the_same_files_and_overwrite_replaces_only_ours(tones: Path, shards: Path) -> None:
    url = f"memory://tfds/{uuid.uuid4().hex}"
    options = {"features": SMALL, "engine": "local", "overwrite": True}
    preprocess(tones, url, shards=ShardConfig(num_shards=3), **options)
    assert all(read_bytes(join(url, name)) == (shards / name).read_bytes() for name in TFDS_NAMES)
    write_bytes(join(url, "notes.json"), b"{}")
    preprocess(tones, url, shards=ShardConfig(num_shards=3, compression="gzip"), **options)
    assert not any(is_file(join(url, name)) for name in TFDS_NAMES)
    assert is_file(join(url, "notes.json"))
