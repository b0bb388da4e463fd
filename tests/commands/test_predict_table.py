"""`predict_table` and `predict_udf`: the predictions of `predict` for any number of files, on every engine."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas
import pyarrow.parquet
import pytest
from support.trained_runs import tone_run

import hybridspeech as hs
from hybridspeech.commands.predict_udf import PredictColumn
from hybridspeech.engines import Engine
from hybridspeech.engines.spark import SparkEngine
from hybridspeech.errors import ConfigError, EngineError, OutputExistsError, RunError
from hybridspeech.evaluation import parquet_parts, prediction_parts
from hybridspeech.evaluation.file_predictions import check_finished
from hybridspeech.storage.copies import upload_files
from hybridspeech.storage.objects import list_files, read_bytes


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tones: Path) -> Path:
    return tone_run(tmp_path_factory.getbasetemp(), tones)


@pytest.fixture(scope="module")
def source(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tones, and a file that is no audio."""
    folder = tmp_path_factory.mktemp("source") / "words"
    shutil.copytree(tones, folder)
    (folder / "low" / "broken.wav").write_bytes(b"no audio")
    return folder


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_parts, "FILES_PER_PART", 50)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return list(pyarrow.parquet.read_table(path).to_pylist())


def labels_of(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(row["clip_id"], row["label"]) for row in rows]


@pytest.mark.slow
@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(
    "engine",
    ["local", "local-processes", *(pytest.param(name, marks=pytest.mark.cluster) for name in ("spark-local", "raydp"))],
    indirect=True,
)
def test_every_engine_writes_the_rows_of_predict(run: Path, source: Path, tmp_path: Path, engine: Engine) -> None:
    result = hs.predict_table(run, [source], tmp_path / "out.parquet", engine=engine)
    assert (result.num_files, result.num_unusable, result.num_computed) == (121, 1, 121)
    rows = rows_of(tmp_path / "out.parquet")
    expected = {prediction.path: prediction for prediction in hs.predict(run, [source])}
    assert [row["clip_id"] for row in rows] == sorted(path.removeprefix(f"{source}/") for path in expected)
    for row in rows:
        prediction = expected[row["path"]]
        assert (row["label"], row["error"]) == (prediction.label, prediction.error)
        assert [item["probability"] for item in row["top"]] == pytest.approx(
            [candidate.probability for candidate in prediction.top], abs=1e-5
        )
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


@pytest.mark.usefixtures("small_parts")
def test_an_interrupted_table_is_resumed(
    run: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole.parquet", tmp_path / "out.parquet"
    hs.predict_table(run, [source], whole)
    write_bytes = parquet_parts.write_bytes

    def fail_at_the_second(location: str, content: bytes) -> None:
        if "part-00001" in location:
            raise OSError("the disk is gone")
        write_bytes(location, content)

    monkeypatch.setattr(parquet_parts, "write_bytes", fail_at_the_second)
    with pytest.raises(EngineError, match="the disk is gone"):
        hs.predict_table(run, [source], out)
    monkeypatch.setattr(parquet_parts, "write_bytes", write_bytes)
    with pytest.raises(OutputExistsError, match="--resume continues it"):
        hs.predict_table(run, [source], out)
    with pytest.raises(ConfigError, match="made from another run, other files or another number of labels"):
        hs.predict_table(run, [source], out, top_k=1, resume=True)
    assert hs.predict_table(run, [source], out, resume=True).num_computed == 71
    assert out.read_bytes() == whole.read_bytes()
    assert hs.predict_table(run, [source], out, resume=True).num_computed == 0


def test_an_existing_table_is_replaced_on_request_only(run: Path, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    out.write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="exists already"):
        hs.predict_table(run, [source / "low"], out)
    with pytest.raises(ConfigError, match="start again with --overwrite"):
        hs.predict_table(run, [source / "low"], out, resume=True)
    assert hs.predict_table(run, [source / "low"], out, overwrite=True).num_files == 41


def test_run_files_and_table_may_be_on_a_store(run: Path, source: Path, tmp_path: Path) -> None:
    store = f"memory://test/{tmp_path.name}"
    upload_files(run, [stat.name for stat in list_files(str(run))], f"{store}/run")
    upload_files(source, [stat.name for stat in list_files(str(source))], f"{store}/words")
    hs.predict_table(f"{store}/run", [f"{store}/words"], f"{store}/out.parquet")
    hs.predict_table(run, [source], tmp_path / "out.parquet")
    (tmp_path / "copy.parquet").write_bytes(read_bytes(f"{store}/out.parquet"))
    assert labels_of(rows_of(tmp_path / "copy.parquet")) == labels_of(rows_of(tmp_path / "out.parquet"))
    assert [stat.name for stat in list_files(store) if "parts" in stat.name] == []


def test_the_column_of_a_udf_has_a_row_for_each_value(run: Path, source: Path) -> None:
    good, broken = source / "low" / "00000001_nohash_0.wav", source / "low" / "broken.wav"
    column = PredictColumn(run=str(run), key=check_finished(run), top_k=1, model=None)
    contents = pandas.Series([good.read_bytes(), broken.read_bytes(), None])
    paths = pandas.Series([str(broken), str(good)])
    first, second = column(iter([contents, paths]))
    assert first["label"].tolist() == ["low", None, None]
    assert second["label"].tolist() == [None, "low"]
    assert [text.partition(":")[0] for text in first["error"][1:]] == ["not-audio", "missing"]
    assert second["top"][1] == [{"label": "low", "probability": second["probability"][1]}]


def test_a_udf_is_made_without_a_session_and_its_run_is_checked_at_once(run: Path, tmp_path: Path) -> None:
    assert callable(hs.predict_udf(run))
    with pytest.raises(RunError, match="no such folder"):
        hs.predict_udf(tmp_path / "nothing")


@pytest.mark.cluster
@pytest.mark.parametrize("engine", ["spark-local"], indirect=True)
def test_a_pandas_udf_predicts_contents_and_paths(run: Path, source: Path, engine: Engine) -> None:
    from pyspark.sql import SparkSession

    assert isinstance(engine, SparkEngine)
    spark = SparkSession.builder.getOrCreate()
    expected = {prediction.path: prediction for prediction in hs.predict(run, [source / "low"])}
    rows = [(path, bytearray(Path(path).read_bytes())) for path in expected]
    table = spark.createDataFrame([*rows, ("/nowhere.wav", None)], "path string, content binary").repartition(2)
    predicted = hs.predict_udf(run, top_k=2)
    found = table.select("path", predicted("content").alias("by_content"), predicted("path").alias("by_path")).collect()
    assert len(found) == 42
    for row in found:
        prediction = expected.get(row["path"])
        label = prediction.label if prediction else None
        assert (row["by_content"]["label"], row["by_path"]["label"]) == (label, label)
        assert (row["by_content"]["error"] is None) == (label is not None)
        assert len(row["by_path"]["top"]) == (2 if label else 0)
    lost = next(row for row in found if row["path"] == "/nowhere.wav")
    assert lost["by_content"]["error"].startswith("missing: the value is null")
    assert lost["by_path"]["error"] == "missing: /nowhere.wav: no such file"
