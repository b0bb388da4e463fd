"""The model card of an export: metadata, sections, and text for missing numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.trained_runs import SMALL, random_run

import hybridspeech as hs
from hybridspeech.errors import OutputExistsError, RunError

LABELS = ("a|b", "<b>", "wow")
FACTS = {"name": "speech_commands_v0.02", "license": "CC BY 4.0", "credit": "Pete Warden, 2018"}
METRICS = {
    "accuracy": 0.925,
    "accuracy_ci95": [0.85, 0.965],
    "ci_method": "wilson-clustered",
    "split": "testing",
    "num_clips": 120,
    "num_speakers": 30,
    "ece": 0.04,
    "classes": [{"label": label, "num_clips": 40, "precision": 0.9, "recall": 0.8} for label in LABELS],
    "robustness": [{"disturbance": "noise", "level": 10.0, "unit": "dB", "accuracy": 0.8}],
    "warnings": ["the speaker of 2 of 120 clips is unknown"],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_run(tmp_path_factory.mktemp("run"), SMALL, LABELS)


def metadata(text: str) -> dict[str, object]:
    """The YAML block, whose values are JSON."""
    _, block, _ = text.split("---\n", 2)
    return {name: json.loads(value) for name, value in (line.split(": ", 1) for line in block.splitlines())}


@pytest.fixture(scope="module")
def card(run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("card")
    (folder / "source").mkdir()
    (folder / "source" / "download.json").write_text(json.dumps(FACTS))
    (run / "evaluation-testing").mkdir()
    (run / "evaluation-testing" / "metrics.json").write_text(json.dumps(METRICS))
    hs.export(run, folder / "words.keras", format="keras", card=folder / "README.md", data=folder / "source")
    return (folder / "README.md").read_text(encoding="utf-8")


def test_the_metadata_are_those_of_model_hubs(card: str) -> None:
    found = metadata(card)
    assert (found["library_name"], found["pipeline_tag"]) == ("tf-keras", "audio-classification")
    assert found["datasets"] == ["speech_commands_v0.02"]
    (index,) = found["model-index"]  # type: ignore[misc]
    assert index["results"][0]["metrics"] == [{"type": "accuracy", "value": 0.925}]


def test_the_card_has_accuracy_robustness_limits_licence_and_credit(card: str) -> None:
    assert "**92.5 %** of 120 clips of 30 speakers" in card
    assert "95 % interval 85.0 to 96.5 %" in card
    assert "| noise 10 dB | 80.0 % |" in card
    assert "- The speaker of 2 of 120 clips is unknown." in card
    assert "Licence of the data: CC BY 4.0." in card
    assert "Credit: Pete Warden, 2018." in card
    for title in ("Labels", "Data", "Accuracy", "Robustness", "Intended use", "Limits", "Use", "Training"):
        assert f"\n## {title}\n" in card


def test_labels_are_escaped(card: str) -> None:
    assert "a\\|b, &lt;b&gt;, wow." in card


def test_missing_numbers_are_named(run: Path, tmp_path: Path) -> None:
    other = random_run(tmp_path / "run", SMALL, LABELS)
    hs.export(other, tmp_path / "model", card=tmp_path / "card.md")
    text = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert text.count("Not measured.") == 2
    assert "model-index" not in metadata(text)
    assert "Licence of the data: not known to hybridspeech" in text


def test_another_card_is_not_replaced_and_damaged_metrics_are_refused(run: Path, card: str, tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"card\.md: exists already"):
        hs.export(run, tmp_path / "model", card=tmp_path / "card.md")
    other = random_run(tmp_path / "run", SMALL, LABELS)
    (other / "evaluation-testing").mkdir()
    (other / "evaluation-testing" / "metrics.json").write_text("[")
    with pytest.raises(RunError, match=r"metrics\.json: can't be read"):
        hs.export(other, tmp_path / "model", card=tmp_path / "card.md", overwrite=True)
    assert not (tmp_path / "model").exists()
