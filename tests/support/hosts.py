"""Several hosts on one Linux machine, by namespaces: each has its own network, processes, host name, /tmp and /dev/shm.

The hosts share the rest of the disk, and one folder below /tmp. Needs root, iproute2 and util-linux.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import hybridspeech

NETWORK = "10.79.0"
PROGRAMS = (Path(hybridspeech.__file__).parents[1], Path(sys.prefix), Path(sys.base_prefix))
"""The project and its Python: every host has them at the same path, also where they are below /tmp."""
_INIT = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); print(flush=True); signal.pause()"
"""First process of a host: the kernel ends all of a host's processes with it, and it leaves no zombie."""


class Hosts:
    """A context manager: hosts 0 to number - 1, connected by a bridge; nothing of them is left afterwards.

    Parameters
    ----------
    folder : an empty folder below /tmp; its subfolder `shared` is the same on all hosts, at the same path
    """

    def __init__(self, folder: Path, number: int) -> None:
        if os.geteuid() != 0:
            raise PermissionError("tests with several hosts make namespaces; run them as root")
        self._folder, self._number = folder, number
        self.shared = folder / "shared"
        self._keepers: list[subprocess.Popen[str]] = []
        self._pids: list[int] = []

    def address(self, host: int) -> str:
        """IP address of a host."""
        return f"{NETWORK}.{host + 1}"

    def private_tmp(self, host: int) -> Path:
        """Return the folder of this machine that a host sees as /tmp."""
        return self._folder / f"host{host}"

    def __enter__(self) -> Hosts:
        try:
            self.shared.mkdir(parents=True)
            bridge = self._new_namespaces("--net")
            self._in_network(bridge, "ip link set lo up; ip link add br0 type bridge; ip link set br0 up")
            self._pids = [self._make_host(host, bridge) for host in range(self._number)]
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        for keeper in self._keepers:
            keeper.send_signal(signal.SIGKILL)  # --kill-child: the host's first process ends with it
            keeper.wait()

    def _new_namespaces(self, *kinds: str) -> int:
        """Start a first process in new namespaces; returns its process id on this machine."""
        command = ["unshare", *kinds, "--pid", "--fork", "--kill-child", "--propagation", "private"]
        keeper = subprocess.Popen(
            [*command, sys.executable, "-S", "-c", _INIT], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        self._keepers.append(keeper)
        assert keeper.stdout is not None
        if keeper.stdout.readline() != "\n":
            raise OSError(
                f"{shlex.join(command)} failed; tests with several hosts need util-linux and the right to use it"
            )
        return int(Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().split()[0])

    def _in_network(self, pid: int, script: str) -> None:
        subprocess.run(["nsenter", "-t", str(pid), "--net", "--", "sh", "-ec", script], check=True)

    def _make_host(self, host: int, bridge: int) -> int:
        pid = self._new_namespaces("--net", "--mount", "--uts", "--ipc", "--mount-proc")
        self._in_network(
            bridge,
            f"ip link add v{host} type veth peer name eth0 netns {pid}; ip link set v{host} master br0 up",
        )
        private = self.private_tmp(host)
        seen = private / self.shared.relative_to("/tmp")
        seen.mkdir(parents=True)
        (private / "hosts").write_text(
            "127.0.0.1 localhost\n" + "".join(f"{self.address(i)} host{i}\n" for i in range(self._number))
        )
        private.chmod(0o1777)
        programs = ""
        for path in PROGRAMS:
            if path.is_relative_to("/tmp"):
                (private / path.relative_to("/tmp")).mkdir(parents=True, exist_ok=True)
                programs += f"mount --bind {path} {private / path.relative_to('/tmp')}; "
        script = (
            f"hostname host{host}; ip link set lo up; ip addr add {self.address(host)}/24 dev eth0; ip link set eth0 up; "
            f"mount --bind {private}/hosts /etc/hosts; mount -t tmpfs -o mode=1777 tmpfs /dev/shm; "
            f"{programs}mount --bind {self.shared} {seen}; mount --rbind {private} /tmp"  # last: it hides this folder
        )
        subprocess.run([*self._enter(pid), "sh", "-ec", script], check=True)
        return pid

    def _enter(self, pid: int) -> list[str]:
        return ["nsenter", "-t", str(pid), "--net", "--mount", "--uts", "--pid", "--ipc", "--wdns=/", "--"]

    def run(
        self, host: int, command: Sequence[str], variables: Mapping[str, str], timeout_s: float = 300.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host until it ends."""
        return subprocess.run(
            [*self._enter(self._pids[host]), *command],
            env=dict(variables),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
        )

    def kill(self, host: int) -> None:
        """Power a host off: its processes end at the same moment."""
        keeper = self._keepers[1 + host]
        keeper.send_signal(signal.SIGKILL)
        keeper.wait()

    def start(
        self, host: int, command: Sequence[str], variables: Mapping[str, str], log: Path
    ) -> subprocess.Popen[bytes]:
        """Start a process on a host; it ends with the host."""
        with log.open("wb") as output:
            return subprocess.Popen(
                [*self._enter(self._pids[host]), *command],
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
