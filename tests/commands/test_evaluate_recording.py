"""`evaluate --stream --recording`: known words of recordings, measured at the threshold of the run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.trained_runs import TONE_RECORDING_WORDS, tone_recording, tone_run
from typer.testing import CliRunner

import hybridspeech as hs
from hybridspeech.cli import app
from hybridspeech.detection.stream_metrics import GRID
from hybridspeech.detection.threshold_file import stored_in
from hybridspeech.errors import AudioError, ConfigError, ManifestError

QUICK = hs.DetectionConfig(smoothing_ms=200)
HALF = GRID.index(0.5)
ROWS = "".join(f"{start_s},{start_s + 1},{label},anna\n" for label, start_s in TONE_RECORDING_WORDS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tones: Path) -> Path:
    return tone_run(tmp_path_factory.getbasetemp(), tones)


@pytest.fixture(scope="module")
def sounds(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording of 8 s that has three words, and one of 4 s without any. Read only."""
    folder = tmp_path_factory.mktemp("recordings")
    sound = tone_recording(tones)
    soundfile.write(folder / "words.flac", sound, 16_000, subtype="PCM_16")
    (folder / "other").mkdir()
    soundfile.write(folder / "other" / "high.wav", np.tile(sound[:16_000], 4), 16_000, subtype="PCM_16")
    return folder


def table(folder: Path, text: str, name: str = "events.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def result(run: Path, sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> hs.StreamResult:
    folder = tmp_path_factory.mktemp("result")
    events = table(folder, "start_s,end_s,label,speaker\n" + ROWS)
    report = folder / "report.html"
    found = hs.evaluate_recording(
        run, sounds / "words.flac", events, detection=QUICK, out=folder / "out", report=report
    )
    assert "no words" in report.read_text(encoding="utf-8")  # the row of "high"
    return found


def test_known_words_are_found_and_all_other_events_are_counted(
    run: Path, sounds: Path, result: hs.StreamResult
) -> None:
    (condition,) = result.conditions
    low, middle = (next(each for each in condition.labels if each.label == label) for label in ("low", "middle"))
    assert (low.num_words, middle.num_words) == (2, 1)
    assert (low.miss_rates[HALF], middle.miss_rates[HALF]) == (0, 0)
    assert (low.false_accepts_per_hour[HALF], middle.false_accepts_per_hour[HALF]) == (0, 0)
    point = condition.curve[HALF]
    false_accepts = round(point.false_accepts_per_hour * condition.hours)
    confusions = round(point.confusions_per_hour * 8 / 3600)
    events = list(hs.listen(run, sounds / "words.flac", thresholds=hs.Thresholds(default=0.5), detection=QUICK))
    assert 0 < false_accepts == len(events) - len(TONE_RECORDING_WORDS) - confusions


def test_the_threshold_is_that_of_the_run_and_none_is_stored(run: Path, result: hs.StreamResult) -> None:
    (condition,) = result.conditions
    assert (result.threshold, result.target_fa_per_hour, condition.chosen.threshold) == (0.8, None, 0.8)
    assert condition.hours == pytest.approx((8 - 3 * 1.5) / 3600)  # 0.25 s before and after each word
    assert stored_in(run) is None
    assert any("the lowest rate that can be measured is 1,028.57 false accepts" in text for text in result.warnings)
    assert any("no threshold of its own" in text for text in result.warnings)
    assert json.loads(Path(result.metrics).read_text(encoding="utf-8"))["threshold"] == 0.8
    assert Path(result.det).read_bytes()[:4] == b"\x89PNG"


def test_recordings_of_a_folder_are_named_in_the_table(run: Path, sounds: Path, tmp_path: Path) -> None:
    rows = "".join(
        f"words.flac\t{start_s + 0.3}\t{start_s + 0.7}\t{label}\n" for label, start_s in TONE_RECORDING_WORDS
    )
    events = table(tmp_path, "file\tstart_s\tend_s\tlabel\n" + rows)
    found = hs.evaluate_recording(run, sounds, events, detection=QUICK, out=tmp_path / "out")
    (condition,) = found.conditions
    assert condition.curve[HALF].miss_rate == 0  # tight boundaries are matched as clips are
    assert condition.hours == pytest.approx((12 - 3 * 1.5) / 3600)
    assert (condition.num_other_clips, condition.num_speakers) == (2, 0)
    assert any("not all speakers are known" in text for text in found.warnings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start_s,end_s\n1,2\n", "no column 'label'"),
        ("start_s,label\n", "no words; expected at least one row"),
        ("start_s,label\n1,maybe\n", "line 2: 'maybe' is no word of the run; expected high, low, middle"),
        ("start_s,label\n1,low\n8.1,low\n", r"line 3: 'low' at 8\.1 to 8\.1 s is outside of .*, which lasts 8\.00 s"),
        ("start_s,end_s,label\n7.5,8.5,low\n", "is outside of"),
        ("start_s,end_s,label\n3,4,low\n1,3.5,low\n", r"'low' of line 2 \(from 3 s\) overlaps that of line 3"),
        ("start_s,end_s,label\n2,1,low\n", "end_s is 1; expected more than start_s, 2"),
        ("start_s,label\n-1,low\n", "start_s is '-1'; expected seconds"),
        ("start_s,label,file\n1,low,b.wav\n", "'b.wav' is none of the 1 recording; expected a name such as words.flac"),
        ("start_s,label\n1,low,2\n", "line 2 has another number of fields"),
    ],
)
def test_wrong_tables_are_refused_before_the_sound_is_read(
    run: Path, sounds: Path, tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ManifestError, match=message):
        hs.evaluate_recording(run, sounds / "words.flac", table(tmp_path, text))


def test_sound_that_tells_nothing_is_refused(run: Path, sounds: Path, tmp_path: Path) -> None:
    events = table(tmp_path, "start_s,end_s,label,note\n0,8,low,x\n")
    with pytest.raises(ConfigError, match="all sound is at a word"):
        hs.evaluate_recording(run, sounds / "words.flac", events)
    with pytest.raises(ManifestError, match=r"no column 'file' .*; there are 2 recordings, e\.g\. other/high\.wav"):
        hs.evaluate_recording(run, sounds, events)
    with pytest.raises(
        ConfigError, match=r"too short for 1 false accepts per hour; the lowest rate .* is 553\.85 per hour"
    ):
        hs.evaluate_recording(
            run, sounds / "words.flac", table(tmp_path, "start_s,label\n1,low\n"), target_fa_per_hour=1
        )
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    with pytest.raises(AudioError, match=r"not-audio: .*broken\.wav"):
        hs.evaluate_recording(run, tmp_path / "broken.wav", events)


def test_a_threshold_is_chosen_and_stored_on_request(run: Path, sounds: Path, tmp_path: Path) -> None:
    events = table(tmp_path, "start_s,end_s,label,speaker,note\n" + ROWS.replace("\n", ",x\n"))
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    found = hs.evaluate_recording(copy, sounds / "words.flac", events, target_fa_per_hour=100_000, detection=QUICK)
    assert (copy / "evaluation-recording" / "stream.json").is_file()
    stored = stored_in(copy)
    assert stored is not None
    assert (stored.thresholds.default, stored.detection) == (found.threshold, QUICK)
    assert found.conditions[0].chosen.threshold == found.threshold == GRID[0]
    assert any("columns that are not used: note" in text for text in found.warnings)
    assert any("chosen on the recordings that it is measured on" in text for text in found.warnings)


def test_the_command_prints_the_operating_points(run: Path, sounds: Path, tmp_path: Path) -> None:
    copy, events = tmp_path / "run", table(tmp_path, "start_s,end_s,label,speaker\n" + ROWS)
    shutil.copytree(run, copy)
    options = ["--stream", "--recording", str(sounds / "words.flac"), "--events", str(events), "--hop-ms", "200"]
    done = CliRunner().invoke(app, ["evaluate", str(copy), *options])
    assert done.exit_code == 0
    assert "0.800, that of the run" in done.stdout
    assert "words.flac: 3 words of 1 speaker, 0.000972 h without words in 1 file\n" in done.stdout
    assert "warning: the run has no threshold of its own; measured at the default, 0.8\n" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recording", "a.wav", "--events", "a.csv"], "need --stream"),
        (["--stream", "--recording", "a.wav"], "belong together"),
        (["SHARDS", "--stream", "--recording", "a.wav", "--events", "a.csv"], "leave one out"),
        (["--stream", "--recording", "a.wav", "--events", "a.csv", "--snr-db", "3"], "are for sound made of SHARDS"),
        (["--stream"], "SHARDS is missing"),
    ],
)
def test_options_that_exclude_each_other_are_refused(options: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["evaluate", "RUN", *options])
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
