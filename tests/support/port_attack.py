"""An attacker on this machine: connects to every port of this process and its descendants, and sends harmful data."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import struct
from pathlib import Path

from hybridspeech.processes.periodic import PeriodicCall
from support.spark_standalone import listening_sockets

POLL_S = 0.2
TIMEOUT_S = 0.5


class Exploit:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


class Attack(PeriodicCall):
    """A context manager that sends random bytes and a harmful pickle to each new listening socket of the process tree.

    `listened` are the addresses (IP, port) that were found; `proof` is the file that an exploit would create.
    """

    def __init__(self, proof: Path) -> None:
        super().__init__(self._attack, POLL_S, "attack")
        self.proof = proof
        self.listened: set[tuple[str, int]] = set()
        pickled = pickle.dumps(Exploit(proof))
        self._payloads = (
            os.urandom(4096),
            b"GET / HTTP/1.1\r\n\r\n",
            pickled,
            struct.pack(">I", len(pickled)) + pickled,  # as TensorFlowOnSpark frames its messages
            struct.pack("!i", len(pickled)) + pickled,  # as multiprocessing does
            b"\xff" * 64,
        )

    def _attack(self) -> None:
        for address in listening_sockets(os.getpid()) - self.listened:
            self.listened.add(address)
            for payload in self._payloads:
                self._send(address, payload)

    def _send(self, address: tuple[str, int], payload: bytes) -> None:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", address[1]), timeout=TIMEOUT_S) as sock,
        ):
            sock.sendall(payload)
            sock.shutdown(socket.SHUT_WR)
            sock.recv(64)
