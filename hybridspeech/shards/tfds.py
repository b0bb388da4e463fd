"""The files with which TensorFlow Datasets reads a folder of shards: ``tfds.builder_from_directory(OUT)``.

They follow from the index alone, so that they are the same bytes on every engine and machine. TFDS can't read compressed
TFRecord files: such shards have no files of this kind. Shards of earlier versions have none either. Knows nothing of
TensorFlow and of TFDS.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hybridspeech.config import FeatureConfig
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.names import ShardInfo, number_of

INFO_NAME, FEATURES_NAME, LABELS_NAME = TFDS_NAMES = ("dataset_info.json", "features.json", "label.labels.txt")
"""Names that TFDS gives to its files; the last one holds the labels of the feature `label`, one per line."""
TEXTS = ("clip_id", "label_name", "speaker")
_TEMPLATE = "{SPLIT}-{SHARD_X_OF_Y}.{FILEFORMAT}"
_CLASSES = "tensorflow_datasets.core.features"


def tfds_files(
    features: FeatureConfig, stored: ShardConfig, labels: Sequence[str], shards: Sequence[ShardInfo], digest: str
) -> dict[str, str]:
    """Return the content of each file by its name; empty if the shards are compressed.

    Parameters
    ----------
    labels : in the order of their index
    """
    if stored.compression != "none":
        return {}
    key, tensor = _values(features, stored)
    described = {key: tensor, "label": _label(len(labels)), **{name: _text() for name in TEXTS}}
    return {
        INFO_NAME: _json(_info(key, shards, digest)),
        FEATURES_NAME: _json(
            {
                "featuresDict": {"features": described},
                "pythonClassName": f"{_CLASSES}.features_dict.FeaturesDict",
            }
        ),
        LABELS_NAME: "".join(f"{label}\n" for label in labels),
    }


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=4, sort_keys=True) + "\n"


def _values(features: FeatureConfig, stored: ShardConfig) -> tuple[str, dict[str, Any]]:
    """Return the key of the spectrogram or waveform of a record, and its feature."""
    is_wave = features.kind == "waveform"
    shape = (features.num_samples,) if is_wave else features.shape
    tensor = {
        "dtype": stored.dtype,
        "encoding": "none" if stored.dtype == "float32" else "bytes",
        "shape": {"dimensions": [str(size) for size in shape]},
    }
    feature = {"pythonClassName": f"{_CLASSES}.tensor_feature.Tensor", "tensor": tensor}
    return "waveform" if is_wave else "spectrogram", feature


def _label(num_labels: int) -> dict[str, Any]:
    return {
        "classLabel": {"numClasses": str(num_labels)},
        "pythonClassName": f"{_CLASSES}.class_label_feature.ClassLabel",
    }


def _text() -> dict[str, Any]:
    return {"pythonClassName": f"{_CLASSES}.text_feature.Text", "text": {}}


def _info(key: str, shards: Sequence[ShardInfo], digest: str) -> dict[str, Any]:
    by_split: dict[str, list[ShardInfo]] = {}
    for shard in shards:
        by_split.setdefault(shard.split, []).append(shard)
    return {
        "name": "hybridspeech",
        "version": "1.0.0",
        "description": f"Shards of hybridspeech with the digest {digest}.",
        "fileFormat": "tfrecord",
        "supervisedKeys": {"tuple": {"items": [{"featureKey": key}, {"featureKey": "label"}]}},
        "splits": [_split(name, sorted(of_split, key=_number)) for name, of_split in by_split.items()],
    }


def _number(shard: ShardInfo) -> int:
    return number_of(shard.name)


def _split(name: str, shards: Sequence[ShardInfo]) -> dict[str, Any]:
    return {
        "name": name,
        "filepathTemplate": _TEMPLATE,
        "shardLengths": [str(shard.num_examples) for shard in shards],
        "numBytes": str(sum(shard.num_bytes for shard in shards)),
    }
