"""The commands of "From a bucket to a model on your cluster" run as printed, on an S3 server and a cluster of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.s3_server import S3Server, free_ports
from support.snippets import ROOT, snippets
from support.spark_standalone import standalone_cluster

from hybridspeech.clusters.ray_session import ray_environment
from hybridspeech.clusters.spark_settings import spark_environment
from hybridspeech.processes.supervision import GuardedProcess
from hybridspeech.storage.copies import upload_files
from hybridspeech.storage.objects import list_files

PAGE = ROOT / "docs" / "how-to" / "bucket-to-model.md"
SPARK_LINES = ("$MASTER", "inspect", "tfos", "evaluate", "export")


@contextmanager
def ray_head(port: int, folder: Path) -> Iterator[str]:
    """Start a Ray of one node; its address."""
    head = ["--head", "--block", "--node-ip-address", "127.0.0.1", "--port", str(port), "--num-cpus", "2"]
    memory = ["--object-store-memory", "200000000", "--include-dashboard", "false"]
    command = [str(Path(sys.executable).with_name("ray")), "start", *head, *memory]
    with GuardedProcess(command, env=dict(os.environ), log=folder / "ray.log", terminate_s=20):
        yield f"127.0.0.1:{port}"


def run_lines(lines: list[str], environment: dict[str, str], folder: Path) -> None:
    (folder / "script.sh").write_text("set -euo pipefail\n" + "\n".join(lines), encoding="utf-8")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {**os.environ, **environment, "PATH": path, "PYTHONPATH": str(ROOT)}
    log = folder / "log"
    with GuardedProcess(["bash", str(folder / "script.sh")], env=variables, log=log, terminate_s=5) as process:
        code = process.wait(540)
    assert code == 0, log.read_text(encoding="utf-8", errors="replace")[-4000:]


def printed_lines() -> list[str]:
    blocks = [block for block in snippets(PAGE) if block.reason == "needs a bucket"]
    return [line for block in blocks for line in block.code.splitlines()]


@pytest.mark.soak
def test_the_commands_for_spark_run_as_printed(
    s3_url: str, s3_server: S3Server, noisy_tones: Path, tmp_path: Path
) -> None:
    upload_files(noisy_tones, [stat.name for stat in list_files(str(noisy_tones))], f"{s3_url}/words")
    lines = [line for line in printed_lines() if any(part in line for part in SPARK_LINES)]
    assert len(lines) == 7
    with standalone_cluster(tmp_path) as master:
        run_lines(lines, {"BUCKET": s3_url, "MASTER": master, **s3_server.environment()}, tmp_path)
    assert {"labels.parquet", "words.tflite"} <= {stat.name for stat in list_files(s3_url)}


@pytest.mark.soak
def test_the_commands_for_ray_run_as_printed(
    s3_url: str, s3_server: S3Server, noisy_tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_files(noisy_tones, [stat.name for stat in list_files(str(noisy_tones))], f"{s3_url}/words")
    lines = [line for line in printed_lines() if "$RAY" in line or "--backend ray" in line]
    assert len(lines) == 4
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    for name, value in {**ray_environment(), **spark_environment(tmp_path), **token}.items():
        monkeypatch.setenv(name, value)
    (port,) = free_ports(1)
    with ray_head(port, tmp_path) as address:
        wait = f"until ray status --address {address} > /dev/null 2>&1; do sleep 1; done"
        run_lines([wait, *lines], {"BUCKET": s3_url, "RAY": address, **s3_server.environment()}, tmp_path)
    assert "labels-ray.parquet" in {stat.name for stat in list_files(s3_url)}
