"""Line charts as SVG, which follow the colours of the page. Knows nothing of metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hybridspeech.evaluation.reports.page import Html, element

LEFT, TOP, WIDTH, HEIGHT = 44, 12, 300, 220
"""Origin and size of the plot area, in SVG units."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """A line through `points`, (x, y), each 0 to 1. `style` is "before" or "after".

    `bars` are (low, high) of each point, if any. `weights` set the area of the dots; without them all are alike.
    """

    points: Sequence[tuple[float, float]]
    style: str
    weights: Sequence[float] = ()
    bars: Sequence[tuple[float, float]] = ()


def line_chart(
    series: Sequence[Series], ticks: Sequence[tuple[float, str]], labels: tuple[str, str], diagonal: bool = False
) -> Html:
    """Return a chart whose y axis is 0 to 100 %.

    Parameters
    ----------
    ticks : position (0 to 1) and text of the ticks of the x axis
    labels : of the x and of the y axis
    diagonal : draw the line y = x
    """
    parts = [_line(0, y, 1, y, "grid") for y in (0, 0.25, 0.5, 0.75, 1)]
    parts += [_text(LEFT - 6, _y(y) + 4, f"{100 * y:.0f} %", "end") for y in (0, 0.25, 0.5, 0.75, 1)]
    parts += [_text(_x(x), TOP + HEIGHT + 18, text, "middle") for x, text in ticks]
    parts.append(_text(LEFT + WIDTH / 2, TOP + HEIGHT + 38, labels[0], "middle"))
    if diagonal:
        parts.append(_line(0, 0, 1, 1, "grid"))
    for each in series:
        parts += [
            _line(x, low, x, high, each.style) for (x, _), (low, high) in zip(each.points, each.bars, strict=False)
        ]
        corners = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in each.points)
        parts.append(element("polyline", points=corners, class_=each.style + (" weighted" if each.weights else "")))
        weights = each.weights or [0.0] * len(each.points)
        radii = [3 + 9 * math.sqrt(weight / max(sum(weights), 1)) for weight in weights]
        parts += [
            element("circle", cx=f"{_x(x):.1f}", cy=f"{_y(y):.1f}", r=f"{radius:.1f}", class_=each.style)
            for (x, y), radius in zip(each.points, radii, strict=True)
        ]
    box = f"0 0 {LEFT + WIDTH + 20} {TOP + HEIGHT + 46}"
    return element("svg", *parts, viewBox=box, role="img", aria_label=f"{labels[1]} by {labels[0]}")


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> Html:
    ends = {"x1": _x(x1), "y1": _y(y1), "x2": _x(x2), "y2": _y(y2)}
    return element("line", class_=style, **{name: f"{value:.1f}" for name, value in ends.items()})


def _text(x: float, y: float, text: str, anchor: str) -> Html:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _x(value: float) -> float:
    return LEFT + WIDTH * value


def _y(value: float) -> float:
    return TOP + HEIGHT * (1 - value)
