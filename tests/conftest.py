"""Shared fixtures. Sessions (Spark, Ray) are slow to start, so they are parametrised at session scope and shared."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.engine_cases import CASES, open_engine
from support.fault_proxy import FaultProxy, running_proxy
from support.http_server import Answer, Handler, Server
from support.s3_server import S3Server, running_s3_server
from support.small_trainings import FIT, SMALL, Attacked, train, train_attacked

from hybridspeech.clusters.pack import pack_environment
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.commands.train import TrainResult
from hybridspeech.engines import Engine
from hybridspeech.storage import retries
from hybridspeech.storage.filesystems import forget_stores

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with SIGINT ignored


HEADER_PACKAGES = (
    *("tensorflow", "tf-keras", "tensorflowonspark", "pyspark", "ray", "raydp"),
    *("numpy", "scipy", "numba", "librosa", "soundfile", "pyarrow"),
)


def pytest_report_header() -> list[str]:
    """Show the interpreter and the versions of the main packages."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in HEADER_PACKAGES)
    return [f"interpreter: Python {platform.python_version()} ({sys.executable})", f"packages: {versions}"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests with the marker `soak` unless the command line names it: ``pytest -m soak``."""
    if "soak" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("soak")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


DATA_VARIABLE = "HYBRIDSPEECH_TEST_DATA"


@pytest.fixture(scope="session")
def speech_commands() -> Path:
    """The real clips (a folder in the layout of Speech Commands), from the environment."""
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        if os.environ.get("CI"):
            pytest.fail(f"{DATA_VARIABLE} is not set; a CI run without real data proves nothing")
        pytest.skip(f"{DATA_VARIABLE} is not set; point it at a folder of Speech Commands")
    return Path(folder)


def write_tones(root: Path, words: dict[str, float], speakers: int = 10, seed: int = 0) -> Path:
    """Make a folder of 1 s clips in which each word is a tone (Hz) in noise, named as in Speech Commands."""
    generator = np.random.default_rng(seed)
    times = np.arange(16_000) / 16_000
    for word, pitch_hz in words.items():
        (root / word).mkdir(parents=True)
        for speaker in range(speakers):
            wave = 0.4 * np.sin(2 * np.pi * pitch_hz * (1 + 0.005 * speaker) * times)
            wave += 0.02 * generator.standard_normal(times.size)
            soundfile.write(
                root / word / f"{speaker:08x}_nohash_0.wav", wave.astype("float32"), 16_000, subtype="PCM_16"
            )
    return root


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three words of 40 speakers each: 120 clips on which a network can be trained in seconds. Read only."""
    root = tmp_path_factory.mktemp("tones")
    return write_tones(root, {"high": 1760.0, "low": 220.0, "middle": 660.0}, speakers=40)


@pytest.fixture(scope="session")
def flawed_tones(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tones, with some unusable clips of one word, so that shards are made again with equal sizes. Read only."""
    root = tmp_path_factory.mktemp("flawed") / "clips"
    shutil.copytree(tones, root)
    for path in sorted((root / "low").iterdir())[::4]:
        path.write_bytes(b"no audio")
    return root


@pytest.fixture(scope="session")
def noisy_tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four words of 12 speakers each, and five recordings of background noise of 2 s. Read only."""
    root = tmp_path_factory.mktemp("noisy")
    write_tones(root, {"down": 330.0, "high": 1760.0, "low": 220.0, "middle": 660.0}, speakers=12)
    generator = np.random.default_rng(1)
    (root / "_background_noise_").mkdir()
    for number in range(5):
        noise = 0.1 * generator.standard_normal(32_000).astype("float32")
        soundfile.write(root / "_background_noise_" / f"noise{number}.wav", noise, 16_000, subtype="PCM_16")
    return root


@pytest.fixture(scope="session")
def small_shards(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tones as small spectrograms. Read only."""
    out = tmp_path_factory.mktemp("small") / "shards"
    preprocess(tones, out, features=SMALL, engine="local")
    return out


@pytest.fixture(scope="session")
def small_training(small_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """A training on them on one local worker that nothing disturbs. Read only."""
    return train(small_shards, tmp_path_factory.mktemp("small-run") / "run", fit=FIT, backend="local")


@pytest.fixture(scope="session")
def attacked_training(small_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Attacked]:
    """Return the training on them on two workers of a cluster backend, while all its ports are attacked. Read only."""
    made: dict[str, Attacked] = {}

    def make(backend: str) -> Attacked:
        if backend not in made:
            made[backend] = train_attacked(small_shards, tmp_path_factory.mktemp(backend), backend)
        return made[backend]

    return make


@pytest.fixture(
    scope="module",
    params=[case if case.startswith("local") else pytest.param(case, marks=pytest.mark.cluster) for case in CASES],
)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An open engine of each kind. pytest runs a module's tests of one engine together; the next module may start its own."""
    with open_engine(request.param, tmp_path_factory.mktemp("engine")) as opened:
        yield opened


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], Server]]:
    """Start servers with a given behaviour, and stop them after the test."""
    monkeypatch.setenv("no_proxy", "*")
    servers = []

    def start(answer: Answer) -> Server:
        server = Server(("127.0.0.1", 0), Handler)
        server.asked, server.answer = [], answer
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server on loopback, for the session."""
    with running_s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_url(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty prefix on the S3 server; the environment of the test refers to the server."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    forget_stores()
    return f"s3://{s3_server.bucket}/{uuid.uuid4().hex}"


@pytest.fixture
def fault_proxy(s3_url: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy in front of the S3 server, without faults at first; the environment of the test refers to it."""
    with running_proxy(FaultProxy(s3_server.port)) as proxy:
        for name, value in s3_server.environment(proxy.port).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HYBRIDSPEECH_STORAGE_TIMEOUT_S", "1")
        monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.01)
        forget_stores()
        yield proxy
    forget_stores()


@pytest.fixture(scope="session")
def packed_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This environment with the extra `spark`, packed. Read only."""
    archive = tmp_path_factory.mktemp("packed") / "environment.tar.gz"
    pack_environment(archive, extras=["spark"])
    return archive
