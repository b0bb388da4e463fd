"""A Spark with authentication on hosts whose only common storage is an S3 server on a further host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridspeech.clusters.java import LIGHT_JVM, find_java
from hybridspeech.clusters.spark_settings import find_spark
from support.hosts import Hosts
from support.s3_server import S3Server, start_on_host
from support.spark_standalone import DEPLOY, wait_for

SECRET = "5ec2e7" * 8
ROOT = Path(__file__).parents[2]
MASTER = 0
WORKERS = (1, 2)
STORE = 3
COPY = """
import sys
from pathlib import Path
from hybridspeech.storage.copies import upload_files
from hybridspeech.storage.objects import list_files
upload_files(Path(sys.argv[1]), [stat.name for stat in list_files(sys.argv[1])], sys.argv[2])
"""
LIST = """
import json, sys
from hybridspeech.storage.objects import list_files, read_bytes
names = [stat.name for stat in list_files(sys.argv[1])]
ranks = [name for name in names if "/rank-" in name and name.endswith(".json")]
reports = [json.loads(read_bytes(f"{sys.argv[1]}/{name}")) for name in ranks]
epochs = len(read_bytes(f"{sys.argv[1]}/metrics.jsonl").splitlines()) if "metrics.jsonl" in names else 0
print(json.dumps({"names": names, "hosts": [report["host"] for report in reports], "epochs": epochs}))
"""


@dataclass
class ClusterHosts:
    """Hosts with a standalone master on host 0, workers on the next two, and an S3 server on the last; all authenticate."""

    hosts: Hosts
    master: str
    store: S3Server
    variables: dict[str, str]

    @property
    def bucket(self) -> str:
        return f"s3://{self.store.bucket}"

    def hybridspeech(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hybridspeech", *arguments]
        return self.hosts.run(MASTER, command, {**self.variables, **variables})

    def start_worker(self, host: int) -> None:
        """Start a worker of Spark with one core."""
        spark_class = str(find_spark() / "bin" / "spark-class")
        command = [spark_class, f"{DEPLOY}.worker.Worker", "--host", self.hosts.address(host), "--webui-port", "0"]
        command += ["--cores", "1", "--memory", "1G", "--work-dir", "/tmp/work", self.master]
        self.hosts.start(host, command, self.variables, self.log_of_worker(host))

    def await_worker(self, host: int) -> None:
        """Wait until a worker has registered."""
        wait_for(r"(Successfully registered with master)", self.log_of_worker(host))

    def log_of_worker(self, host: int) -> Path:
        return self.hosts.shared / f"worker-{host}.log"

    def executors(self, host: int) -> set[Path]:
        """Return the logs of the executors that a worker has started."""
        return set(self.hosts.private_tmp(host).glob("work/app-*/*/stderr"))

    def upload(self, folder: Path, url: str) -> None:
        """Copy a folder of this machine to the store."""
        copy = self.hosts.shared / "copied"
        shutil.copytree(folder, copy)
        self.call(COPY, str(copy), url)
        shutil.rmtree(copy)

    def stored(self, run: str) -> dict[str, Any]:
        """Return the names of the files of a run, the hosts of its ranks and its number of epochs."""
        return dict(self.call(LIST, run))

    def call(self, code: str, *arguments: str) -> Any:
        """Run code on host 0; returns what it prints as JSON."""
        done = self.hosts.run(MASTER, [sys.executable, "-c", code, *arguments], self.variables)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout or "null")


@contextmanager
def cluster_hosts() -> Iterator[ClusterHosts]:
    """Start all; nothing of it is left afterwards."""
    with (
        tempfile.TemporaryDirectory(dir="/tmp", prefix="hybridspeech-hosts-") as folder,
        Hosts(Path(folder), 4) as hosts,
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
            "PATH": f"{Path(sys.executable).parent}:{find_java() / 'bin'}:{os.environ['PATH']}",
            "HOME": os.environ["HOME"],
            "JAVA_HOME": str(find_java()),
            "SPARK_HOME": str(find_spark()),
            "SPARK_CONF_DIR": str(conf),
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_DAEMON_JAVA_OPTS": LIGHT_JVM,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
        }
        store = start_on_host(hosts, STORE, variables)
        variables |= store.environment()
        spark_class = str(find_spark() / "bin" / "spark-class")
        address = hosts.address(MASTER)
        command = [spark_class, f"{DEPLOY}.master.Master", "--host", address, "--port", "7077", "--webui-port", "0"]
        hosts.start(MASTER, command, variables, hosts.shared / "master.log")
        master = wait_for(r"Starting Spark master at (spark://\S+)", hosts.shared / "master.log")
        cluster = ClusterHosts(hosts, master, store, variables)
        for host in WORKERS:
            cluster.start_worker(host)
        for host in WORKERS:
            cluster.await_worker(host)
        yield cluster
