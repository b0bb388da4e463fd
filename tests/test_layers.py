"""Where an import may stand: the layers of docs/design.md, and the one home of each heavy package."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "hybridspeech"
ROWS = [
    {"__main__"},
    {"cli"},
    {"commands"},
    {"feeds"},
    {"engines", "backends"},
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
    {"errors", ""},
]
"""The packages and modules of hybridspeech. Each imports only from rows below its own, and from itself."""
HOMES = {
    "tensorflow": {"models", "training", "evaluation"},
    "tf_keras": {"models", "training", "evaluation"},
    "pyspark": {"clusters", "engines", "backends", "feeds"},
    "ray": {"clusters", "engines", "backends", "feeds"},
    "raydp": {"clusters", "engines", "backends", "feeds"},
    "tensorflowonspark": {"backends", "feeds"},
    "librosa": {"features", "evaluation"},
    "numba": {"features"},
    "matplotlib": {"evaluation"},
    "soundfile": {"audio"},
    "fsspec": {"storage"},
}
"""Heavy packages, and which packages of ours import them; `patches` imports what it patches."""
PENDING = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__", "config", "errors", "registry"}
"""Flat modules that still have to move into a package."""
LIGHT = ("tensorflow", "tf_keras", "pyspark", "ray", "raydp", "librosa", "numba", "soundfile", "matplotlib", "scipy")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.AST) -> Iterator[str]:
    """Names that a module imports, anywhere in it; what only a type checker imports is left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imports(node)


def row(module: str) -> int:
    top = module.split(".")[0]
    found = [i for i, names in enumerate(ROWS) if top in names]
    assert found, f"hybridspeech.{module} stands in no row; add it to ROWS and to docs/design.md"
    return found[0]


@pytest.mark.parametrize(("module", "tree"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_a_module_imports_only_from_rows_below_it(module: str, tree: ast.Module) -> None:
    if module in PENDING:
        return
    for name in imports(tree):
        if not name.startswith("hybridspeech."):
            continue
        imported = name.removeprefix("hybridspeech.")
        top = imported.split(".")[0]
        if top not in PENDING and top != module.split(".")[0] and imported != "__version__":
            assert row(imported) > row(module), f"{module} imports {imported}, which does not stand below it"


@pytest.mark.parametrize(("module", "tree"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_a_heavy_package_is_imported_in_its_homes_only(module: str, tree: ast.Module) -> None:
    package = module.split(".")[0]
    for name in imports(tree):
        homes = HOMES.get(name.split(".")[0], {package}) | {"patches"} | PENDING
        assert package in homes, f"{module} imports {name}; the homes of that package are {sorted(homes)}"


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
    code = "import sys, hybridspeech.commands.preprocess; sys.exit('tensorflow' in sys.modules or 'tf_keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
