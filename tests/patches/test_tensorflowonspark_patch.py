"""What the patch of TensorFlowOnSpark assumes, and its reasons. Source is read, since an import has side effects."""

from __future__ import annotations

import pytest
from support.upstream import source_of


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("MessageSocket.send", "def send(self, sock, msg):"),
        ("MessageSocket.receive", "def receive(self, sock):"),
        ("Server.start_listening_socket", "def start_listening_socket(self):"),
        ("Server.await_reservations", "def await_reservations(self, sc, status={}, timeout=600):"),
        ("Client.await_reservations", "def await_reservations(self):"),
        ("Client.get_reservations", "def get_reservations(self):"),
        ("Client._request", "def _request(self, msg_type, msg_data=None):"),
        ("Reservations.done", "def done(self):"),
        ("Reservations.remaining", "def remaining(self):"),
    ],
)
def test_the_replaced_functions_have_the_same_signatures(name: str, signature: str) -> None:
    assert source_of("tensorflowonspark.reservation", name).startswith(signature)


def test_the_server_and_client_use_the_replaced_functions() -> None:
    start = source_of("tensorflowonspark.reservation", "Server.start")
    assert "server_sock = self.start_listening_socket()" in start
    assert "msg = self.receive(sock)" in start
    assert "util.get_ip_address()" in source_of("tensorflowonspark.reservation", "Server.get_server_ip")
    assert "MessageSocket.send(self, self.sock, msg)" in source_of("tensorflowonspark.reservation", "Client._request")
    assert "MessageSocket.receive(self, self.sock)" in source_of("tensorflowonspark.reservation", "Client._request")


def test_the_reasons_for_the_patch_still_hold() -> None:
    assert "pickle.loads(data)" in source_of("tensorflowonspark.reservation", "MessageSocket.receive")
    assert "bind(('', port))" in source_of("tensorflowonspark.reservation", "Server.start_listening_socket")
    assert "sys.exit(1)" in source_of("tensorflowonspark.reservation", "Server.await_reservations")
    assert "import tensorflow as tf" in source_of("tensorflowonspark.compat")


def test_the_manager_takes_its_queue_class_and_start_from_its_module() -> None:
    start = source_of("tensorflowonspark.TFManager", "start")
    assert "qdict[q] = JoinableQueue()" in start
    assert "mgr.start()" in start
    assert "class TFManager(BaseManager)" in source_of("tensorflowonspark.TFManager")


def test_nodes_are_fed_and_numbered_as_assumed() -> None:
    train = source_of("tensorflowonspark.TFSparkNode", "train")
    assert train.startswith("def train(cluster_info, cluster_meta, feed_timeout=600, qname='input'):")
    assert "return _train" in train
    assert "queue.put(item, block=True)" in train
    assert source_of("tensorflowonspark.util", "read_executor_id").startswith("def read_executor_id():")
    assert "tf_status = {}" in source_of("tensorflowonspark.TFCluster")
