"""A Spark cluster with authentication on three hosts that share one folder: digest, secret and `doctor`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from support.hosts import Hosts
from support.spark_standalone import DEPLOY, wait_for

import hybridspeech as hs
from hybridspeech.clusters.java import find_java
from hybridspeech.clusters.spark_settings import find_spark

SECRET = "5ec2e7" * 8
ROOT = Path(__file__).parents[2]
MASTER = 0
WORKERS = (1, 2)


@dataclass
class SparkHosts:
    """Hosts with a standalone master on host 0 and workers on the others; all authenticate each other."""

    hosts: Hosts
    master: str
    variables: dict[str, str]

    def hybridspeech(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.hosts.run(MASTER, [sys.executable, "-m", "hybridspeech", *arguments], self.variables)


@pytest.fixture(scope="module")
def cluster() -> Iterator[SparkHosts]:
    with (
        tempfile.TemporaryDirectory(dir="/tmp", prefix="hybridspeech-hosts-") as folder,
        Hosts(Path(folder), 3) as hosts,
    ):
        conf = hosts.shared / "conf"
        conf.mkdir(mode=0o700)
        settings = {
            "spark.authenticate": "true",
            "spark.authenticate.secret": SECRET,
            "spark.network.crypto.enabled": "true",
        }
        (conf / "spark-defaults.conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        variables = {
            "PATH": f"{find_java() / 'bin'}:{os.environ['PATH']}",
            "HOME": os.environ["HOME"],
            "JAVA_HOME": str(find_java()),
            "SPARK_HOME": str(find_spark()),
            "SPARK_CONF_DIR": str(conf),
            "SPARK_DAEMON_MEMORY": "256m",
            "PYTHONPATH": str(ROOT),
        }
        spark_class = str(find_spark() / "bin" / "spark-class")
        address = hosts.address(MASTER)
        command = [spark_class, f"{DEPLOY}.master.Master", "--host", address, "--port", "7077", "--webui-port", "0"]
        hosts.start(MASTER, command, variables, hosts.shared / "master.log")
        master = wait_for(r"Starting Spark master at (spark://\S+)", hosts.shared / "master.log")
        for host in WORKERS:
            command = [spark_class, f"{DEPLOY}.worker.Worker", "--host", hosts.address(host), "--webui-port", "0"]
            command += ["--cores", "1", "--memory", "1G", "--work-dir", "/tmp/work", master]
            hosts.start(host, command, variables, hosts.shared / f"worker-{host}.log")
        for host in WORKERS:
            wait_for(r"(Successfully registered with master)", hosts.shared / f"worker-{host}.log")
        yield SparkHosts(hosts, master, variables)


def command_lines() -> Iterator[str]:
    for process in psutil.process_iter(["cmdline"]):
        yield " ".join(process.info["cmdline"] or ())


@pytest.mark.cluster
def test_shards_from_three_hosts_are_those_of_one_process(cluster: SparkHosts, tones: Path, tmp_path: Path) -> None:
    local = hs.preprocess(tones, tmp_path / "shards", engine="local")
    clips, out = cluster.hosts.shared / "clips", cluster.hosts.shared / "shards"
    shutil.copytree(tones, clips)
    done = cluster.hybridspeech(
        "preprocess", str(clips), str(out), "--master", cluster.master, "--executor-memory", "512m", "--json"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["digest"] == local.digest
    logs = [(cluster.hosts.shared / f"worker-{host}.log").read_text() for host in WORKERS]
    assert all("Launched executor" in log or "Asked to launch executor" in log for log in logs)
    assert not any(SECRET in line for line in command_lines())


@pytest.mark.cluster
def test_doctor_names_the_host_without_the_storage(cluster: SparkHosts) -> None:
    scratch = cluster.hosts.shared / "scratch"
    scratch.mkdir()
    done = cluster.hybridspeech("doctor", "--master", cluster.master, "--storage", str(scratch), "--json")
    checks = json.loads(done.stdout)["checks"]
    assert done.returncode == 0, [check for check in checks if check["status"] == "failed"]
    nodes = {cluster.hosts.address(host) for host in WORKERS}
    assert {check["node"] for check in checks} == nodes | {"driver"}
    reached = [check["value"] for check in checks if check["subject"] == "ports"]
    assert reached == ["reached 1 other node(s)"] * 2
    assert {check["status"] for check in checks if check["subject"] == "secret"} == {"ok"}

    private = cluster.hybridspeech("doctor", "--master", cluster.master, "--storage", "/tmp", "--json")
    assert private.returncode == 1
    failed = [check for check in json.loads(private.stdout)["checks"] if check["status"] == "failed"]
    assert {check["node"] for check in failed} == nodes
    assert {check["subject"] for check in failed} == {"storage"}
    assert all("not shared with this node" in check["value"] for check in failed)
