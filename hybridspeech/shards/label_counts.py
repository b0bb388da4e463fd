"""Counts the clips of each label and split from the files beside the shards. Knows nothing of the format of shards."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

from hybridspeech.config import SPLITS, from_json
from hybridspeech.errors import ConfigError, ShardError, reason_of
from hybridspeech.shards.index import MANIFEST_NAME, REJECTS_NAME, ShardIndex
from hybridspeech.shards.rejects import Reject
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import read_bytes

COLUMNS = ["clip_id", "label_name", "split"]


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


def count_labels(folder: str | Path, index: ShardIndex) -> dict[str, dict[str, int]]:
    """Count the clips by label and split. It reads the manifest, because reading all shards takes minutes."""
    import pyarrow.parquet

    rejects = read_rejects(folder)
    path = join(folder, MANIFEST_NAME)
    try:
        table = pyarrow.parquet.read_table(io.BytesIO(read_bytes(path)), columns=COLUMNS)
        columns = [table[name].cast("string").to_pylist() for name in COLUMNS]
    except (OSError, ValueError, KeyError, pyarrow.ArrowException) as error:
        raise ShardError(f"{path}: can't be read ({reason_of(error)}); preprocess again") from error
    clips = zip(*columns, strict=True)
    counts = Counter((label, split) for clip_id, label, split in clips if clip_id not in rejects)
    splits = [split for split in SPLITS if split in index.splits]
    return {label: {split: counts[label, split] for split in splits} for label in index.labels}
