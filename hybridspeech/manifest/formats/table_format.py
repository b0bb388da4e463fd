"""The published formats of tables: how each is recognised by its columns, and what they mean.

Column names are those of the formats' own documentation:
NeMo https://docs.nvidia.com/nemo-framework/user-guide/latest/nemotoolkit/asr/datasets.html,
Common Voice https://github.com/common-voice/cv-dataset,
Multilingual Spoken Words https://mlcommons.org/datasets/multilingual-spoken-words,
Hugging Face https://huggingface.co/docs/datasets/audio_dataset. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hybridspeech.manifest.formats.spoken_words import single_word
from hybridspeech.manifest.tables.table_layout import GENERIC, column_among

AUTO, WORDS, SPEAKERS, TABLE = "auto", "words", "speakers", "table"
NEMO, COMMON_VOICE, MSWC, AUDIO_FOLDER = "nemo", "common-voice", "mswc", "audio-folder"


@dataclass(frozen=True, kw_only=True)
class TableFormat:
    """A format of tables.

    Parameters
    ----------
    title : with its article, for messages
    signature : a table with one column of each of these groups has the format
    columns, suffix, label_of, transcripts, unknown_speaker : see `TableLayout`
    audio_folders : folders beside the table in which relative paths start; the first one that has the audio counts
    has_quotes : whether a TSV file has quoted fields
    """

    title: str
    signature: tuple[tuple[str, ...], ...]
    columns: Mapping[str, tuple[str, ...]]
    audio_folders: tuple[str, ...] = ("",)
    suffix: str = ""
    label_of: Callable[[str], str] | None = None
    transcripts: frozenset[str] = field(default=frozenset())
    unknown_speaker: str = ""
    has_quotes: bool = True


FORMATS: Mapping[str, TableFormat] = {
    TABLE: TableFormat(title="a table", signature=(("path",), ("label",)), columns=GENERIC),
    NEMO: TableFormat(
        title="a NeMo manifest",
        signature=(("audio_filepath", "audio_filename"),),
        columns={
            "path": ("audio_filepath", "audio_filename"),
            "label": ("command", "label", "target", "text"),
            "speaker": ("speaker", "speaker_id"),
            "split": ("split",),
            "start": ("offset",),
            "duration": ("duration",),
        },
        transcripts=frozenset(("text",)),
    ),
    COMMON_VOICE: TableFormat(
        title="Common Voice",
        signature=(("client_id",), ("path",), ("sentence", "text")),
        columns={"path": ("path",), "label": ("sentence", "text"), "speaker": ("client_id",)},
        audio_folders=("clips", ""),
        suffix=".mp3",
        label_of=single_word,
        has_quotes=False,
    ),
    MSWC: TableFormat(
        title="Multilingual Spoken Words",
        signature=(("LINK",), ("WORD",), ("SPEAKER", "VALID")),
        columns={
            "path": ("LINK",),
            "label": ("WORD",),
            "speaker": ("SPEAKER",),
            "split": ("SET",),
            "valid": ("VALID",),
        },
        audio_folders=("clips", ""),
        unknown_speaker="NA",
    ),
    AUDIO_FOLDER: TableFormat(
        title="a Hugging Face audio folder",
        signature=(("file_name", "audio_file_name"),),
        columns={
            "path": ("file_name", "audio_file_name"),
            "label": ("label", "word", "keyword", "command", "text", "transcription", "sentence"),
            "speaker": ("speaker", "speaker_id", "client_id"),
            "split": ("split",),
            "start": ("start", "offset"),
            "duration": ("duration",),
            "end": ("end",),
        },
        transcripts=frozenset(("text", "transcription", "sentence")),
    ),
}
"""By the name that --source-format has; the first one whose signature fits is the format of a table."""


def format_of(columns: Sequence[str]) -> str:
    """Return the name of the format of a table with these columns; TABLE if no other fits."""
    for name, found in FORMATS.items():
        if all(column_among(group, columns) for group in found.signature):
            return name
    return TABLE
