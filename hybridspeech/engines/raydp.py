"""The RayDP engine: Spark whose executors are Ray actors, in a Ray that is started here or joined.

It differs from the Spark engine only in how its session starts and ends. Knows nothing of audio, features and shards.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pyspark import SparkContext

from hybridspeech.clusters.ray_session import RaySettings, is_connected, ray_session
from hybridspeech.clusters.spark_on_ray import SparkOnRaySettings, check_no_context, environment_for_spark, spark_on_ray
from hybridspeech.config import EngineConfig
from hybridspeech.engines.spark import SparkEngine
from hybridspeech.errors import ConfigError, EngineError
from hybridspeech.processes.resources import num_cores
from hybridspeech.processes.scratch import scratch_folder

for _package in ("ray", "raydp"):  # ray must not be imported here: it reads its environment when it is imported
    if importlib.util.find_spec(_package) is None:
        raise ModuleNotFoundError(f"No module named {_package!r}", name=_package)

OBJECT_STORE_BYTES = 256 * 1024**2
"""Of a Ray that is started here: only Spark's executors run in it, and they do not use the object store."""


class RayDPEngine(SparkEngine):
    """Runs each partition as one task of a Spark job on Ray.

    Ray is the one at ``ray_address``, else the one that this process is connected to, else one that is started here,
    on loopback. Executors have one core and 1 GiB each unless the EngineConfig has other values, and there are as many as
    Ray has free CPUs; they hold these CPUs until the engine is closed. The nodes of a Ray that is joined must have
    hybridspeech and a Java for Spark installed.
    """

    name: ClassVar[str] = "raydp"

    def _session(self) -> contextlib.AbstractContextManager[SparkContext]:
        return _own_context(self._config)


@contextlib.contextmanager
def _own_context(config: EngineConfig) -> Iterator[SparkContext]:
    """Open Ray, and Spark on it; what was started here ends with the context, and its files are removed."""
    check_no_context()
    if config.environment:
        raise ConfigError(
            "engine raydp can't use --environment: its JVMs load the jars of pyspark and raydp from the driver's path on "
            "every node; use an image with hybridspeech, or engine spark"
        )
    is_started_here = config.ray_address is None and not is_connected()
    with scratch_folder(is_short=True) as folder:
        scratch = Path(folder)
        ray = RaySettings(
            address=config.ray_address,
            num_cpus=num_cores(),
            object_store_bytes=OBJECT_STORE_BYTES,
            environment=environment_for_spark(scratch) if is_started_here else {},
            answer_timeout_s=config.stall_timeout_s,
            verbose=config.verbose,
            error=EngineError,
        )
        with ray_session(ray, scratch) as variables:
            spark = SparkOnRaySettings(
                num_executors=config.num_executors,
                executor_cores=config.executor_cores or 1,
                executor_memory=config.executor_memory or "1g",
                conf=config.conf,
                is_started_here=is_started_here,
                environment=variables,
                answer_timeout_s=config.stall_timeout_s,
                verbose=config.verbose,
            )
            with spark_on_ray(spark, scratch) as context:
                yield context
