"""A running cluster that requires a secret or a token refuses a driver without the right one: one sentence, soon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.spark_standalone import standalone_cluster

from hybridspeech.config import EngineConfig
from hybridspeech.engines.spark import SparkEngine
from hybridspeech.errors import EngineError

AUTHENTICATE = {"spark.authenticate": "true", "spark.network.crypto.enabled": "true"}
pytestmark = pytest.mark.cluster


def conf_folder(folder: Path, settings: dict[str, str]) -> str:
    folder.mkdir(mode=0o700)
    lines = "".join(f"{name} {value}\n" for name, value in settings.items())
    (folder / "spark-defaults.conf").write_text(lines, encoding="ascii")
    return str(folder)


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A master that requires a secret; it has no workers, since no driver of these tests gets so far."""
    folder = tmp_path_factory.mktemp("master")
    conf = conf_folder(folder / "conf", {**AUTHENTICATE, "spark.authenticate.secret": "a" * 48})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_CONF_DIR", conf)
        with standalone_cluster(folder, num_workers=0) as url:
            patch.delenv("SPARK_CONF_DIR")
            yield url


@pytest.mark.parametrize(
    "settings",
    [{}, {**AUTHENTICATE, "spark.authenticate.secret": "b" * 48}],
    ids=["no secret", "a wrong secret"],
)
def test_a_spark_master_that_refuses_the_driver_is_named(
    settings: dict[str, str], master: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARK_CONF_DIR", conf_folder(tmp_path / "conf", settings))
    with pytest.raises(
        EngineError, match=rf"^Spark at --master {master} refused this driver; .*secret differ: write .*SPARK_CONF_DIR"
    ):
        SparkEngine(EngineConfig(master=master)).__enter__()


def test_authentication_without_a_secret_is_one_sentence(
    master: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARK_CONF_DIR", conf_folder(tmp_path / "conf", AUTHENTICATE))
    with pytest.raises(EngineError, match=r"^Spark did not start with .*A secret key must be specified.* write it to"):
        SparkEngine(EngineConfig(master=master)).__enter__()
