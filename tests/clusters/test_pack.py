"""A packed environment starts on a machine with only a C library; an unsuitable one is refused on the driver."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest
from support.bare_root import make_bare_root, run_in_root
from support.spark_standalone import standalone_cluster
from typer.testing import CliRunner

import hybridspeech
import hybridspeech as hs
from hybridspeech.backends.ray import RayBackend
from hybridspeech.backends.tfos import TFoSBackend
from hybridspeech.cli import app
from hybridspeech.clusters.pack import installed_extras, pack_environment
from hybridspeech.clusters.packed_environment import (
    MANIFEST_NAME,
    check_environment,
    check_holds,
    ray_runtime_env,
    read_manifest,
    spark_environment_settings,
)
from hybridspeech.config import ClusterConfig, EngineConfig
from hybridspeech.engines.raydp import RayDPEngine
from hybridspeech.engines.spark import SparkEngine
from hybridspeech.errors import ConfigError, EngineError, MissingExtraError, OutputExistsError
from hybridspeech.training.plan import TrainPlan

PROGRAM = """
import json, sys, ssl, sqlite3, lzma, numpy as np, soundfile, scipy, pyarrow, pyspark
from hybridspeech import FeatureConfig
from hybridspeech.features.extractor import spectrogram
wave = np.random.default_rng(0).standard_normal(16000).astype("float32")
shape = spectrogram(wave, FeatureConfig()).shape
print(json.dumps({"shape": shape, "python": sys.executable, "path": sys.path, "pyspark": pyspark.__version__}))
"""


def write_archive(path: Path, **changes: object) -> Path:
    """Write an archive that contains only a manifest."""
    manifest = {
        "hybridspeech": hybridspeech.__version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "machine": "x86_64",
        "glibc": "2.36",
        **changes,
    }
    (path.parent / MANIFEST_NAME).write_text(json.dumps(manifest), encoding="utf-8")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(path.parent / MANIFEST_NAME, MANIFEST_NAME)
    return path


@pytest.mark.cluster
def test_a_packed_environment_starts_with_nothing_but_a_c_library(packed_environment: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    make_bare_root(root)
    (root / "environment").mkdir()
    subprocess.run(["tar", "-xf", packed_environment, "-C", root / "environment"], check=True)
    done = run_in_root(root, "/environment/bin/python", "-c", PROGRAM)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["shape"] == [1025, 50]
    assert answer["python"] == "/environment/bin/python"
    assert all(each.startswith("/environment/") for each in answer["path"] if each)
    assert answer["pyspark"] == read_manifest(packed_environment).packages["pyspark"]
    version = run_in_root(root, "/environment/bin/python", "/environment/bin/hybridspeech", "--version")
    assert version.stdout.strip() == f"hybridspeech {hybridspeech.__version__}", version.stderr


@pytest.mark.cluster
def test_the_manifest_says_what_the_archive_holds(packed_environment: Path) -> None:
    packed = read_manifest(packed_environment)
    with tarfile.open(packed_environment) as archive:
        members = archive.getmembers()
    files = [member for member in members if member.isfile() and member.name != MANIFEST_NAME]
    assert len(files) == packed.num_files
    assert packed.extras == ("spark",)
    assert not {"ray", "tensorflow", "pytest"} & set(packed.packages)
    assert all(member.uid == member.gid == 0 and member.uname == "" for member in members)
    check_environment(str(packed_environment))
    check_holds(str(packed_environment), "pyspark")
    with pytest.raises(ConfigError, match=r"does not hold tensorflow; pack it again with --extras"):
        check_holds(str(packed_environment), "pyspark", "tensorflow")


def test_pack_refuses_outputs_that_it_cannot_write(tmp_path: Path) -> None:
    there = tmp_path / "there.tar.gz"
    there.write_bytes(b"kept")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        pack_environment(there)
    with pytest.raises(ConfigError, match=r"ends in \.tar\.gz or \.tgz"):
        pack_environment(tmp_path / "environment.zip")
    done = CliRunner().invoke(app, ["pack", str(tmp_path / "new.tar.gz"), "--extras", "sparkle"])
    assert done.exit_code == 2
    assert "hybridspeech has no such extra; choose of" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["there.tar.gz"]
    assert there.read_bytes() == b"kept"


def test_an_extra_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = tmp_path / "site" / "hybridspeech-0.1.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(
        "Metadata-Version: 2.1\nName: hybridspeech\nVersion: 0.1.0\nProvides-Extra: spark\nProvides-Extra: train\n"
        'Requires-Dist: numpy\nRequires-Dist: not-installed; extra == "train"\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert installed_extras() == ("spark",)
    with pytest.raises(MissingExtraError, match="'not-installed' is not installed, and extras train need it"):
        pack_environment(tmp_path / "environment.tar.gz", extras=["train"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"python": "3.9.1"}, "holds Python 3.9, the driver has"),
        ({"machine": "riscv64"}, "holds machine riscv64"),
        ({"hybridspeech": "0.0.1"}, "holds hybridspeech 0.0.1"),
        ({"packages": {"pyspark": "3.4.0"}}, "holds pyspark 3.4.0, the driver has"),
    ],
)
def test_an_environment_that_differs_from_the_driver_is_refused(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    archive = write_archive(tmp_path / "environment.tar.gz", **changes)
    with pytest.raises(ConfigError, match=message):
        check_environment(str(archive))


def test_a_file_that_is_not_an_environment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        check_environment(str(tmp_path / "none.tar.gz"))
    (tmp_path / "text.tar.gz").write_text("text")
    with pytest.raises(ConfigError, match="not a readable environment"):
        check_environment(str(tmp_path / "text.tar.gz"))
    other = tmp_path / "other.tar.gz"
    with tarfile.open(other, "w:gz") as archive:
        archive.add(tmp_path / "text.tar.gz", "text")
    with pytest.raises(ConfigError, match=r"holds no environment\.json"):
        check_environment(str(other))
    with pytest.raises(ConfigError, match=r"expected the path or URL of a \.tar\.gz"):
        check_environment("environment.zip")


def test_settings_of_spark_and_ray_name_the_archive(tmp_path: Path) -> None:
    archive = tmp_path / "environment.tar.gz"
    assert spark_environment_settings(None, "spark://host:7077") == {}
    assert spark_environment_settings(str(archive), "spark://host:7077") == {
        "spark.archives": f"{archive}#environment",
        "spark.pyspark.python": "./environment/bin/python",
        "spark.executorEnv.PYTHONPATH": "",
    }
    on_yarn = spark_environment_settings("s3://bucket/e.tar.gz", "yarn")
    assert on_yarn["spark.yarn.dist.archives"] == "s3://bucket/e.tar.gz#environment"
    assert ray_runtime_env(None, None) == {}
    assert ray_runtime_env(str(archive), "host:6379") == {
        "working_dir": archive.as_uri(),
        "py_executable": "./bin/python",
    }
    assert ray_runtime_env("s3://bucket/e.tar.gz", "host:6379")["working_dir"] == "s3://bucket/e.tar.gz"


def test_an_environment_without_other_machines_is_refused(tmp_path: Path) -> None:
    archive = str(write_archive(tmp_path / "environment.tar.gz"))
    with pytest.raises(ConfigError, match="for the nodes of a cluster"):
        SparkEngine(EngineConfig(environment=archive)).__enter__()
    with pytest.raises(ConfigError, match="engine raydp can't use --environment"):
        RayDPEngine(EngineConfig(environment=archive)).__enter__()
    for backend, kind in ((TFoSBackend(), "tfos"), (RayBackend(), "ray")):
        plan = TrainPlan(shards="/s", run="/r", backend=kind, cluster=ClusterConfig(environment=archive))
        with pytest.raises(ConfigError, match="for the nodes of a cluster"):
            backend.run(plan, lambda *_: None)
    cluster = ClusterConfig(environment=archive, ray_address="host:1", master="spark://host:1")
    for backend, missing in (
        (TFoSBackend(), "pyspark, tensorflowonspark, tensorflow"),
        (RayBackend(), "ray, tensorflow"),
    ):
        with pytest.raises(ConfigError, match=f"does not hold {missing}; pack it again"):
            backend.run(TrainPlan(shards="/s", run="/r", cluster=cluster), lambda *_: None)


@pytest.mark.cluster
def test_an_executor_works_where_the_packed_python_is_the_only_one(
    packed_environment: Path, tones: Path, tmp_path: Path
) -> None:
    """The worker sees neither this interpreter, nor its packages, nor this repository."""
    hidden = {Path(sys.prefix), Path(sysconfig.get_path("stdlib")), Path(hybridspeech.__file__).parents[1]}
    local = hs.preprocess(tones, tmp_path / "local", engine="local")
    with standalone_cluster(tmp_path, num_workers=1, hidden=sorted(hidden, reverse=True)) as master:
        config = EngineConfig(master=master, environment=str(packed_environment))
        packed = hs.preprocess(tones, tmp_path / "packed", engine="spark", engine_config=config)
        with pytest.raises(EngineError, match="Python"):
            hs.preprocess(tones, tmp_path / "bare", engine="spark", engine_config=EngineConfig(master=master))
    assert packed.digest == local.digest
