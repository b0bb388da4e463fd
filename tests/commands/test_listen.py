"""The verb `listen`: events of files and of live sound."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.trained_runs import TONE_RECORDING_WORDS, tone_recording, tone_run

import hybridspeech as hs
from hybridspeech.audio.pcm import to_pcm16
from hybridspeech.detection.listener import Listener, WindowPlan, window_plan
from hybridspeech.errors import ConfigError, RunError
from hybridspeech.evaluation.file_predictions import TrainedRun, load_run

QUICK = hs.DetectionConfig(smoothing_ms=200)
THRESHOLDS = hs.Thresholds(default=0.5)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tones: Path) -> Path:
    return tone_run(tmp_path_factory.getbasetemp(), tones)


@pytest.fixture(scope="module")
def trained(run: Path) -> TrainedRun:
    return load_run(run)


@pytest.fixture(scope="module")
def sound(tones: Path) -> np.ndarray:
    return tone_recording(tones)


@pytest.fixture(scope="module")
def recording(sound: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "sound.wav"
    soundfile.write(path, sound, 16_000, subtype="PCM_16")
    return path


def near(events: list[hs.Event], word: str, start_s: float) -> list[hs.Event]:
    return [e for e in events if e.label == word and abs((e.start_s + e.end_s) / 2 - start_s - 0.5) < 0.4]


def test_the_words_of_a_recording_are_found_where_they_are(run: Path, recording: Path) -> None:
    events = list(hs.listen(run, recording, thresholds=THRESHOLDS, detection=QUICK))
    assert [len(near(events, word, start_s)) for word, start_s in TONE_RECORDING_WORDS] == [1, 1, 1]
    assert all(event.file == str(recording) and 0.5 <= (event.score or 0) <= 1 for event in events)
    assert [event.start_s for event in events] == sorted(event.start_s for event in events)


def test_any_chunks_give_the_events_of_the_file(
    run: Path, trained: TrainedRun, recording: Path, sound: np.ndarray
) -> None:
    expected = list(hs.listen(run, recording, thresholds=THRESHOLDS, detection=QUICK))
    samples = to_pcm16(sound).astype(np.float32) / 32_768
    for sizes in ([1_000], [77, 30_000, 1]):
        listener, first, events = Listener(trained, THRESHOLDS, QUICK, str(recording), batch_size=1), 0, []
        for size in itertools.cycle(sizes):
            found = listener.push(samples[first : first + size])
            first, events = first + size, events + found
            assert all(event.final_s <= first / 16_000 < event.final_s + size / 16_000 + 0.1 for event in found)
            if first >= samples.size:
                break
        events += listener.finish()
        assert [(e.start_s, e.end_s, e.label) for e in events] == [(e.start_s, e.end_s, e.label) for e in expected]
        assert [e.score for e in events] == pytest.approx([e.score for e in expected], abs=1e-4)


def test_a_window_has_the_probabilities_of_predict(run: Path, trained: TrainedRun, tones: Path) -> None:
    clip = tones / "low" / "00000007_nohash_0.wav"
    plan = window_plan(trained.features, hs.DetectionConfig())
    (prediction,) = hs.predict(run, [clip])
    events = list(
        hs.listen(
            run, clip, thresholds=hs.Thresholds(default=1e-6), detection=hs.DetectionConfig(smoothing_ms=0, hop_ms=1000)
        )
    )
    assert plan.lead % plan.hop == 0
    assert any(event.score == pytest.approx(prediction.probability, abs=1e-5) for event in events)


def test_windows_surround_the_sound_and_cover_all_of_it() -> None:
    plan = WindowPlan(length=16_000, hop=1_600, sample_rate_hz=16_000)
    for num_samples in (1, 1_599, 16_000, 100_001):
        last = plan.count(num_samples) - 1
        assert plan.start_s(0) == -0.5
        assert plan.start_s(last) * 16_000 <= num_samples < plan.start_s(last) * 16_000 + 16_000 + plan.hop


def test_an_unusable_file_has_an_event_with_its_error(run: Path, recording: Path, tmp_path: Path) -> None:
    broken, missing = tmp_path / "broken.wav", tmp_path / "missing.wav"
    broken.write_bytes(b"no audio")
    events = list(hs.listen(run, [broken, missing, recording], thresholds=THRESHOLDS))
    assert [set(event.line()) for event in events[:2]] == [{"file", "error"}] * 2
    assert [(event.error or "").partition(":")[0] for event in events[:2]] == ["not-audio", "missing"]
    assert set(events[2].line()) == {"file", "start_s", "end_s", "label", "score"}


def test_a_timeline_is_written_for_one_file(run: Path, recording: Path, tmp_path: Path) -> None:
    picture = tmp_path / "timeline.png"
    list(hs.listen(run, recording, plot=picture))
    assert picture.read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ConfigError, match="2 files were given; a timeline shows one"):
        hs.listen(run, [recording, recording], plot=picture)


def test_wrong_settings_are_refused_before_the_first_event(run: Path, recording: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'maybe': no such word; the run detects high, low, middle"):
        hs.listen(run, recording, thresholds=hs.Thresholds(labels={"maybe": 0.5}))
    with pytest.raises(ConfigError, match="give it alone"):
        hs.listen(run, ["-", recording])
    with pytest.raises(RunError, match=r"no plan\.json"):
        hs.listen(tmp_path, recording)


@pytest.mark.slow
def test_the_command_hears_a_pipe_and_prints_json(run: Path, recording: Path, sound: np.ndarray) -> None:
    command = [sys.executable, "-m", "hybridspeech", "listen", str(run), "-", "--json", "--threshold", "0.5"]
    done = subprocess.run(
        [*command, "--smoothing-ms", "200"],
        input=to_pcm16(sound).tobytes(),
        capture_output=True,
        timeout=120,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    expected = list(hs.listen(run, recording, thresholds=THRESHOLDS, detection=QUICK))
    assert [(line["label"], line["start_s"]) for line in lines] == [(e.label, e.start_s) for e in expected]
    assert {line["file"] for line in lines} == {"-"}


HOURS = 8
MEASURE = """
import sys
import hybridspeech as hs

def memory_mb(name):
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1000

run, short, long = sys.argv[1:]
detection = hs.DetectionConfig(hop_ms=1000)
sum(1 for _ in hs.listen(run, short, detection=detection))
before = memory_mb("RssAnon:")
last = 0.0
most = 0.0
for event in hs.listen(run, long, detection=detection, thresholds=hs.Thresholds(default=0.3)):
    last, most = event.end_s, max(most, memory_mb("RssAnon:"))
print(before, most, last)
"""


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_hours_of_sound_take_the_memory_of_seconds(
    run: Path, recording: Path, sound: np.ndarray, tmp_path: Path
) -> None:
    long = tmp_path / "long.flac"
    with soundfile.SoundFile(long, "w", 16_000, 1, subtype="PCM_16") as file:
        for _ in range(HOURS * 3600 * 16_000 // sound.size):
            file.write(sound)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, run, recording, long], capture_output=True, text=True, check=True, timeout=1700
    )
    before, most, last_s = map(float, done.stdout.split())
    assert last_s > HOURS * 3600 - 60
    assert most < before + 60  # MB; what TensorFlow itself needs is in both
    assert most < 500
