"""Clips that are left out on request: a table with the column `clip_id`, such as the one that `inspect --audit` writes.

Knows nothing of the reasons.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass, replace

from hybridspeech.errors import ManifestError, counted, reason_of
from hybridspeech.manifest.clips import Manifest
from hybridspeech.storage.objects import read_bytes

CLIP_ID, EXCLUDE = "clip_id", "exclude"
YES, NO = ("yes", "true", "1"), ("no", "false", "0")


@dataclass(frozen=True, kw_only=True)
class Exclusions:
    """Ids of clips to leave out, and where they are listed."""

    location: str
    clip_ids: frozenset[str]


def read_exclusions(location: str) -> Exclusions:
    """Read a CSV table: the clips of all rows, but for those whose column `exclude`, if there is one, says no.

    Raises
    ------
    ManifestError: the table can't be read, has no column `clip_id`, or a row has no id or neither yes nor no.
    """
    try:
        text = read_bytes(location).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = list(reader.fieldnames or ())
        if CLIP_ID not in columns:
            raise ManifestError(
                f"{location}: no column {CLIP_ID!r} (columns: {', '.join(columns) or 'none'}); expected a table as "
                "`inspect --audit` writes it"
            )
        ids = {row[CLIP_ID] for row in reader if _is_excluded(location, reader.line_num, row)}
    except FileNotFoundError:
        raise ManifestError(f"{location}: no such file; expected a table as `inspect --audit` writes it") from None
    except (OSError, ValueError, csv.Error) as error:
        raise ManifestError(f"{location}: not a readable CSV table ({reason_of(error)})") from error
    return Exclusions(location=location, clip_ids=frozenset(ids))


def _is_excluded(location: str, line: int, row: dict[str, str]) -> bool:
    if not row[CLIP_ID] or None in row:
        raise ManifestError(f"{location}: line {line} has no {CLIP_ID}, or more fields than the header; correct it")
    value = (row.get(EXCLUDE) if EXCLUDE in row else YES[0]) or ""
    if value.strip().lower() not in (*YES, *NO):
        raise ManifestError(f"{location}: line {line}: {EXCLUDE} is {value!r}; expected yes or no")
    return value.strip().lower() in YES


def without_excluded(manifest: Manifest, exclusions: Exclusions) -> tuple[Manifest, tuple[str, ...]]:
    """Return the manifest without these clips, and the ids that it had, sorted.

    The labels stay, so that networks for the shards before and after have the same ones.

    Raises
    ------
    ManifestError: no clip is left.
    """
    found = sorted(manifest.clips.with_ids(exclusions.clip_ids).column(CLIP_ID))
    clips = manifest.clips.without_ids(found)
    if not len(clips):
        raise ManifestError(f"{exclusions.location}: excludes all {counted(len(found), 'clip')}; correct the table")
    return replace(manifest, clips=clips), tuple(found)


def describe_excluded(exclusions: Exclusions, excluded: Collection[str]) -> str:
    """Return a sentence for the user."""
    unknown = len(exclusions.clip_ids) - len(excluded)
    are = "is" if unknown == 1 else "are"
    more = f"; {counted(unknown, 'other clip')} that it lists {are} not in the source" if unknown else ""
    return f"left out {counted(len(excluded), 'clip')} that {exclusions.location} excludes{more}"
