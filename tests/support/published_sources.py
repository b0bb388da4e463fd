"""The same clips in the layouts of published data sets, with the column names of their documentation.

Common Voice: README of common-voice/cv-dataset. Multilingual Spoken Words: en_splits.csv of the MLCommons download. NeMo:
docs.nvidia.com, ASR datasets. Hugging Face: huggingface.co/docs/datasets/audio_dataset.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

COMMON_VOICE_COLUMNS = (
    *("client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes", "down_votes"),
    *("age", "gender", "accents", "variant", "locale", "segment"),
)
SPOKEN_WORDS_COLUMNS = ("SET", "LINK", "WORD", "VALID", "SPEAKER", "GENDER")


def clips_of(folder: Path) -> list[Path]:
    """Return the clips of a folder of words, sorted."""
    return sorted(path.relative_to(folder) for path in folder.glob("*/*.wav"))


def speaker_of(clip: Path) -> str:
    """Return the speaker of a clip that is named as in Speech Commands."""
    return clip.name.partition("_nohash_")[0]


def copied(folder: Path, target: Path) -> Path:
    """Copy word folders, and return the copy."""
    shutil.copytree(folder, target)
    return target


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write a JSON lines file."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], **dialect: Any) -> Path:
    """Write a CSV file, or a TSV file; missing values are empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", **dialect)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_nemo(folder: Path, clips: Iterable[Path], name: str = "manifest.json", **more: Any) -> Path:
    """Write a NeMo manifest of clips of 1 s into a folder of words."""
    rows = [
        {"audio_filepath": str(clip), "duration": 1.0, "command": clip.parent.name, "speaker": speaker_of(clip), **more}
        for clip in clips
    ]
    return write_json_lines(folder / name, rows)


def common_voice_row(clip: Path, sentence: str) -> dict[str, str]:
    """Return a row of Common Voice."""
    row = {"client_id": speaker_of(clip), "path": str(clip), "sentence": sentence, "up_votes": "2", "down_votes": "0"}
    return {**row, "locale": "en", "segment": "Singleword"}


def write_common_voice(root: Path, tables: Mapping[str, Iterable[dict[str, str]]]) -> Path:
    """Write the tables of Common Voice, without quotes, beside the folder `clips`."""
    for name, rows in tables.items():
        lines = ["\t".join(COMMON_VOICE_COLUMNS)]
        lines += ["\t".join(row.get(column, "") for column in COMMON_VOICE_COLUMNS) for row in rows]
        (root / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def spoken_words_row(clip: Path, split: str) -> dict[str, str]:
    """Return a row of Multilingual Spoken Words."""
    row = {"SET": split, "LINK": str(clip), "WORD": clip.parent.name, "VALID": "TRUE"}
    return {**row, "SPEAKER": speaker_of(clip), "GENDER": "NAN"}
