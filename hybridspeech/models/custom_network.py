"""Networks of a user, named "module:function". Knows nothing of data, clusters and training.

The function has the signature ``build(config: hybridspeech.ModelConfig) -> tf_keras.Model``. It returns an uncompiled model
that takes float32 [shape=(batch, *config.input_shape, 1)] in dB and returns float32 [shape=(batch, config.num_labels)],
probabilities.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridspeech.errors import ConfigError
from hybridspeech.models.config import ModelConfig
from hybridspeech.processes.environment import python_path

if TYPE_CHECKING:
    import tf_keras

IMPORT_TIMEOUT_S = 120.0
"""For a module that must be imported to be checked; TensorFlow alone takes 4 to 10 s."""


def is_custom(name: str) -> bool:
    """Return whether `name` has the form "module:function"."""
    return ":" in name


def check_custom_network(name: str) -> None:
    """Check that the module is there, and that its function takes one argument; nothing is imported into this process.

    The source is parsed. If it does not define the function itself, a child process imports the module.

    Raises
    ------
    ConfigError: it is not so; or the module fails when it is imported.
    """
    module, _, function = name.partition(":")
    if not (function.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        raise ConfigError(f"model is {name!r}; expected module:function")
    path = _find_source(module)
    problem = _check_source(path, module, function) if path else None
    if problem is None:
        problem = _check_in_child(module, function)
    if problem:
        raise ConfigError(f"model {name!r}: {problem}")


def build_custom_network(config: ModelConfig) -> tf_keras.Model:
    """Import the module in this process and call its function.

    Raises
    ------
    ConfigError: as `check_custom_network`; or it returns no tf_keras model, or one with another input or output.
    """
    import tf_keras

    module, _, function = config.name.partition(":")
    problem = _check_imported(module, function)
    if problem:
        raise ConfigError(f"model {config.name!r}: {problem}")
    model = getattr(importlib.import_module(module), function)(config)
    if not isinstance(model, tf_keras.Model):
        kind = f"{type(model).__module__}.{type(model).__name__}"
        hint = ", which is Keras 3: import tf_keras instead of keras" if kind.startswith("keras.") else ""
        raise ConfigError(f"model {config.name!r} returned a {kind}{hint}; expected a tf_keras.Model (Keras 2)")
    expected = ((None, *config.input_shape, 1), (None, config.num_labels))
    if (given := (model.input_shape, model.output_shape)) != expected:
        raise ConfigError(
            f"model {config.name!r} takes {given[0]} and returns {given[1]}; expected {expected[0]} and {expected[1]}: "
            "build it from config.input_shape and config.num_labels"
        )
    return model


def _find_source(module: str) -> Path | None:
    """Return the source file of a module without importing it or its packages; None if it can not be determined.

    Raises
    ------
    ConfigError: there is no such module.
    """
    search: Any = None
    spec: ModuleSpec | None = None
    for depth in range(1, module.count(".") + 2):
        name = ".".join(module.split(".")[:depth])
        specs = (finder.find_spec(name, search) for finder in sys.meta_path if hasattr(finder, "find_spec"))
        spec = next((each for each in specs if each), None)
        if spec is None:
            raise ConfigError(
                f"model: there is no module {name!r}; expected module:function, with the module on PYTHONPATH of the driver "
                "and of every worker"
            )
        try:
            search = list(spec.submodule_search_locations or [])
        except KeyError:  # a namespace package inside a package that is not imported
            return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _check_source(path: Path, module: str, function: str) -> str | None:
    """Return what is wrong with a function; empty if nothing is, None if the source does not show it."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        return f"{path}: can not be read as Python: {error}"
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function]
    if not defined or defined[-1].decorator_list:
        return None
    arguments = defined[-1].args
    positional = [*arguments.posonlyargs, *arguments.args]
    num_required = len(positional) - len(arguments.defaults)
    takes_one = num_required <= 1 and (positional or arguments.vararg)
    if not takes_one or None in arguments.kw_defaults:
        return _wrong_signature(module, function, f"({ast.unparse(arguments)})")
    return ""


def _check_in_child(module: str, function: str) -> str:
    """Run `_check_imported` in a child process; return its answer."""
    code = (
        "import sys; from hybridspeech.models.custom_network import _check_imported; "
        "print('\\n' + 'answer:' + _check_imported(sys.argv[1], sys.argv[2]))"
    )
    environment = {**os.environ, "PYTHONPATH": python_path(), "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", code, module, function]
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return f"the import of module {module!r} took longer than {IMPORT_TIMEOUT_S:g} s"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return f"the import of module {module!r} fails: {last}"
    return done.stdout.rpartition("\nanswer:")[2].strip()


def _check_imported(module: str, function: str) -> str:
    """Import a module in this process; return what is wrong with its function, or an empty text."""
    build = getattr(importlib.import_module(module), function, None)
    if not callable(build):
        return f"module {module!r} has no function {function!r}"
    try:
        signature = inspect.signature(build)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(ModelConfig())
    except TypeError:
        return _wrong_signature(module, function, str(signature))
    return ""


def _wrong_signature(module: str, function: str, given: str) -> str:
    return f"{module}.{function}{given} can not be called with one argument; expected {function}(config)"
