"""The report of finished shards as one HTML page: clips by label and split, rejects, settings, an example of each label."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from hybridspeech.config import SPLITS
from hybridspeech.errors import ShardError
from hybridspeech.evaluation.reports.clips import ClipSource, clip_card, clip_grid
from hybridspeech.evaluation.reports.page import (
    Html,
    element,
    facts,
    joined,
    listed,
    section,
    table,
    warning_list,
    write_page,
)
from hybridspeech.records import to_json
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.reader import Example, read_shard

NUM_EXAMPLES = 40
"""Labels of which an example is shown, at most."""


def write_shard_report(
    path: Path,
    source: ClipSource,
    labels: Mapping[str, Mapping[str, int]],
    rejects: Mapping[str, int],
    problems: Sequence[str] | None,
    warnings: Sequence[str] = (),
    more: Sequence[Html] = (),
) -> None:
    """Write the report of a folder of shards.

    Parameters
    ----------
    path : HTML file to write
    labels : number of clips by label and split
    rejects : number of rejected clips by reason
    problems : what the verification found; None without verification
    warnings : what makes a test accuracy misleading
    more : further parts, shown first

    Raises
    ------
    ConfigError: the file can't be written.
    """
    index = source.index
    write_page(
        path,
        f"Shards in {source.shards.name}",
        _head(source),
        warning_list([*(f"Verification: {problem}" for problem in problems or ()), *warnings]),
        *more,
        section("Clips by label and split", _counts(index, labels)),
        section("Rejected clips", _rejects(rejects)),
        section("First clip of each label", *_examples(source)),
        section("Settings", _settings(source, problems)),
    )


def _head(source: ClipSource) -> Html:
    index = source.index
    headline = element(
        "div",
        element("strong", f"{index.num_clips:,}"),
        element("span", f"clips of {len(index.labels)} labels in {len(index.shards)} shards"),
        element("span", f"{index.num_bytes / 1e6:,.1f} MB, {index.num_rejects:,} clips rejected", class_="muted"),
        class_="headline",
    )
    return element("header", element("h1", f"Shards in {source.shards}"), headline)


def _counts(index: ShardIndex, labels: Mapping[str, Mapping[str, int]]) -> Html:
    splits = [split for split in SPLITS if split in index.splits]
    rows = [(label, *(f"{counts.get(split, 0):,}" for split in splits)) for label, counts in labels.items()]
    rows.append(
        (
            "all, with augmented copies" if index.augment_copies else "all",
            *(f"{index.splits[split]:,}" for split in splits),
        )
    )
    return table(("label", *splits), rows)


def _rejects(rejects: Mapping[str, int]) -> Html:
    if not rejects:
        return element("p", "No clip was rejected.")
    return table(("reason", "clips"), [(reason, f"{count:,}") for reason, count in rejects.items()])


def _examples(source: ClipSource) -> list[Html]:
    found: dict[str, Example] = {}
    wanted = source.index.labels[:NUM_EXAMPLES]
    for shard in sorted(source.index.shards, key=lambda shard: SPLITS.index(shard.split)):
        if all(label in found for label in wanted):
            break
        with contextlib.suppress(ShardError):  # the verification names damaged shards
            for example in read_shard(source.shards / shard.name):
                found.setdefault(example.label_name, example)
    cards = [
        clip_card(
            source,
            found[label],
            element("strong", label),
            joined(element("span", found[label].clip_id, class_="muted")),
        )
        for label in wanted
        if label in found
    ]
    return [clip_grid(cards)]


def _settings(source: ClipSource, problems: Sequence[str] | None) -> Html:
    index = source.index
    verified = "not verified" if problems is None else "; ".join(problems) or "all shards are as they were written"
    return facts(
        [
            ("digest", index.digest),
            ("verification", verified),
            ("features", listed(to_json(index.features))),
            ("stored as", listed(to_json(index.shards_config))),
            ("labels and splits", listed(to_json(index.manifest))),
            ("augmented copies", f"{index.augment_copies} of each training clip"),
            ("background noise", f"{len(index.noises)} recordings"),
        ]
    )
