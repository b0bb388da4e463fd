"""A source of many small clips, and the output of an undisturbed run."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.process_faults import SHARDS, SMALL, Undisturbed, files_of, write_clips

from hybridspeech.commands.preprocess import preprocess


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 clips of noise, three words of 100 speakers each. Read only."""
    return write_clips(tmp_path_factory.mktemp("clips"), num_speakers=100)


@pytest.fixture(scope="session")
def undisturbed(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Preprocess the clips on the reference engine, undisturbed."""
    out = tmp_path_factory.mktemp("undisturbed") / "shards"
    made = preprocess(clips, out, features=SMALL, shards=SHARDS, engine="local")
    return Undisturbed(digest=made.digest, num_clips=made.num_clips, num_shards=made.num_shards, files=files_of(out))
