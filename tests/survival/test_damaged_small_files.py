"""Small files that were damaged or edited: they load, or raise an error of ours with one line."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridspeech.commands.inspect import inspect
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import HybridspeechError
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.shards.config import ShardConfig

SMALL = FeatureConfig(kind="logmel", n_mels=16, hop_length=400)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from(
        [0, -1, 1.5, 1e308, float("nan"), float("inf"), 10**400, "", "a", "\ud800", "\0", "../x", "training"]
    ),
    st.text(max_size=5),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
RELAXED = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def ends_well(action: Callable[[], object]) -> None:
    """Check that the action succeeds, or raises an error of ours with one line."""
    try:
        action()
    except HybridspeechError as error:
        assert "\n" not in str(error)
        assert str(error)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Yield the paths of all values of a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def damaged(content: bytes, kind: str, seed: int) -> bytes:
    rng = random.Random(seed)
    at = rng.randrange(len(content))
    if kind == "truncated":
        return content[:at]
    if kind == "flipped":
        return content[:at] + bytes((content[at] ^ 1 << rng.randrange(8),)) + content[at + 1 :]
    if kind == "removed":
        return content[:at] + content[at + rng.randrange(1, 20) :]
    return content[:at] + rng.randbytes(rng.randrange(1, 20)) + content[at:]


KINDS = st.sampled_from(["truncated", "flipped", "removed", "inserted"])


@pytest.fixture(scope="module")
def shards(flawed_tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished shards with rejects."""
    out = tmp_path_factory.mktemp("damaged") / "shards"
    preprocess(flawed_tones, out, features=SMALL, shards=ShardConfig(num_shards=2), engine="local")
    return out


@pytest.fixture
def copy(shards: Path, tmp_path: Path) -> Path:
    shutil.copytree(shards, tmp_path / "shards")
    return tmp_path / "shards"


@RELAXED
@given(data=st.data())
def test_an_index_with_other_values_loads_or_is_one_sentence(copy: Path, shards: Path, data: st.DataObject) -> None:
    document = json.loads((shards / "index.json").read_text())
    path = data.draw(st.sampled_from(places(document)))
    (copy / "index.json").write_text(json.dumps(replaced(document, path, data.draw(VALUES))))
    ends_well(lambda: inspect(copy))


@RELAXED
@given(
    name=st.sampled_from(["index.json", "manifest.parquet", "rejects.jsonl"]), kind=KINDS, seed=st.integers(0, 2**32)
)
def test_damaged_files_beside_the_shards_load_or_are_one_sentence(
    copy: Path, shards: Path, name: str, kind: str, seed: int
) -> None:
    content = (shards / name).read_bytes()
    (copy / name).write_bytes(damaged(content, kind, seed))
    ends_well(lambda: inspect(copy))
    (copy / name).write_bytes(content)


@RELAXED
@given(line=VALUES, name=st.sampled_from(["", "clip_id", "reason"]))
def test_rejects_with_other_values_load_or_are_one_sentence(copy: Path, line: Any, name: str) -> None:
    row = {"clip_id": "low/a.wav", "split": "training", "reason": "empty", "detail": "", name: line} if name else line
    (copy / "rejects.jsonl").write_text(json.dumps(row) + "\n")
    ends_well(lambda: inspect(copy))


@pytest.mark.parametrize("column", ["clip_id", "label_name", "split"])
@pytest.mark.parametrize("values", [None, [None], [[1]], [{"a": 1}], [b"\xff"], [2.5]])
def test_a_manifest_with_other_columns_is_one_sentence(copy: Path, column: str, values: list[Any] | None) -> None:
    row = {"clip_id": ["a"], "label_name": ["no"], "split": ["training"], column: values}
    table = {name: items for name, items in row.items() if items is not None}
    pyarrow.parquet.write_table(pyarrow.table(table), copy / "manifest.parquet")
    ends_well(lambda: inspect(copy))


@RELAXED
@given(suffix=st.sampled_from([".csv", ".jsonl", ".parquet"]), kind=KINDS, seed=st.integers(0, 2**32))
def test_damaged_tables_load_or_are_one_sentence(tmp_path: Path, suffix: str, kind: str, seed: int) -> None:
    rows = [
        {"path": f"{i}.wav", "label": "no" if i % 2 else "\u00e9", "speaker": f"s{i}", "split": "train"}
        for i in range(5)
    ]
    path = tmp_path / f"clips{suffix}"
    for row in rows:
        (tmp_path / row["path"]).touch()
    if suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif suffix == ".csv":
        path.write_text("path,label,speaker,split\n" + "".join(",".join(row.values()) + "\n" for row in rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    path.write_bytes(damaged(path.read_bytes(), kind, seed))
    ends_well(lambda: read_manifest(path))


@RELAXED
@given(column=st.sampled_from(["path", "label", "speaker", "split"]), value=VALUES)
def test_json_tables_with_other_values_load_or_are_one_sentence(tmp_path: Path, column: str, value: Any) -> None:
    (tmp_path / "a.wav").touch()
    row = {"path": "a.wav", "label": "no", "speaker": "ann", "split": "train", column: value}
    (tmp_path / "clips.jsonl").write_text(json.dumps(row) + "\n")
    ends_well(lambda: read_manifest(tmp_path / "clips.jsonl"))
