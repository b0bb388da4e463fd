"""What the patched start of RayDP's master assumes, and whether its reason still holds."""

from __future__ import annotations

from support.upstream import source_of

MODULE = "raydp.spark.ray_cluster_master"


def test_the_master_starts_its_jvm_through_the_replaced_method() -> None:
    start = source_of(MODULE, "RayDPSparkMaster.start_up")
    assert "self._gateway = self._launch_gateway(extra_classpath, popen_kwargs)" in start
    assert "self._gateway.entry_point.getAppMasterBridge()" in start
    original = source_of(MODULE, "RayDPSparkMaster._launch_gateway")
    assert original.startswith("def _launch_gateway(self, class_path, popen_kwargs=None):")
    options = [line.strip() for line in original.splitlines() if "command.a" in line or "command.e" in line]
    assert len(options) == 9, "a command line option was added or removed"
    assert "AppMasterEntryPoint" in options[-1]


def test_the_original_connection_has_no_secret() -> None:
    original = source_of(MODULE, "RayDPSparkMaster._launch_gateway")
    assert "GatewayParameters(port=gateway_port, auto_convert=True)" in original
