"""`listen_table`: the events of `listen`, on every engine and for any division of the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import soundfile
from support.trained_runs import tone_run

import hybridspeech as hs
from hybridspeech.detection import event_parts
from hybridspeech.detection.event_parts import Segment, plan_event_parts
from hybridspeech.detection.listener import WindowPlan
from hybridspeech.engines import Engine
from hybridspeech.errors import ConfigError, OutputExistsError
from hybridspeech.evaluation.audio_files import AudioFile

THRESHOLDS = hs.Thresholds(default=0.5)
SHORT_S = 7.0
"""Segments of two batches of windows."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tones: Path) -> Path:
    return tone_run(tmp_path_factory.getbasetemp(), tones)


@pytest.fixture(scope="module")
def source(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of several formats and rates, one of them damaged at its end, one no audio."""
    folder = tmp_path_factory.mktemp("recordings")
    words = [
        soundfile.read(tones / word / "00000001_nohash_0.wav", dtype="float32")[0] for word in ("low", "high", "middle")
    ]
    sound = np.concatenate([words[k] for k in (0, 1, 1, 2, 0, 0, 2, 1, 0, 1, 2, 2, 1, 0, 1, 0, 2)])
    soundfile.write(folder / "long.wav", sound, 16_000, subtype="PCM_16")
    soundfile.write(folder / "long.flac", np.repeat(sound[:, np.newaxis], 2, axis=1), 22_050)
    soundfile.write(folder / "long.mp3", sound, 44_100)
    soundfile.write(folder / "short.ogg", sound[:12_000], 16_000)
    (folder / "broken.wav").write_bytes(b"no audio")
    whole = (folder / "long.flac").read_bytes()
    (folder / "cut.flac").write_bytes(whole[: len(whole) * 3 // 4])
    return folder


@pytest.fixture
def divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_parts, "SHORT_BYTES", 0)


@pytest.fixture(scope="module")
def expected(run: Path, source: Path) -> list[tuple[Any, ...]]:
    return [row_of(event) for event in hs.listen(run, source, thresholds=THRESHOLDS)]


def row_of(event: hs.Event) -> tuple[Any, ...]:
    if event.error is not None:
        return event.file, event.error
    return event.file, event.start_s, event.end_s, event.label


def rows_of(path: Path) -> list[tuple[Any, ...]]:
    rows = pyarrow.parquet.read_table(path).to_pylist()
    return [(r["path"], r["error"]) if r["error"] else (r["path"], r["start_s"], r["end_s"], r["label"]) for r in rows]


@pytest.mark.usefixtures("divided")
@pytest.mark.parametrize(
    "engine",
    ["local", *(pytest.param(name, marks=pytest.mark.cluster) for name in ("spark-local", "raydp"))],
    indirect=True,
)
def test_every_engine_writes_the_events_of_listen(
    run: Path, source: Path, expected: list[tuple[Any, ...]], tmp_path: Path, engine: Engine
) -> None:
    result = hs.listen_table(
        run, source, tmp_path / "out.parquet", thresholds=THRESHOLDS, segment_s=SHORT_S, engine=engine
    )
    assert rows_of(tmp_path / "out.parquet") == expected
    assert (result.num_files, result.num_unusable) == (6, 2)
    assert result.num_events == len(expected) - 2 > 20
    assert result.num_segments > result.num_files
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


@pytest.mark.usefixtures("divided")
@pytest.mark.parametrize("segment_s", [1.0, 10.0, 1e6])
def test_any_division_gives_the_same_events(
    run: Path, source: Path, expected: list[tuple[Any, ...]], tmp_path: Path, segment_s: float
) -> None:
    hs.listen_table(run, source, tmp_path / "out.parquet", thresholds=THRESHOLDS, segment_s=segment_s)
    assert rows_of(tmp_path / "out.parquet") == expected


def test_a_table_is_replaced_or_resumed_on_request_only(run: Path, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    files = [source / "short.ogg"]
    hs.listen_table(run, files, out, thresholds=THRESHOLDS)
    with pytest.raises(OutputExistsError, match="exists already"):
        hs.listen_table(run, files, out, thresholds=THRESHOLDS)
    assert hs.listen_table(run, files, out, thresholds=THRESHOLDS, resume=True).num_computed == 0
    with pytest.raises(ConfigError, match="was made from another run, other files or other settings"):
        hs.listen_table(run, files, out, thresholds=hs.Thresholds(default=0.6), resume=True)
    assert hs.listen_table(run, files, out, overwrite=True).num_computed == 1
    with pytest.raises(ConfigError, match="can not be written to a table"):
        hs.listen_table(run, "-", tmp_path / "other.parquet")


@pytest.mark.usefixtures("divided")
def test_parts_hold_about_the_same_duration(tmp_path: Path) -> None:
    plan = WindowPlan(length=16_000, hop=1_600, sample_rate_hz=16_000)
    for name, seconds in {"a.wav": 20, "b.wav": 1, "c.wav": 1}.items():
        soundfile.write(tmp_path / name, np.zeros(16_000 * seconds), 16_000)
    a, b, c = (AudioFile(name, str(tmp_path / name)) for name in ("a.wav", "b.wav", "c.wav"))
    parts = plan_event_parts([c, a, b], plan, segment_s=10.0)
    assert [part.segments for part in parts] == [
        (Segment(a, 0, 96),),
        (Segment(a, 96, 96),),
        (Segment(a, 192, None),),
        (Segment(b), Segment(c)),
    ]
