from __future__ import annotations

from pathlib import Path

from results import peer, results

from benchmarks.models import write_models

FACTS = {
    "interval": [0.9, 0.95],
    "num_clips": 408,
    "num_speakers": 60,
    "labels": ["no", "yes"],
    "validation_accuracy": 0.94,
    "training_accuracy": 0.99,
    "num_parameters": 105_052,
    "epochs": 60,
    "train_s": 300.0,
}


def test_the_table_has_mean_and_spread_of_the_seeds_and_the_interval(tmp_path: Path) -> None:
    measured = results(
        "accuracy", [peer("dscnn", 0.92, 0.93, 0.94, facts=FACTS), peer("cnn-stft", problem="it broke | off")]
    )
    write_models(measured, "words:yes,no", tmp_path / "models.md")
    text = (tmp_path / "models.md").read_text()
    row = "| dscnn | logmel | **93.0 %** (92.0 to 94.0) | 3 | 90.0 to 95.0 | 99.0 % | 94.0 % | 105,052 | 60 | 5.0 min |"
    assert row in text
    assert "--task words:yes,no`" in text
    assert "2 labels (no, yes) of synthesised with seed 0; tested on 408 clips of 60 speakers" in text


def test_a_network_that_failed_says_why(tmp_path: Path) -> None:
    write_models(results("accuracy", [peer("cnn-stft", 0.0, problem="it broke | off")]), "all", tmp_path / "models.md")
    assert "| cnn-stft | stft | **failed**: it broke / off |" in (tmp_path / "models.md").read_text()
