"""Source code of installed packages, read without importing their modules."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path


def source_of(module: str, name: str = "") -> str:
    """Return the source of a function, method ("Class.method"), class or module (without a name), by `ast.unparse`.

    A docstring is left out, so that only code counts.
    """
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None, f"{module} is not installed"
    node: ast.AST = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for part in filter(None, name.split(".")):
        found = [each for each in ast.iter_child_nodes(node) if getattr(each, "name", None) == part]
        assert found, f"{module} has no {name}"
        node = found[-1]
    body = getattr(node, "body", [])
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        del body[0]
    return ast.unparse(node)
