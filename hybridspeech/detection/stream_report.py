"""The HTML report of a measurement in continuous sound. Self-contained: it loads nothing."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from hybridspeech.detection.stream_metrics import RATES_PER_HOUR, LabelCurve, OperatingPoint
from hybridspeech.evaluation.reports.page import image, percent, section, table, write_page


class Condition(Protocol):
    """What the report needs of one condition; see `StreamCondition`."""

    @property
    def name(self) -> str: ...
    @property
    def hours(self) -> float: ...
    @property
    def repeats(self) -> float: ...
    @property
    def num_words(self) -> int: ...
    @property
    def num_speakers(self) -> int: ...
    @property
    def area(self) -> float: ...
    @property
    def chosen(self) -> OperatingPoint: ...
    @property
    def at_rates(self) -> Sequence[OperatingPoint]: ...
    @property
    def labels(self) -> Sequence[LabelCurve]: ...


def write_stream_report(path: Path, run: str, threshold: float, conditions: Sequence[Condition], det: Path) -> None:
    """Write the report.

    Parameters
    ----------
    det : PNG file of the DET curves

    Raises
    ------
    ConfigError: the file can't be written.
    """
    picture = "data:image/png;base64," + base64.b64encode(det.read_bytes()).decode()
    rows = [
        (
            f"{each.name}, {name}",
            f"{point.threshold:.3f}",
            percent(point.miss_rate),
            _range(point.miss_ci95),
            rate(point),
        )
        for each in conditions
        for name, point in (
            ("chosen threshold", each.chosen),
            *(
                (f"at {per_hour:g} per hour", point)
                for per_hour, point in zip(RATES_PER_HOUR, each.at_rates, strict=True)
            ),
        )
    ]
    sound = [
        (
            each.name,
            each.num_words,
            each.num_speakers or "unknown",
            f"{each.hours:.1f}",
            f"{each.repeats:.0f}",
            percent(each.area),
        )
        for each in conditions
    ]
    by_label = [
        (
            f"{each.name}, {curve.label}",
            curve.num_words,
            *(map(percent, curve.miss_rates_at) if curve.num_words else ["no words"] * len(RATES_PER_HOUR)),
        )
        for each in conditions
        for curve in each.labels
    ]
    write_page(
        path,
        f"Words in continuous sound: {run}",
        section("Misses and false accepts", image(picture, "DET curves")),
        section(
            f"Operating points; the threshold of the run is {threshold:.3f}",
            table(("condition", "threshold", "missed", "95 % interval", "false accepts per hour"), rows),
        ),
        section("Sound", table(("condition", "words", "speakers", "hours", "uses of a clip", "area"), sound)),
        section(
            "Missed words by label, at false accepts per hour of this label",
            table(("label", "words", *(f"at {rate:g}" for rate in RATES_PER_HOUR)), by_label),
        ),
    )


def rate(point: OperatingPoint) -> str:
    """Return the false accepts per hour of a measurement, with the interval."""
    low, high = point.false_accepts_ci95
    return f"{point.false_accepts_per_hour:.2f} ({low:.2f} to {high:.2f})"


def _range(interval: tuple[float, float]) -> str:
    return f"{percent(interval[0])} to {percent(interval[1])}"
