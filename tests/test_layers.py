"""Imports follow the layers of the design document; each heavy package is imported only in the packages listed here."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "hybridspeech"
ROWS = [
    {"__main__"},
    {"cli"},
    {"commands"},
    {"feeds"},
    {"engines", "backends"},
    {"detection"},
    {"evaluation"},
    {"training"},
    {"models", "shards"},
    {"corpora"},
    {"features", "manifest"},
    {"audio", "clusters"},
    {"storage"},
    {"processes"},
    {"patches"},
    {"config", "registry"},
    {"records"},
    {"errors", ""},
]
"""The packages and modules of hybridspeech. Each imports only from rows below its own, and from itself."""
HOMES = {
    "tensorflow": {"models", "training", "evaluation"},
    "tf_keras": {"models", "training", "evaluation"},
    "pyspark": {"clusters", "engines", "backends", "feeds"},
    "ray": {"clusters", "engines", "backends", "feeds"},
    "raydp": {"clusters", "engines", "backends", "feeds"},
    "tf2onnx": {"models"},
    "onnxruntime": {"models"},
    "tflite_micro": {"models"},
    "tensorflowonspark": {"backends", "feeds"},
    "librosa": {"features", "evaluation"},
    "numba": {"features"},
    "matplotlib": {"evaluation"},
    "soundfile": {"audio"},
    "av": {"audio"},
    "fsspec": {"storage"},
}
"""Heavy packages, and which packages of ours import them; `patches` imports what it patches."""
PRIVATE = {"_jvm", "_gateway", "_jsc", "_active_spark_context", "_random_generator", "_momentums", "_temp_dir"}
"""Private names of pyspark, Keras and Ray that only `patches` uses."""
LIGHT = ("tensorflow", "tf_keras", "pyspark", "ray", "raydp", "librosa", "numba", "soundfile", "matplotlib", "scipy")


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a module imports, anywhere in it; imports for type checkers only are left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imports(node)


def all_imports() -> Iterator[tuple[str, str]]:
    """Yield (module of hybridspeech, imported name), without the prefix ``hybridspeech.`` of the module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")
        for name in imports(ast.parse(path.read_text(encoding="utf-8"))):
            yield module, name


IMPORTS = list(all_imports())
CROSSING = [
    (module, name.removeprefix("hybridspeech."))
    for module, name in IMPORTS
    if name.startswith("hybridspeech.") and name.split(".")[1] != module.split(".")[0] and "__version__" not in name
]
"""Imports from one package of hybridspeech to another."""


def row(module: str) -> int:
    top = module.split(".")[0]
    found = [number for number, names in enumerate(ROWS) if top in names]
    assert found, f"hybridspeech.{module} stands in no row; add it to ROWS and to the design document"
    return found[0]


def test_a_module_imports_only_from_rows_below_it() -> None:
    assert [(module, name) for module, name in CROSSING if row(name) <= row(module)] == []


def test_only_public_names_cross_packages() -> None:
    assert [(module, name) for module, name in CROSSING if any(part.startswith("_") for part in name.split("."))] == []


def test_a_heavy_package_is_imported_in_its_homes_only() -> None:
    def is_at_home(module: str, name: str) -> bool:
        package = module.split(".")[0]
        return package in HOMES.get(name.split(".")[0], {package}) | {"patches"}

    assert [(module, name) for module, name in IMPORTS if not is_at_home(module, name)] == []


def test_the_package_does_not_import_the_benchmarks() -> None:
    assert [(module, name) for module, name in IMPORTS if name.split(".")[0] in ("benchmarks", "tests")] == []


def test_help_loads_nothing_heavy() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "hybridspeech", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in loaded
    assert not loaded & set(LIGHT)


def test_preprocessing_workers_do_not_load_tensorflow() -> None:
    code = "import sys, hybridspeech.commands.preprocess; sys.exit('tensorflow' in sys.modules or 'tf_keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
