"""The programs of docs/how-to/deploy.md run where hybridspeech cannot be imported."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.trained_runs import tone_run

from hybridspeech.commands.export import export
from hybridspeech.commands.predict import predict

pytestmark = pytest.mark.slow  # processes that import TensorFlow

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "deploy.md"
PROGRAMS = dict(re.findall(r'```python title="([^"]+)"\n(.*?)```', PAGE.read_text(encoding="utf-8"), re.DOTALL))
BLOCKED = {
    "use_savedmodel.py": ("hybridspeech", "tf_keras", "keras"),
    "use_keras.py": ("hybridspeech",),
    "use_tflite.py": ("hybridspeech", "tf_keras", "keras"),
    "use_onnx.py": ("hybridspeech", "tensorflow", "tf_keras", "tf2onnx"),
}
"""Packages that each program must work without."""
RUN = """
import runpy, sys
script, path, *blocked = sys.argv[1:]
sys.modules.update(dict.fromkeys(blocked))
sys.path.insert(0, ".")
sys.argv = [script, path]
runpy.run_path(script, run_name="__main__")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tones: Path) -> Path:
    return tone_run(tmp_path_factory.getbasetemp(), tones)


@pytest.fixture(scope="module")
def folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of the page, and the exports that they read."""
    folder = tmp_path_factory.mktemp("deployment")
    for name, program in PROGRAMS.items():
        (folder / name).write_text(program, encoding="utf-8")
    export(run, folder / "model")
    export(run, folder / "model.keras", format="keras")
    export(run, folder / "model.tflite", format="tflite")
    if find_spec("tf2onnx") or os.environ.get("CI"):
        export(run, folder / "model.onnx", format="onnx")
    return folder


def test_every_program_of_the_page_is_run() -> None:
    assert PROGRAMS.keys() - BLOCKED.keys() == {"clip.py"}


@pytest.mark.parametrize("program", BLOCKED)
def test_program_predicts_as_the_run_without_this_package(program: str, run: Path, folder: Path, tones: Path) -> None:
    if program == "use_onnx.py" and not (folder / "model.onnx").exists():
        pytest.skip("the extra onnx is not installed; a CI run fails without it")
    clip = sorted(tones.glob("high/*.wav"))[0]
    command = [sys.executable, "-I", "-c", RUN, program, str(clip), *BLOCKED[program]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    label, probability = done.stdout.split()
    expected = next(iter(predict(run, [clip])))
    assert label == expected.label
    assert float(probability) == pytest.approx(expected.probability, abs=2e-3)
