"""What the access to pyspark's gateway assumes about pyspark."""

from __future__ import annotations

import inspect

from pyspark import SparkContext
from pyspark.java_gateway import launch_gateway

from hybridspeech.patches.pyspark_context import active_context, current_gateway, exchange_gateway


def test_pyspark_starts_a_jvm_only_where_the_attribute_is_empty() -> None:
    source = inspect.getsource(SparkContext._ensure_initialized)
    assert "if not SparkContext._gateway:" in source
    assert "SparkContext._gateway = gateway or launch_gateway(conf)" in source
    assert "SparkContext._jvm = SparkContext._gateway.jvm" in source


def test_the_launcher_takes_settings_and_options_of_popen() -> None:
    assert list(inspect.signature(launch_gateway).parameters) == ["conf", "popen_kwargs"]
    assert "proc = Popen(command, **popen_kwargs)" in inspect.getsource(launch_gateway)
    assert "gateway.proc = proc" in inspect.getsource(launch_gateway)


def test_a_stopped_context_is_no_longer_the_active_one() -> None:
    assert "SparkContext._active_spark_context = None" in inspect.getsource(SparkContext.stop)
    assert "self._jsc = None" in inspect.getsource(SparkContext.stop)


def test_a_replaced_gateway_can_be_restored() -> None:
    class Gateway:
        jvm = object()

    before, other = (current_gateway(), SparkContext._jvm), Gateway()
    try:
        assert exchange_gateway(other) is before[0]
        assert (current_gateway(), SparkContext._jvm) == (other, Gateway.jvm)
        assert exchange_gateway(None) is other
        assert (current_gateway(), SparkContext._jvm) == (None, None)
    finally:
        SparkContext._gateway, SparkContext._jvm = before
    assert active_context() is SparkContext._active_spark_context
