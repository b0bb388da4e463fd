"""Files of weights that are refused before Keras reads them, and weights that are not finite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from hybridspeech.config import FeatureConfig
from hybridspeech.errors import RunError
from hybridspeech.models.config import ModelConfig
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.trained_model import load_model
from hybridspeech.training.weights_file import check_weights_file

FEATURES = FeatureConfig(kind="logmel", n_mels=17, hop_length=400)
CONFIG = ModelConfig(name="cnn", input_shape=FEATURES.shape, num_labels=3, dropout=0.2, width=0.25)
NUM_VALUES = 100


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.weights.h5"


def external_link(file: h5py.File, path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["x"] = np.ones(3)
    file["x"] = h5py.ExternalLink("other.h5", "/x")


def soft_link(file: h5py.File, path: Path) -> None:
    file["x"] = h5py.SoftLink("/x")


def link_loop(file: h5py.File, path: Path) -> None:
    group = file.create_group("a/b")
    group["back"] = file["/a"]


def linked_twice(file: h5py.File, path: Path) -> None:
    file["x"] = np.ones(3)
    file["y"] = file["x"]


def external_storage(file: h5py.File, path: Path) -> None:
    path.with_name("secret").write_bytes(bytes(24))
    file.create_dataset("x", (3,), "f8", external=[(str(path.with_name("secret")), 0, 24)])


def virtual(file: h5py.File, path: Path) -> None:
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3,))
    file.create_virtual_dataset("x", layout)


def huge(file: h5py.File, path: Path) -> None:
    file.create_dataset("x", (1 << 40,), "f4", chunks=(1024,))


def huge_contiguous(file: h5py.File, path: Path) -> None:
    file.create_dataset("x", (1 << 40,), "f4")


def compressed(file: h5py.File, path: Path) -> None:
    file.create_dataset("x", (50,), "f4", compression="gzip")


def strings(file: h5py.File, path: Path) -> None:
    file["x"] = ["a", "b"]


def named_type(file: h5py.File, path: Path) -> None:
    file["x"] = np.dtype("f4")


REFUSED = {
    external_link: "'/x' is a link to another place or file",
    soft_link: "'/x' is a link to another place or file",
    link_loop: "'/a/b/back' is linked twice",
    linked_twice: "is linked twice",
    external_storage: "'/x' is chunked, compressed, virtual or in another file",
    virtual: "'/x' is chunked, compressed, virtual or in another file",
    huge: "'/x' is chunked, compressed, virtual or in another file",
    huge_contiguous: "has 1099511627776 values; expected at most 1300",
    compressed: "'/x' is chunked, compressed, virtual or in another file",
    strings: "'/x' has type object; expected numbers",
    named_type: "'/x' is neither a group nor an array",
}


@pytest.mark.parametrize("write", REFUSED, ids=lambda write: write.__name__)
def test_weights_other_than_plain_arrays_are_refused(write: Callable[[h5py.File, Path], None], path: Path) -> None:
    with h5py.File(path, "w") as file:
        write(file, path)
    with pytest.raises(RunError, match=REFUSED[write]):
        check_weights_file(path, NUM_VALUES, num_arrays=2)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 32)
    with pytest.raises(RunError, match=r"has 4294967296 bytes; expected at most"):
        check_weights_file(path, NUM_VALUES, num_arrays=2)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n" + bytes(40), b"{}"])
def test_a_file_that_is_not_hdf5_is_one_sentence(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(RunError, match="can not be read as weights"):
        check_weights_file(path, NUM_VALUES, num_arrays=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDirectory, TrainPlan]:
    """Make an untrained run."""
    from support.trained_runs import save_run

    from hybridspeech.models.build import build_model

    run = RunDirectory(tmp_path_factory.mktemp("run") / "run")
    plan = TrainPlan(shards="", run=str(run.path), labels=("a", "b", "c"), features=FEATURES, model=CONFIG)
    save_run(run, plan, build_model(CONFIG))
    return run, plan


def test_weights_of_a_finished_training_are_loaded(run: tuple[RunDirectory, TrainPlan]) -> None:
    assert load_model(*run).count_params() > 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(run: tuple[RunDirectory, TrainPlan], value: float) -> None:
    directory, plan = run
    saved = directory.weights_path.read_bytes()
    with h5py.File(directory.weights_path, "r+") as file:
        arrays: list[h5py.Dataset] = []
        file.visititems(lambda name, item: arrays.append(item) if isinstance(item, h5py.Dataset) else None)
        arrays[0][...] = value
    try:
        with pytest.raises(RunError, match="has weights that are not finite"):
            load_model(directory, plan)
    finally:
        directory.weights_path.write_bytes(saved)
