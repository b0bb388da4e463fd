"""The replaced `bind`. Each test uses a new process, because the original cannot be restored."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
import socket
from hybridspeech.patches.loopback_bind import keep_to_loopback

def bound(family, host):
    with socket.socket(family) as each:
        each.bind((host, 0))
        return each.getsockname()[0]

assert bound(socket.AF_INET, "0.0.0.0") == "0.0.0.0"
assert keep_to_loopback() > 0
assert keep_to_loopback() > 0
print(bound(socket.AF_INET, "0.0.0.0"), bound(socket.AF_INET, ""), bound(socket.AF_INET, "127.0.0.2"))
if socket.has_ipv6:
    with socket.socket(socket.AF_INET6) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", 0))
        server.listen()
        socket.create_connection(("127.0.0.1", server.getsockname()[1])).close()
        print(server.getsockname()[0])
try:
    bound(socket.AF_INET, "203.0.113.1")
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.skipif(platform.system() != "Linux", reason="there is nothing to promise elsewhere")
def test_wildcard_addresses_become_loopback_and_others_stay() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first == "127.0.0.1 127.0.0.1 127.0.0.2"
    assert rest[-1] == "Cannot assign requested address"
    assert rest[:-1] in ([], ["::ffff:127.0.0.1"])


@pytest.mark.slow
def test_a_server_of_tensorflow_listens_on_every_interface_without_the_patch() -> None:
    code = """
import psutil, socket, tensorflow as tf
with socket.create_server(("127.0.0.1", 0)) as probe:
    address = "127.0.0.1:%d" % probe.getsockname()[1]
server = tf.distribute.Server({"worker": [address]}, start=True)
connections = psutil.Process().net_connections("inet")
print(*sorted({each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert set(done.stdout.split()) & {"0.0.0.0", "::"}, done.stderr
