"""The settings of a manifest: splits and the labels of a task. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hybridspeech.manifest.speakers import SPEECH_COMMANDS, speaker_finder
from hybridspeech.records import check, check_choice

SILENCE, UNKNOWN = "_silence_", "_unknown_"
TWELVE = (SILENCE, UNKNOWN, "yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
"""Labels of the usual Speech Commands task: ten words, all other words, and silence (arXiv:1804.03209)."""

SOURCE_FORMATS = ("auto", "words", "speakers", "table", "nemo", "common-voice", "mswc", "audio-folder")
"""Forms of a source; see `formats.table_format`."""
COLUMNS = ("path", "label", "speaker", "split", "start", "duration", "end", "valid")
"""What a column of a table may hold; start, duration and end in seconds."""


@dataclass(frozen=True, kw_only=True)
class ManifestConfig:
    """Settings of labels, speakers and splits.

    `split` "auto" is the column of a table, else the published lists, else the hash rule. The percentages of validation
    and testing are fractions of the speakers. `task` selects the labels: "all" words, "12" (the ten command words of Speech
    Commands, _unknown_ and _silence_), or "words:yes,no,...", which may contain _unknown_ and _silence_. In each split,
    their numbers are `unknown_percentage` and `silence_percentage` of the clips of the chosen words; `seed` draws them.
    `speaker_pattern` is a name in ``speakers.PRESETS`` or a regular expression that finds the speaker in the path of a clip,
    relative to the source; a column `speaker` takes precedence. `on_long` decides about clips that are longer than the clip
    duration: "cut" keeps their start, "split" makes consecutive clips of them, "reject" leaves them out. `source_format` is
    the form of the source; "auto" recognises it. `columns` gives the column of a table for any of COLUMNS.

    Raises
    ------
    ConfigError: a value is out of range, or the speaker pattern is no regular expression with a group.
    """

    split: Literal["auto", "lists", "hash", "column", "none"] = "auto"
    validation_percentage: float = 10.0
    testing_percentage: float = 10.0
    allow_speaker_overlap: bool = False
    task: str = "all"
    unknown_percentage: float = 10.0
    silence_percentage: float = 10.0
    seed: int = 0
    on_long: Literal["cut", "split", "reject"] = "cut"
    speaker_pattern: str = SPEECH_COMMANDS
    source_format: Literal["auto", "words", "speakers", "table", "nemo", "common-voice", "mswc", "audio-folder"] = (
        "auto"
    )
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("on_long", self.on_long, ("cut", "split", "reject"))
        check_choice("split", self.split, ("auto", "lists", "hash", "column", "none"))
        for name in ("validation_percentage", "testing_percentage", "unknown_percentage", "silence_percentage"):
            check(0 <= getattr(self, name) <= 100, f"{name} is {getattr(self, name)}; expected 0 to 100")
        total = self.validation_percentage + self.testing_percentage
        check(total < 100, f"validation and testing percentages add up to {total}; expected less than 100")
        check(
            self.task in ("all", "12") or len(set(self.words or ())) >= 2,
            f"task is {self.task!r}; choose all, 12, or words: with two words or more, such as words:yes,no,_unknown_",
        )
        speaker_finder(self.speaker_pattern)
        check_choice("source_format", self.source_format, SOURCE_FORMATS)
        for name, column in self.columns.items():
            check(name in COLUMNS, f"columns has {name!r}; expected {', '.join(COLUMNS)}, such as path=file,label=word")
            check(bool(column), f"columns gives no column for {name!r}; expected {name}=NAME")

    @property
    def words(self) -> tuple[str, ...] | None:
        """Labels of the task, as given; None for all labels of the source."""
        if self.task == "12":
            return TWELVE
        kind, _, listed = self.task.partition(":")
        return tuple(word.strip() for word in listed.split(",") if word.strip()) if kind == "words" else None
