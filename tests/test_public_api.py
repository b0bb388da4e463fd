"""`import hybridspeech as hs`: public names, and that they are loaded on first use."""

from __future__ import annotations

import ast
import hashlib
import inspect
import pydoc
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hybridspeech as hs

VERBS = [
    "preprocess",
    "train",
    "run",
    "evaluate",
    "predict",
    "listen",
    "export",
    "inspect",
    "synthesize",
    "download",
    "demo",
]
HEAVY = [
    "tensorflow",
    "tf_keras",
    "pyspark",
    "ray",
    "raydp",
    "librosa",
    "numba",
    "scipy",
    "soundfile",
    "matplotlib",
    "pyarrow",
]


def run_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


def test_a_verb_is_a_function_on_every_access() -> None:
    code = "import hybridspeech as hs\n" + "".join(
        f"first = hs.{verb}; import hybridspeech.commands.{verb}; "
        f"print(first is hs.{verb}, type(first).__name__, first.__name__)\n"
        for verb in VERBS
    )
    assert run_python(code).splitlines() == [f"True function {verb}" for verb in VERBS]


def test_import_loads_nothing_and_a_verb_nothing_heavy() -> None:
    code = "import sys, hybridspeech as hs; print([name for name in sys.modules if name.startswith('hybridspeech.')])"
    assert run_python(code) == "[]"
    code = (
        f"import sys, hybridspeech as hs; hs.preprocess; hs.preprocess; print(sorted(set({HEAVY}) & set(sys.modules)))"
    )
    assert run_python(code) == "[]"


def test_dir_shows_the_public_names_only() -> None:
    assert dir(hs) == sorted([*hs.__all__, "__version__"])
    assert set(VERBS) < set(hs.__all__)


def test_every_public_name_can_be_imported() -> None:
    assert {name for name in hs.__all__ if getattr(hs, name).__name__ != name} == set()


def test_every_exception_is_public() -> None:
    from hybridspeech import errors

    raised = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert {name for name in hs.__all__ if name.endswith("Error")} == raised


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(hs.__file__).read_text(encoding="utf-8"))
    imported = {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert imported == set(hs.__all__)
    assert "__getattr__" not in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]  # it hides typos


def test_help_describes_every_public_name() -> None:
    text = pydoc.render_doc(hs, renderer=pydoc.plaintext)
    assert all(f"\n    {verb}(" in text for verb in VERBS)
    assert "_HOMES" not in text


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'describe'"):
        hs.describe  # noqa: B018


def test_every_public_name_has_a_docstring() -> None:
    assert [name for name in hs.__all__ if not inspect.getdoc(getattr(hs, name))] == []


@pytest.mark.slow
def test_every_verb_works(tones: Path, tmp_path: Path) -> None:
    features = hs.FeatureConfig(kind="stft", n_fft=256, hop_length=256)
    made = hs.preprocess(tones, tmp_path / "shards", features=features, engine="local")
    assert hs.inspect(made.out, verify=True).problems == ()
    fit = hs.FitConfig(epochs=1, batch_size=16)
    trained = hs.train(made.out, tmp_path / "run", fit=fit, backend="local")
    assert 0 <= hs.evaluate(trained.run_dir, made.out).accuracy <= 1
    (prediction,) = hs.predict(trained.run_dir, [tones / "low" / "00000001_nohash_0.wav"], top_k=1)
    assert prediction.label in ("high", "low", "middle")
    assert hs.export(trained.run_dir, tmp_path / "model").labels == ("high", "low", "middle")


def test_synthesize_and_download_work(tones: Path, tmp_path: Path) -> None:
    spoken = hs.synthesize(tmp_path / "spoken", words=["yes", "no"], clips_per_word=2, num_workers=1)
    assert spoken.num_clips == 4
    archive = Path(shutil.make_archive(str(tmp_path / "tones"), "gztar", tones))
    fetched = hs.download(
        "speech-commands-v0.01",
        tmp_path / "fetched",
        url=archive.as_uri(),
        sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
    )
    assert fetched.num_clips == 120


@pytest.mark.slow
def test_demo_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hybridspeech.commands.demo.EPOCHS", 1)
    monkeypatch.setattr("hybridspeech.commands.demo.CLIPS_PER_WORD", 10)
    shown: list[str] = []
    result = hs.demo(tmp_path / "demo", backend="local", on_progress=lambda progress: shown.append(progress.stage))
    assert Path(result.out, "savedmodel", "saved_model.pb").is_file()
    assert shown


@pytest.mark.cluster
@pytest.mark.soak  # the function is that of tests/commands/test_run.py
def test_run_works(tones: Path, tmp_path: Path) -> None:
    result = hs.run(
        tones,
        tmp_path / "run",
        features=hs.FeatureConfig(kind="stft", n_fft=256, hop_length=256),
        fit=hs.FitConfig(epochs=1, batch_size=16),
        backend="tfos",
    )
    assert result.num_clips > 0
