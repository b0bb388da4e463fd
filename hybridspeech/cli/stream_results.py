"""Checks and prints what `evaluate --stream` needs. Knows nothing of the measurement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hybridspeech.cli.terminal import print_fields, print_table, print_warning
from hybridspeech.errors import ConfigError, counted
from hybridspeech.storage.locations import parent_and_name

if TYPE_CHECKING:
    from hybridspeech.detection.stream_result import StreamCondition, StreamResult


def check_recording(stream: bool, shards: Path | None, recording: Path | None, events: Path | None) -> None:
    """Check which options are given together.

    Raises
    ------
    ConfigError: one is missing, or not possible with the others.
    """
    if not stream:
        raise ConfigError("--recording and --events need --stream")
    if recording is None or events is None:
        raise ConfigError("--recording and --events belong together: give the sound, and the table of the words in it")
    if shards is not None:
        raise ConfigError("SHARDS and --recording were given; sound is made of SHARDS or recorded: leave one out")


def check_no_made_sound(hours: float, snr_db: float, seed: int) -> None:
    """Check that the options of sound that is made of shards have their defaults.

    Raises
    ------
    ConfigError: one was given.
    """
    if (hours, snr_db, seed) != (0.5, 10.0, 0):
        raise ConfigError("--stream-hours, --snr-db and --stream-seed are for sound made of SHARDS; leave them out")


def print_stream(result: StreamResult) -> None:
    """Print a measurement in continuous sound."""
    for text in result.warnings:
        print_warning(text)
    target = result.target_fa_per_hour
    print_fields(
        {
            "threshold": f"{result.threshold:.3f}, "
            + (
                "that of the run"
                if target is None
                else f"stored in {result.run}: at most {target:g} false accepts per hour"
            ),
            "sound": "; ".join(map(_sound, result.conditions)),
            "area": "; ".join(f"{each.name}: {100 * each.area:.1f} % missed on average" for each in result.conditions),
            "files": parent_and_name(result.metrics)[0],
        }
    )
    rows = [
        (
            each.name,
            name,
            f"{point.threshold:.3f}",
            f"{100 * point.miss_rate:.1f} %",
            "{:.1f} to {:.1f} %".format(*(100 * value for value in point.miss_ci95)),
            f"{point.false_accepts_per_hour:.2f}",
            "{:.2f} to {:.2f}".format(*point.false_accepts_ci95),
        )
        for each in result.conditions
        for name, point in (
            ("chosen", each.chosen),
            *((f"{rate:g}/h", point) for rate, point in zip((0.1, 0.5, 1, 10), each.at_rates, strict=True)),
        )
    ]
    header = ("sound", "false accepts", "threshold", "missed", "95 % interval", "per hour", "95 % interval ")
    print_table(header, rows)


def _sound(condition: StreamCondition) -> str:
    speakers = counted(condition.num_speakers, "speaker") if condition.num_speakers else "unknown speakers"
    uses = f", each used {condition.repeats:.0f} times" if condition.repeats > 1 else ""
    return (
        f"{condition.name}: {counted(condition.num_words, 'word')} of {speakers}, {condition.hours:.3g} h without words in "
        f"{counted(condition.num_other_clips, 'file')}{uses}"
    )
