"""Names of clips, and their number by label and split, from the files beside the shards.

Knows nothing of the format of shards.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

from hybridspeech.config import SPLITS
from hybridspeech.errors import ConfigError, ShardError, reason_of
from hybridspeech.manifest.clips import copy_suffix
from hybridspeech.manifest.columns.clip_names import ClipNames
from hybridspeech.manifest.columns.coded_texts import CodedTexts
from hybridspeech.manifest.columns.text_columns import concat_columns
from hybridspeech.records import from_json
from hybridspeech.shards.index import MANIFEST_NAME, REJECTS_NAME, ShardIndex
from hybridspeech.shards.rejects import Reject
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import read_bytes

COLUMNS = ("clip_id", "label_name", "speaker", "split")


def read_rejects(folder: str | Path) -> dict[str, str]:
    """Read the reason of each rejected clip by its id; empty if there is no file."""
    path = join(folder, REJECTS_NAME)
    try:
        rejects = [from_json(Reject, json.loads(line)) for line in read_bytes(path).decode().splitlines()]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, RecursionError, ConfigError) as error:
        raise ShardError(f"{path}: can't be read ({reason_of(error)}); preprocess again") from error
    return {reject.clip_id: reject.reason for reject in rejects}


def read_clip_names(folder: str | Path) -> ClipNames:
    """Read the names of all clips that are not rejected, in the order of the manifest.

    Raises
    ------
    ShardError: manifest.parquet or rejects.jsonl can't be read.
    """
    import pyarrow.parquet

    rejects = read_rejects(folder)
    path = join(folder, MANIFEST_NAME)
    try:
        content = io.BytesIO(read_bytes(path))
        table = pyarrow.parquet.read_table(content, columns=list(COLUMNS), read_dictionary=list(COLUMNS[1:]))
        columns = {name: CodedTexts.of_arrow(table[name].combine_chunks()) for name in COLUMNS[1:]}
        ids = concat_columns(table["clip_id"].chunks, pyarrow.large_string())
        ids.validate(full=True)
    except (OSError, ValueError, KeyError, pyarrow.ArrowException) as error:
        raise ShardError(f"{path}: can't be read ({reason_of(error)}); preprocess again") from error
    names = ClipNames(clip_id=ids, **columns)
    return names.where(names.holds(lambda clip_id: clip_id not in rejects)) if rejects else names


def without_copies(clips: ClipNames, augment_copies: int) -> ClipNames:
    """Return the clips that are not augmented copies."""
    endings = tuple(map(copy_suffix, range(1, augment_copies + 1)))
    if not endings:
        return clips
    is_copy = clips.holds(lambda clip_id: clip_id.endswith(endings)) & clips.split.is_in(("training",))
    return clips.where(~is_copy)


def count_labels(folder: str | Path, index: ShardIndex) -> dict[str, dict[str, int]]:
    """Count the clips by label and split. It reads the manifest, because reading all shards takes minutes."""
    clips = read_clip_names(folder)
    counts = {split: clips.where(clips.split.is_in((split,))).label_name.counts() for split in index.splits}
    splits = [split for split in SPLITS if split in index.splits]
    return {label: {split: counts[split][label] for split in splits} for label in index.labels}
