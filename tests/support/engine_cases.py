"""The engines of the contract tests, and how each is opened."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from hybridspeech.config import EngineConfig
from hybridspeech.engines import ENGINES, Engine
from support.spark_standalone import standalone_cluster

CASES = {
    "local": ("local", EngineConfig()),
    "local-processes": ("local", EngineConfig(num_executors=2)),
    "spark-local": ("spark", EngineConfig(master="local[2]")),
    "spark-standalone": ("spark", EngineConfig(num_executors=2, executor_cores=1)),
    "raydp": ("raydp", EngineConfig(num_executors=2, executor_cores=1)),
}


@contextlib.contextmanager
def open_engine(case: str, folder: Path) -> Iterator[Engine]:
    """Open an engine; `folder` is for the logs of a cluster that it needs."""
    name, config = CASES[case]
    with contextlib.ExitStack() as resources:
        if case == "spark-standalone":
            url = resources.enter_context(standalone_cluster(folder))
            config = EngineConfig(master=url, num_executors=2, executor_cores=1)
        yield resources.enter_context(ENGINES.load(name)(config))
