"""Plots of events in continuous sound, as PNG. Knows nothing of decoders and networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hybridspeech.evaluation.plots import _figure, _plain, _save

SHORTEST_SHARE = 0.003
"""Width of the bar of a short event, as a share of the time axis, so that it is visible in an hour of sound."""


def plot_timeline(events: Sequence[tuple[str, float, float, float]], duration_s: float, title: str, path: Path) -> None:
    """Plot events over time: one row per label; a darker bar is a higher score.

    Parameters
    ----------
    events : label, start and end in seconds, and score (0 to 1)
    duration_s : duration of the sound, in seconds

    Raises
    ------
    ConfigError: the file can't be written.
    """
    labels = sorted({label for label, *_ in events}, reverse=True)
    unit, per_unit = (("min", 60.0) if duration_s > 300 else ("s", 1.0)) if duration_s <= 18_000 else ("h", 3600.0)
    end = max(duration_s, 1.0) / per_unit
    figure = _figure(width=10, height=1.4 + 0.28 * max(1, len(labels)))
    axes = figure.subplots()
    for label, start_s, end_s, score in events:
        width = max((end_s - start_s) / per_unit, SHORTEST_SHARE * end)
        middle = (start_s + end_s) / 2 / per_unit
        axes.barh(
            labels.index(label), width, left=middle - width / 2, height=0.7, color="tab:blue", alpha=0.25 + 0.75 * score
        )
    axes.set_yticks(range(len(labels)), list(map(_plain, labels)))
    axes.set_xlim(0, end)
    axes.set_ylim(-0.6, max(1, len(labels)) - 0.4)
    axes.set(xlabel=f"time [{unit}]", title=f"{_plain(title)}: {len(events):,} events")
    axes.grid(axis="x", linewidth=0.4)
    _save(figure, path)


def plot_det(curves: Mapping[str, Sequence[tuple[float, float]]], hours: float, path: Path) -> None:
    """Plot miss rates against false accepts per hour (DET curve), one line per condition.

    Parameters
    ----------
    curves : name of the condition to false accepts per hour and miss rate (0 to 1) at each threshold
    hours : duration of the sound in which false accepts were counted; a count of 0 is drawn at half an event in this time

    Raises
    ------
    ConfigError: the file can't be written.
    """
    figure = _figure(width=6, height=4.5)
    axes = figure.subplots()
    for name, points in curves.items():
        rates = [max(rate, 0.5 / hours) for rate, _ in points]
        axes.plot(rates, [100 * miss for _, miss in points], marker=".", linewidth=1, label=_plain(name))
    axes.axvline(1, color="grey", linewidth=0.6)
    axes.set_xscale("log")
    axes.set(xlabel="false accepts per hour, all labels", ylabel="missed words [%]", ylim=(0, None))
    axes.grid(linewidth=0.4)
    axes.legend()
    _save(figure, path)
