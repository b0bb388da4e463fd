"""Write docs/img/architecture.svg from the table below; a test fails when the file is stale. Run by `make docs`."""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

WIDTH, HEIGHT = 960, 330
BOX_WIDTH, BOX_HEIGHT = 158, 74

DATA = (  # left edge, title, contents
    (20, "Recordings", "one folder per word,", "or a table"),
    (274, "Shards", "TFRecord files,", "index.json written last"),
    (528, "Run directory", "checkpoints, metrics,", "model"),
    (782, "Results", "accuracy and interval,", "labels, exported model"),
)
VERBS = (  # from, to: left edges of the boxes; the commands on the arrow
    (20, 274, ("preprocess",)),
    (274, 528, ("train",)),
    (528, 782, ("evaluate", "predict", "export")),
)
SEAMS = (  # centre of the arrow above, title, choices
    (
        230,
        "Engine: runs preprocessing",
        (("local", "processes"), ("spark", "Spark"), ("raydp", "Spark on Ray")),
    ),
    (
        480,
        "Backend: starts the workers",
        (("local", "this process"), ("tfos", "TensorFlowOnSpark"), ("ray", "Ray Train")),
    ),
)
TOP, SEAM_TOP, SEAM_WIDTH = 92, 214, 226

STYLE = """
  text { font-family: system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; fill: #1f2933; font-size: 13px }
  .title { font-weight: 600; font-size: 15px } .verb { font-family: ui-monospace, Menlo, Consolas, monospace; fill: #0b5394 }
  .small { font-size: 12px; fill: #52606d } .box { fill: #eef4fb; stroke: #5b8bc0 } .seam { fill: #f6f7f9; stroke: #9aa5b1 }
  .arrow { stroke: #0b5394; stroke-width: 1.6; fill: none; marker-end: url(#head) }
  .tie { stroke: #9aa5b1; stroke-dasharray: 4 3 }
"""


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "middle") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(content)}</text>'


def rectangle(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8" class="{kind}"/>'


def picture() -> str:
    """The whole SVG document."""
    parts = [rectangle(0.5, 0.5, WIDTH - 1, HEIGHT - 1, "ground")]
    for left, title, *lines in DATA:
        middle = left + BOX_WIDTH / 2
        parts += [rectangle(left, TOP, BOX_WIDTH, BOX_HEIGHT, "box"), text(middle, TOP + 24, title, "title")]
        parts += [text(middle, TOP + 43 + 16 * row, line, "small") for row, line in enumerate(lines)]
    for start, end, verbs in VERBS:
        middle = TOP + BOX_HEIGHT / 2
        parts.append(f'<path class="arrow" d="M {start + BOX_WIDTH + 4} {middle:g} H {end - 6}"/>')
        between = (start + BOX_WIDTH + end) / 2
        parts += [text(between, middle - 10 - 16 * row, verb, "verb") for row, verb in enumerate(reversed(verbs))]
    parts.append(f'<path class="arrow" d="M 99 {TOP - 4} V 42 H 607 V {TOP - 6}"/>')
    parts += [text(353, 34, "run", "verb"), text(353, 58, "without shards on disk: Spark feeds the workers", "small")]
    for centre, title, choices in SEAMS:
        left = centre - SEAM_WIDTH / 2
        parts.append(f'<path class="tie" d="M {centre} {TOP + BOX_HEIGHT / 2 + 8:g} V {SEAM_TOP}"/>')
        parts.append(rectangle(left, SEAM_TOP, SEAM_WIDTH, 98, "seam"))
        parts.append(text(left + 12, SEAM_TOP + 24, title, "", "start"))
        for row, (name, meaning) in enumerate(choices):
            y = SEAM_TOP + 46 + 19 * row
            parts += [text(left + 12, y, name, "verb", "start"), text(left + 70, y, meaning, "small", "start")]
    head = '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    head += '<path d="M0 0L8 4L0 8z" fill="#0b5394"/></marker>'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
            "<title>From recordings through shards and a run directory to results</title>",
            f"<defs>{head}</defs>",
            f"<style>{STYLE}  .ground {{ fill: #ffffff; stroke: #e4e7eb }}\n</style>",
            *parts,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    target = Path(__file__).parent / "img" / "architecture.svg"
    target.write_text(picture(), encoding="utf-8")
    sys.stderr.write(f"wrote {target}\n")
