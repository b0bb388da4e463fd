"""AutoGraph leaves no bytecode behind, and what the patch assumes about TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.upstream import source_of

from hybridspeech.processes.environment import python_path

CODE = """
from hybridspeech.models.build import import_tensorflow
import_tensorflow()
import tensorflow as tf
@tf.function
def double(x):
    return 2 * x
assert int(double(tf.constant(2))) == 4
import sys
assert not sys.dont_write_bytecode
"""


def test_autograph_loads_its_modules_with_one_function() -> None:
    source = source_of("tensorflow.python.autograph.pyct.loader")
    assert "module, _ = load_source(source, delete_on_exit)" in source
    assert "def load_source(source, delete_on_exit):" in source
    assert "atexit.register(lambda: _remove_file(file_name))" in source


@pytest.mark.slow
def test_a_converted_function_leaves_no_file(tmp_path: Path) -> None:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    variables = {**inherited, "TMPDIR": str(tmp_path), "PYTHONPATH": python_path()}
    (tmp_path / "script.py").write_text(CODE, encoding="utf-8")  # AutoGraph needs the source of a function
    subprocess.run([sys.executable, tmp_path / "script.py"], check=True, env=variables, timeout=120)
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]
