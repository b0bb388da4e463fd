"""The findings of an audit on a page: numbers by kind, and the worst clips of each kind with a player."""

from __future__ import annotations

from collections.abc import Sequence

from hybridspeech.evaluation.audit.audit import Audit
from hybridspeech.evaluation.audit.findings import KINDS, Finding, count_kinds
from hybridspeech.evaluation.reports.clips import ClipSource, clip_card, clip_grid, read_positions
from hybridspeech.evaluation.reports.page import Html, element, section, table
from hybridspeech.shards.reader import Example

NUM_SHOWN = 24
"""Findings of each kind that are shown, at most."""


def audit_sections(source: ClipSource, audit: Audit) -> list[Html]:
    """Return the parts of a page: the numbers, and one part for each kind that was found.

    Raises
    ------
    ShardError: a shard is missing or damaged.
    """
    counts = count_kinds(audit.findings)
    rows = [(kind, f"{count:,}", f"{_excluded(audit.findings, kind):,}") for kind, count in counts.items()]
    summary = section(
        f"Audit: {len(audit.findings):,} findings",
        table(("kind", "clips", "excluded by default"), rows),
        _how_to_read(),
    )
    shown = {kind: [found for found in audit.findings if found.kind == kind][:NUM_SHOWN] for kind in KINDS}
    examples = _read(source, audit, [found for of_kind in shown.values() for found in of_kind])
    parts = [
        section(_title(kind, counts[kind]), clip_grid([_shown(source, audit, found, examples) for found in of_kind]))
        for kind, of_kind in shown.items()
        if of_kind
    ]
    return [summary, *parts]


def _excluded(findings: Sequence[Finding], kind: str) -> int:
    return sum(found.kind == kind and found.is_excluded for found in findings)


def _how_to_read() -> Html:
    return element(
        "p",
        "The table has every finding. Listen, set its column exclude to yes or no, and give it to ",
        element("code", "preprocess --exclude"),
        ".",
        class_="muted",
    )


def _title(kind: str, count: int) -> str:
    return f"{kind.replace('-', ' ').capitalize()}: {count:,}" + (
        f", the first {NUM_SHOWN}" if count > NUM_SHOWN else ""
    )


def _read(source: ClipSource, audit: Audit, findings: Sequence[Finding]) -> dict[int, Example]:
    """Return the clips of the findings, and those that they duplicate, by their places."""
    clips = audit.clips
    wanted = {found.place for found in findings} | {found.other for found in findings if found.other is not None}
    examples: dict[int, Example] = {}
    for split in sorted({clips.splits[place] for place in wanted}):
        by_position = {clips.positions[place]: place for place in wanted if clips.splits[place] == split}
        read = read_positions(source, split, by_position)
        examples |= {by_position[position]: example for position, example in read.items()}
    return examples


def _shown(source: ClipSource, audit: Audit, found: Finding, examples: dict[int, Example]) -> Html:
    """Return the card of a clip; for a duplicate, side by side with that of the clip that it duplicates."""
    card = _card(source, audit, found.place, examples, f"{found.detail} (score {found.score:.2f})", found.proposal)
    if found.other is None:
        return card
    is_kept = not any(each.place == found.other and each.is_excluded for each in audit.findings)
    twin = _card(source, audit, found.other, examples, "kept" if is_kept else "excluded too")
    return element("div", card, twin, class_="pair")


def _card(source: ClipSource, audit: Audit, place: int, examples: dict[int, Example], *lines: str) -> Html:
    clips = audit.clips
    name = element("span", f"{clips.clip_ids[place]}, {clips.splits[place]}", class_="muted")
    return clip_card(source, examples[place], element("strong", clips.label(place)), name, *lines)
