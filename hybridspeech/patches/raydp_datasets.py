"""Internal functions and settings of RayDP for a Ray Dataset that outlives its Spark session.

Written against: raydp 1.6.5 (with ray 2.60.0).

Reason: on Java 17 the conversion of a DataFrame fails with InaccessibleObjectException unless Java's packages are opened.
RayDP pins the Arrow data of each DataFrame in Spark's executors until the session ends, and fetches all partitions at the
same time, each in a separate Python process.

Without it: the conversion ends RayDP's master; executors run out of memory; hundreds of Python processes start.

It can go when: `ray.data.from_spark` works on Java 17 without options, and frees the data of a materialised Dataset.
"""

from __future__ import annotations

from typing import Any

_PACKAGES = (
    *(f"java.{name}" for name in ("lang", "lang.invoke", "lang.reflect", "io", "net", "nio", "math", "text", "util")),
    *(f"java.util.{name}" for name in ("concurrent", "concurrent.atomic")),
    *(f"sun.{name}" for name in ("nio.ch", "nio.cs", "security.action", "util.calendar")),
)
JAVA_OPTIONS = " ".join(
    [*(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _PACKAGES), "--add-opens=java.sql/java.sql=ALL-UNNAMED"]
)
"""Value of JDK_JAVA_OPTIONS for every JVM of RayDP; it must be set before Ray starts."""
FETCH_SETTINGS = {"spark.ray.raydp_recoverable_fetch.task.resource.CPU": "1"}
"""Spark settings: a Ray task that fetches one partition holds one CPU, so that only a few run at the same time."""


def release(frame: Any) -> None:
    """Free the Arrow data that `ray.data.from_spark` has pinned in Spark for a DataFrame."""
    from raydp.spark.dataset import release_spark_recoverable

    release_spark_recoverable(frame)
