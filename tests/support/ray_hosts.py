"""A Ray with a token on test hosts: the head on host 0, and a raylet on each of the following ones."""

from __future__ import annotations

import time
from collections.abc import Mapping

from support.hosts import Hosts

TOKEN = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "5ec2e7" * 8,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # else other jobs of the machine take the time of the workers
}
"""Environment variables of every process of this Ray."""


def start_ray(hosts: Hosts, variables: Mapping[str, str], number: int = 2, cpus: int = 3) -> str:
    """Start Ray on the first hosts with some CPUs each; returns its address.

    Parameters
    ----------
    variables : environment, with TOKEN and a PATH with `ray`
    """
    address = f"{hosts.address(0)}:6379"
    common = ["--num-cpus", str(cpus), "--object-store-memory", "150000000", "--block"]
    head = ["--head", "--port", "6379", "--include-dashboard", "false"]
    for host in range(number):
        role = head if host == 0 else ["--address", address]
        command = ["ray", "start", *role, "--node-ip-address", hosts.address(host), *common]
        hosts.start(host, command, variables, hosts.shared / f"ray-{host}.log")
        if host in (0, number - 1):
            _wait_for_cpus(hosts, address, variables, cpus * (host + 1))
    return address


def _wait_for_cpus(hosts: Hosts, address: str, variables: Mapping[str, str], cpus: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        done = hosts.run(0, ["ray", "status", "--address", address], variables)
        if done.returncode == 0 and f"{cpus}.0 CPU" in done.stdout:
            return
        time.sleep(1)
    logs = [path.read_text() for path in hosts.shared.glob("ray-*.log")]
    raise TimeoutError(f"Ray did not start on all hosts: {done.stdout} {done.stderr} {logs}")
