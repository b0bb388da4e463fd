"""The model card of an export: Markdown with the YAML metadata that model hubs read.

The metadata follow https://huggingface.co/docs/hub/model-cards. Knows nothing of networks and shards.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridspeech.errors import ConfigError, RunError
from hybridspeech.evaluation.exported_model import Measured
from hybridspeech.evaluation.reports.page import listed, percent
from hybridspeech.records import to_json
from hybridspeech.storage.small_files import write_atomically
from hybridspeech.training.plan import TrainPlan

LIBRARIES = {
    "savedmodel": "tensorflow",
    "keras": "tf-keras",
    "tflite": "tflite",
    "tflite-int8": "tflite",
    "onnx": "onnx",
    "savedmodel-streaming": "tensorflow",
    "tflite-streaming": "tflite",
    "tflite-micro": "tflite",
}
"""Name of the library on model hubs, by export format."""
UNKNOWN_LICENSE = "not known to hybridspeech; state it before you publish the model"


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """All that a model card states.

    Parameters
    ----------
    name : name of the exported file or folder
    metrics : content of metrics.json of the testing split; empty without an evaluation
    measured : accuracy of the exported model itself; None if it was not measured
    data : content of download.json of the source; empty for other data
    """

    name: str
    format: str
    num_bytes: int
    plan: TrainPlan
    metrics: Mapping[str, Any]
    measured: Measured | None
    data: Mapping[str, Any]


def read_json(path: Path) -> dict[str, Any]:
    """Read an object from a JSON file; empty if there is no file.

    Raises
    ------
    RunError: the file is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: can't be read ({error}); remove it, or write it again") from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: is not a JSON object; remove it, or write it again")
    return content


def write_model_card(path: Path, card: ModelCard) -> None:
    """Write a model card.

    Raises
    ------
    ConfigError: the file can't be written. RunError: metrics.json is of another version.
    """
    try:
        text = "\n\n".join([_metadata(card), f"# {_text(card.name)}", *_sections(card)]) + "\n"
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"metrics.json of the run can't be used ({error!r}); evaluate again") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        raise ConfigError(f"{path}: can't be written ({error.strerror}); choose another place") from error


def _metadata(card: ModelCard) -> str:
    """Return the YAML block; every value is JSON, which is YAML too."""
    fields: dict[str, Any] = {
        "library_name": LIBRARIES[card.format],
        "pipeline_tag": "audio-classification",
        "tags": ["keyword-spotting", "speech-commands", "hybridspeech", card.format],
        "license": "other",
        "license_name": "unknown",
        "metrics": ["accuracy"],
    }
    if card.data:
        fields["datasets"] = [str(card.data.get("name", "unknown"))]
    if accuracy := _accuracy(card):
        fields["model-index"] = [
            {
                "name": card.name,
                "results": [
                    {
                        "task": {"type": "audio-classification", "name": "Keyword spotting"},
                        "dataset": {
                            "type": "custom",
                            "name": str(card.data.get("name", "unknown")),
                            "split": accuracy["split"],
                        },
                        "metrics": [{"type": "accuracy", "value": round(accuracy["accuracy"], 4)}],
                    }
                ],
            }
        ]
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _sections(card: ModelCard) -> list[str]:
    plan = card.plan
    words = ", ".join(_text(label) for label in plan.labels)
    seconds = plan.features.clip_duration_ms / 1000
    return [
        f"A {_text(plan.model.name)} network that names the word in a clip of {seconds:g} s, as {card.format} "
        f"({card.num_bytes / 1e6:.2f} MB). It takes raw audio: mono, {plan.features.sample_rate_hz} Hz, full scale = 1.0, "
        f"{plan.features.num_samples} samples.",
        f"## Labels\n\n{len(plan.labels)} labels: {words}.",
        f"## Data\n\n{_data(card)}",
        f"## Accuracy\n\n{_accuracy_text(card)}",
        f"## Robustness\n\n{_robustness(card.metrics.get('robustness', ()))}",
        "## Intended use\n\nTo recognise one of these words in a short recording, on a device or a server. A clip must hold "
        "one word; longer recordings have to be cut into clips first.",
        f"## Limits\n\n{_limits(card)}",
        "## Use\n\n`deployment.json` in the export has the labels, the sample rate and the number of samples. The page "
        '"Deploy an export" of the documentation of hybridspeech has a program for each format.',
        f"## Training\n\n{_table(('setting', 'value'), _settings(plan))}",
        f"## Licence and credit\n\n{_licence(card)}",
    ]


def _data(card: ModelCard) -> str:
    plan = card.plan
    name = (
        f"Data set: {_text(card.data['name'])}. "
        if card.data.get("name")
        else "Describe the recordings here before you publish the model. "
    )
    return f"{name}Digest of the shards: {_text(plan.digest or 'unknown')}."


def _accuracy(card: ModelCard) -> dict[str, Any]:
    """Return accuracy, interval, method, split and counts: of the export if it was measured, else of the run."""
    return to_json(card.measured) if card.measured else dict(card.metrics)


def _accuracy_text(card: ModelCard) -> str:
    found = _accuracy(card)
    if not found:
        return "Not measured. `hybridspeech evaluate RUN SHARDS` measures it; export again after it."
    low, high = found["accuracy_ci95"]
    speakers = f"{found['num_speakers']} speakers" if found["num_speakers"] else "unknown speakers"
    subject = "the exported model" if card.measured else "the network before the export"
    lines = [
        f"**{percent(found['accuracy'])}** of {found['num_clips']} clips of {speakers} (split {_text(found['split'])}; "
        f"95 % interval {100 * low:.1f} to {100 * high:.1f} %, {_text(found['ci_method'])}), measured on {subject}."
    ]
    if card.metrics:
        lines.append(f"Expected calibration error: {percent(card.metrics['ece'])}.")
        rows = [
            (_text(each["label"]), str(each["num_clips"]), percent(each["precision"]), percent(each["recall"]))
            for each in card.metrics["classes"]
        ]
        lines.append("\n\n" + _table(("label", "clips", "precision", "recall"), rows))
    return " ".join(lines).replace(" \n", "\n")


def _robustness(records: Sequence[Mapping[str, Any]]) -> str:
    if not records:
        return "Not measured. `hybridspeech evaluate RUN SHARDS --robustness` measures it; export again after it."
    rows = [(f"{each['disturbance']} {each['level']:g} {each['unit']}", percent(each["accuracy"])) for each in records]
    return "Accuracy under background noise (signal-to-noise ratio) and time shifts:\n\n" + _table(
        ("disturbance", "accuracy"), rows
    )


def _limits(card: ModelCard) -> str:
    limits = [
        "It always names one of its labels"
        + (", also for other words and for noise" if "_unknown_" not in card.plan.labels else "")
        + "; compare the probability with a threshold.",
        "Accents, ages, microphones and rooms that are not in the data were not measured.",
        "Not for decisions about safety, health or access.",
        *(text[:1].upper() + text[1:] + "." for text in card.metrics.get("warnings", ())),
    ]
    return "\n".join(f"- {_text(limit)}" for limit in limits)


def _settings(plan: TrainPlan) -> list[tuple[str, str]]:
    records = {"network": plan.model, "features": plan.features, "training": plan.fit}
    rows = [(name, _text(listed(to_json(record)))) for name, record in records.items()]
    if start := plan.init_from:
        source = f"a run on {len(start.labels)} labels ({', '.join(start.labels)}), digest {start.digest or 'unknown'}"
        rows.append(("initial weights", _text(f"{source}; checksum {start.checksum}")))
    if plan.rir:
        rows.append(("room impulse responses", f"{plan.rir.count}; checksum {plan.rir.checksum}"))
    if plan.negatives:
        counts = ", ".join(f"{count} {label}" for label, count in plan.negatives.counts.items())
        rows.append(("windows of sound without the words", _text(f"{counts}; checksum {plan.negatives.checksum}")))
    return [*rows, ("versions", _text(listed(plan.versions)))]


def _licence(card: ModelCard) -> str:
    licence = _text(str(card.data.get("license", UNKNOWN_LICENSE)))
    credit = f"\n\nCredit: {_text(str(card.data['credit']))}." if card.data.get("credit") else ""
    return f"Licence of the data: {licence}. Licence of the model: {UNKNOWN_LICENSE}.{credit}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _text(value: str) -> str:
    """Return text that Markdown shows as it is, in one line."""
    escaped = html.escape(" ".join(value.split()), quote=False)
    return "".join(f"\\{character}" if character in "\\|`*_[]" else character for character in escaped)
