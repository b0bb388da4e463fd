"""The HTML reports: their content, no access to the network, and escaped names."""

from __future__ import annotations

import base64
import io
import re
import shutil
import wave
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from support.trained_runs import SMALL, random_run, sound_shards
from typer.testing import CliRunner

import hybridspeech as hs
from hybridspeech.cli import app
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.reader import read_shard

HOSTILE = "<script>alert(1)</script>"
LOGMEL = FeatureConfig(kind="logmel")
EMPTY = ("meta", "img", "br")


class Page(HTMLParser):
    """Return elements and text of a page; fail on an element that is not closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(self.source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def sources(self, tag: str) -> list[str]:
        return [attributes.get("src") or "" for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, tones: Path) -> Path:
    return sound_shards(tmp_path_factory.getbasetemp(), tones)


@pytest.fixture(scope="module")
def hostile_shards(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shards with a label that is HTML."""
    folder = tmp_path_factory.mktemp("hostile") / "shards"
    shutil.copytree(shards, folder)
    index = ShardIndex.load(folder)
    replace(index, labels=(HOSTILE, *index.labels[1:])).save(folder)
    return folder


@pytest.fixture(scope="module")
def report(hostile_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report of a network that is wrong for most clips."""
    base = tmp_path_factory.mktemp("report")
    run = random_run(base / "run", LOGMEL, ShardIndex.load(hostile_shards).labels)
    hs.evaluate(run, hostile_shards, split="training", report=base / "new" / "report.html")
    return Page(base / "new" / "report.html")


def test_the_page_has_accuracy_tables_and_mistakes(report: Page) -> None:
    for title in ("Confusion matrix", "Labels", "Speakers", "Calibration", "Worst mistakes", "Settings"):
        assert title in report.text
    assert re.search(r"\d+\.\d %95 % interval \d+\.\d to \d+\.\d %", report.text)
    assert len(report.sources("audio")) == len(report.sources("img")) == 20


def test_the_page_loads_no_resource_and_runs_no_script(report: Page) -> None:
    assert {name for name, _ in report.elements} & {"script", "link", "iframe", "object"} == set()
    assert all(source.startswith("data:") for tag in ("img", "audio") for source in report.sources(tag))
    assert "url(" not in report.source
    assert "//" not in re.sub(r"data:[^\"]*", "", report.source)
    (policy,) = [attributes["content"] for _, attributes in report.elements if "http-equiv" in attributes]
    assert str(policy).startswith("default-src 'none';")
    assert "script-src" not in str(policy)


def test_names_are_escaped(report: Page) -> None:
    assert HOSTILE not in report.source
    assert HOSTILE in report.text


def test_a_player_has_the_samples_of_the_shard(report: Page, hostile_shards: Path) -> None:
    content = base64.b64decode(report.sources("audio")[0].split(",", 1)[1])
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        samples = np.frombuffer(file.readframes(16_000), "<i2")
    index = ShardIndex.load(hostile_shards)
    stored = [
        example.values for shard in index.of_split("training") for example in read_shard(hostile_shards / shard.name)
    ]
    assert any(np.array_equal(samples, values) for values in stored)


@pytest.fixture(scope="module")
def spectrograms(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spectrograms") / "shards"
    hs.preprocess(tones, folder, features=SMALL, engine="local")
    return folder


def test_spectrogram_shards_have_players_with_the_source_only(spectrograms: Path, tones: Path, tmp_path: Path) -> None:
    hs.inspect(spectrograms, report=tmp_path / "without.html")
    without = Page(tmp_path / "without.html")
    assert without.sources("audio") == []
    assert "No audio: the shards hold spectrograms; give the folder of the audio files" in without.text
    hs.inspect(spectrograms, report=tmp_path / "with.html", audio=tones)
    assert len(Page(tmp_path / "with.html").sources("audio")) == 3
    hs.inspect(spectrograms, report=tmp_path / "gone.html", audio=tmp_path)
    assert "No audio: missing" in Page(tmp_path / "gone.html").text


def test_the_report_of_shards_has_counts_and_a_clip_of_each_label(shards: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["inspect", str(shards), "--report", str(tmp_path / "shards.html")])
    assert done.exit_code == 0
    page = Page(tmp_path / "shards.html")
    assert ShardIndex.load(shards).digest in page.text
    assert len(page.sources("audio")) == len(page.sources("img")) == 3


def test_problems_of_the_verification_are_on_the_page(shards: Path, tmp_path: Path) -> None:
    shutil.copytree(shards, tmp_path / "shards")
    damaged = next((tmp_path / "shards").glob("testing-*"))
    damaged.write_bytes(b"damaged" + damaged.read_bytes())
    hs.inspect(tmp_path / "shards", verify=True, report=tmp_path / "shards.html")
    text = Page(tmp_path / "shards.html").text
    assert re.search(rf"Verification: \S*{damaged.name}", text)
    assert "First clip of each label" in text


def test_a_report_that_can_not_be_written_is_refused(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="can't be written"):
        hs.inspect(shards, report=tmp_path / "file" / "report.html")
