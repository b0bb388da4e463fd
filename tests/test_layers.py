"""Where an import may stand: the layers of docs/design.md, and the one home of each heavy package."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "hybridspeech"
LAYERS = [
    {"__main__"},
    {"cli"},
    {"demo", "run"},
    {"preprocess", "train", "evaluate", "predict", "export", "describe", "synthesize", "download"},
    {"feeds", "job"},
    {"engines", "backends", "loop", "forms"},
    {
        "dataset",
        "model",
        "session",
        "optimization",
        "frontend",
        "quantize",
        "checkpoints",
        "stopping",
        "pulse",
        "recipes",
        "speakers",
    },
    {
        "networks",
        "labels",
        "making",
        "store",
        "sharding",
        "shards",
        "index",
        "features",
        "inputs",
        "augment",
        "noise",
        "tasks",
        "clips",
        "robustness",
        "measure",
        "audio",
        "plots",
        "espeak",
    },
    {"kernels", "records", "containers", "manifest", "rejects", "worker", "unpack", "scores"},
    {"runs", "output", "runtime", "processes", "loopback", "tables", "splits", "fetch"},
    {"registry", "terminal", "quiet", "polling"},
    {"config"},
    {"errors", ""},
]
FREE_WITHIN = [{"session", "model"}, next(layer for layer in LAYERS if "shards" in layer)]
HOMES = {
    "tensorflow": {
        *("dataset", "model", "session", "optimization", "checkpoints", "pulse", "loop"),
        *("frontend", "forms", "quantize"),
    },
    "tf_keras": {
        *("dataset", "model", "networks", "session", "optimization", "loop", "frontend", "forms"),
        *("evaluate", "predict", "export"),
    },
    "pyspark": {
        "engines.spark",
        "engines.spark_job",
        "engines.spark_daemon",
        "engines.raydp",
        "backends.tfos",
        "feeds.tfos",
        "feeds.ray",
    },
    "raydp": {"engines.raydp", "feeds.ray"},
    "ray": {"engines.raydp", "backends.ray", "feeds.ray"},
    "tensorflowonspark": {"backends.tfos", "feeds.tfos"},
    "librosa": {"features", "kernels", "plots", "frontend"},
    "soundfile": {"audio"},
    "numba": {"features", "kernels"},
    "matplotlib": {"plots"},
}
LIGHT = ("tensorflow", "tf_keras", "pyspark", "ray", "raydp", "librosa", "numba", "soundfile", "matplotlib", "scipy")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "hybridspeech")


def row(module: str) -> int:
    top = module.split(".")[0]
    found = [i for i, layer in enumerate(LAYERS) if top in layer]
    assert found, f"hybridspeech.{module} stands in no layer; add it to LAYERS and to docs/design.md"
    return found[0]


@pytest.mark.parametrize(("module", "tree"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_a_module_imports_only_from_rows_below_it(module: str, tree: ast.Module) -> None:
    for name in imports(tree):
        if not name.startswith("hybridspeech."):
            continue
        imported = name.removeprefix("hybridspeech.")
        same_package = imported.split(".")[0] == module.split(".")[0]
        free = any({imported.split(".")[0], module.split(".")[0]} <= layer for layer in FREE_WITHIN)
        if not (same_package or free or imported == "__version__"):
            assert row(imported) > row(module), f"{module} imports {imported}, which does not stand below it"


@pytest.mark.parametrize(("module", "tree"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_a_heavy_package_is_imported_in_its_home_only(module: str, tree: ast.Module) -> None:
    for name in imports(tree):
        package = name.split(".")[0]
        assert module in HOMES.get(package, {module}), f"{module} imports {package}; its homes are {HOMES[package]}"


@pytest.mark.parametrize("engine", ["spark", "raydp"])
def test_an_engine_does_not_know_a_backend(engine: str) -> None:
    source = (PACKAGE / "engines" / f"{engine}.py").read_text(encoding="utf-8")
    assert "hybridspeech.backends" not in source


def test_help_loads_nothing_heavy() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "hybridspeech", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in loaded
    assert not loaded & set(LIGHT)


def test_preprocessing_workers_do_not_load_tensorflow() -> None:
    code = "import sys, hybridspeech.preprocess; sys.exit('tensorflow' in sys.modules or 'tf_keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
