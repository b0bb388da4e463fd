from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from support.benchmark_results import peer, results

from benchmarks.models import merge, write_models
from benchmarks.records import PeerResult, Results
from hybridspeech.commands.train import WAVEFORM_HINT
from hybridspeech.errors import ConfigError

FACTS = {
    "interval": [0.9, 0.95],
    "num_clips": 408,
    "num_speakers": 60,
    "labels": ["no", "yes"],
    "validation_accuracy": 0.94,
    "training_accuracy": 0.99,
    "num_parameters": 104_924,
    "epochs": 60,
    "train_s": 300.0,
    "calibration_error": 0.05,
    "scaled_calibration_error": 0.02,
    "noise": {"20": 0.9, "0": 0.5},
    "exports": {
        "tflite": {"accuracy": 0.93, "num_bytes": 490_000, "latency_ms": 1.4},
        "tflite-int8": {"refused": "the labels | differ"},
    },
}


def test_the_table_has_mean_and_spread_of_the_seeds_and_the_interval(tmp_path: Path) -> None:
    measured = results(
        "accuracy", [peer("dscnn", 0.92, 0.93, 0.94, facts=FACTS), peer("cnn-stft", problem="it broke | off")]
    )
    write_models(replace(measured, task="words:yes,no"), tmp_path / "models.md")
    text = (tmp_path / "models.md").read_text()
    row = "| **93.0 %** (92.0 to 94.0) | 3 | 90.0 to 95.0 | 99.0 % | 94.0 % | 104,924 | 60 | 5.0 min |"
    assert f"| dscnn | waveform | logmel {row}" in text
    assert "--task words:yes,no`" in text
    assert "2 labels (no, yes) of synthesized with seed 0; tested on 408 clips of 60 speakers" in text


def test_exports_noise_and_calibration_are_those_of_the_median_seed(tmp_path: Path) -> None:
    worse, better = ({**FACTS, "calibration_error": error} for error in (0.9, 0.8))
    seeds = [
        peer("dscnn", value, facts=facts).runs[0] for value, facts in ((0.92, worse), (0.93, FACTS), (0.94, better))
    ]
    write_models(results("accuracy", [PeerResult(name="dscnn", runs=tuple(seeds))]), tmp_path / "models.md")
    text = (tmp_path / "models.md").read_text()
    assert "| dscnn | tflite | 93.0 % | 0.49 MB | 1.4 ms |" in text
    assert "| dscnn | tflite-int8 | refused: the labels / differ | | |" in text
    assert "| network | 20 dB | 0 dB | calibration error | after scaling |" in text
    assert "| dscnn | 90.0 % | 50.0 % | 0.050 | 0.020 |" in text


def test_a_causal_network_has_its_cost_in_a_stream_and_on_a_microcontroller(tmp_path: Path) -> None:
    made = {
        **{form: {"accuracy": 0.93, "num_bytes": 1, "latency_ms": 1.0} for form in ("savedmodel", "tflite")},
        **{
            f"{form}-streaming": {"accuracy": 0.93, "num_bytes": 1, "latency_ms": 2.4, "input_shape": [1, 1280]}
            for form in ("savedmodel", "tflite")
        },
        "tflite-micro": {"accuracy": 0.92, "num_bytes": 153_000, "latency_ms": 9.0, "arena_bytes": 176_560},
    }
    measured = results("accuracy", [peer("dscnn-causal", 0.93, facts={**FACTS, "exports": made})])
    write_models(measured, tmp_path / "models.md")
    text = (tmp_path / "models.md").read_text()
    assert "| dscnn-causal | tflite-streaming | 80 ms | 93.0 % | 2.5 ms |" in text  # 12 steps of 80 ms in a clip
    assert "| dscnn-causal | tflite | 80 ms | 93.0 % | 12.5 ms |" in text
    assert "| dscnn-causal | 92.0 % | 93.0 % | 153 kB | 177 kB |" in text
    assert "| dscnn-causal | tflite-micro |" not in text


def test_the_page_of_some_words_says_how_the_published_tasks_are_run(tmp_path: Path) -> None:
    measured = results("accuracy", [peer("dscnn", 0.92, facts=FACTS)])
    write_models(replace(measured, task="words:yes,no"), tmp_path / "models.md")
    assert "| `--data speech_commands_v0.02 --task 12` | BC-ResNet-8 98.7 %" in (tmp_path / "models.md").read_text()
    write_models(replace(measured, task="12"), tmp_path / "models.md")
    assert "not run here" not in (tmp_path / "models.md").read_text()


def test_a_failed_network_is_shown_with_the_reason(tmp_path: Path) -> None:
    write_models(results("accuracy", [peer("cnn-stft", 0.0, problem="it broke | off")]), tmp_path / "models.md")
    assert "| cnn-stft | stft | stft | **failed**: it broke / off |" in (tmp_path / "models.md").read_text()


def test_networks_that_were_measured_earlier_only_keep_their_rows_with_the_date(tmp_path: Path) -> None:
    before = results("accuracy", [peer("dscnn", 0.92, facts=FACTS), peer("cnn-stft", 0.27, facts=FACTS)])
    after = results("accuracy", [peer("cnn-stft", 0.46, facts=FACTS), PeerResult(name="dscnn", skipped="interrupted")])
    write_models(merge(before, replace(after, date="2026-02-03T00:00:00+00:00")), tmp_path / "models.md")
    text = (tmp_path / "models.md").read_text()
    assert "| cnn-stft | stft | stft | **46.0 %**" in text
    assert "| dscnn | waveform | logmel | **92.0 %**" in text
    assert "`dscnn` was measured earlier: 2026-01-02, revision 0123456789ab." in text
    assert "`cnn-stft` was" not in text


def test_the_fine_tuning_has_a_row_for_each_start(tmp_path: Path) -> None:
    start = {"accuracy": 0.5, "interval": [0.4, 0.6], "epochs": 20, "training_accuracy": 0.9}
    facts = {
        **{"labels": ["no", "yes"], "num_clips": 165, "num_speakers": 86},
        **{"clips_per_word": 200, "recordings_per_word": 10},
        "starts": {
            "synthetic": start,
            "fine-tuned": {**start, "accuracy": 0.75},
            "recorded": {**start, "accuracy": 0.25},
        },
    }
    accuracy = results("accuracy", [peer("dscnn", 0.92, facts=FACTS)])
    write_models(accuracy, tmp_path / "models.md", results("finetune", [peer("dscnn", 0.75, 0.75, facts=facts)]))
    text = (tmp_path / "models.md").read_text()
    assert "| 200 synthetic | **50.0 %** (50.0 to 50.0) | 2 | 40.0 to 60.0 | 90.0 % | 20 |" in text
    assert "| 200 synthetic, then 10 recordings | **75.0 %**" in text
    assert "| 10 recordings | **25.0 %**" in text


def test_results_of_other_clips_are_not_merged() -> None:
    one = results("accuracy", [peer("dscnn", 0.92, facts=FACTS)])
    with pytest.raises(ConfigError, match="task 'all' and 'words:yes,no'; merge only results of the same clips"):
        merge(one, replace(one, task="words:yes,no"))


def test_the_figures_that_train_reports_are_those_of_the_page() -> None:
    (case,) = Results.load(Path(__file__).parents[2] / "docs" / "models.json").cases
    mean = {each.name: 100 * statistics.mean(each.values) for each in case.peers}
    assert f"dscnn: {mean['dscnn']:.0f} % instead of {mean['cnn-stft']:.0f} %" in WAVEFORM_HINT
