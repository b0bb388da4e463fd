"""Cores under an affinity and under quotas of control groups, and memory sizes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hybridspeech.errors import ConfigError
from hybridspeech.processes.resources import cpu_quotas, num_cores, parse_memory_size


def write_files(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_cores_are_limited_by_the_affinity() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    code += "from hybridspeech.processes.resources import num_cores; assert num_cores() == 1"
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)
    assert 1 <= num_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("files", "quotas"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, [1.5]),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, []),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
                "sys/fs/cgroup/a/cpu.max": "200000 100000\n",
            },
            [2.0],
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/x\n",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
            },
            [0.5],
        ),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/host/path\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            [3.0],
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            [],
        ),
        ({}, []),
    ],
)
def test_quotas_of_both_versions_of_control_groups_are_used(
    files: dict[str, str], quotas: list[float], tmp_path: Path
) -> None:
    assert cpu_quotas(write_files(tmp_path, files)) == quotas


@pytest.mark.parametrize(
    ("text", "size"), [("512m", 512 << 20), (" 2 GB ", 2 << 30), ("7k", 7 << 10), ("1t", 1 << 40), ("0g", 0)]
)
def test_a_memory_size_is_a_number_with_a_unit(text: str, size: int) -> None:
    assert parse_memory_size(text, "memory") == size


@pytest.mark.parametrize("text", ["", "2", "g", "1.5g", "-1g", "2 gigabytes"])
def test_other_memory_sizes_are_refused(text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"memory per worker is '.*'; expected a number and a unit, such as 512m or 4g"
    ):
        parse_memory_size(text, "memory per worker")


def test_too_few_open_files_are_one_sentence() -> None:
    code = """
import resource
from hybridspeech.errors import ConfigError
from hybridspeech.processes.resources import check_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 64))
check_open_files(64, "Spark")
try:
    check_open_files(256, "Spark")
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "a process may open 64 files, and Spark needs 256; raise the limit with ulimit -Hn\n"
