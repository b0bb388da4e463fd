"""Room impulse responses of a training: planned by the driver, copied into the run directory, read by every rank.

A rank on any host reaches the run directory, and perhaps not the folder of the responses; a restart or a resume does not need
that folder. Knows nothing of clusters.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from hybridspeech.audio.room_responses import find_responses, read_responses
from hybridspeech.config import AugmentConfig
from hybridspeech.errors import RunError
from hybridspeech.shards.checksums import checksum_of, is_intact
from hybridspeech.storage.locations import normalized
from hybridspeech.training.plan import RoomResponses, TrainPlan
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.stored_run import check_same_source, stored_plan


def plan_responses(
    rir: str | Path | None, run: str | Path, *, resume: bool, augment: AugmentConfig | None, sample_rate_hz: int
) -> RoomResponses | None:
    """Return the record of the room impulse responses of a training; None if there is no reverberation.

    Parameters
    ----------
    rir : folder or URL of the responses
    run : the new run. With `resume`, its plan decides, and `rir` is not read
    augment : its `rir_frequency` of 0 switches reverberation off

    Raises
    ------
    AudioError, ConfigError: as `find_responses` and `read_responses`. RunError: `run` was started with other responses.
    """
    if augment and augment.rir_frequency == 0:
        return None
    before = stored_plan(run) if resume else None
    if before:
        started_with = before.rir.folder if before.rir else ""
        check_same_source(rir, started_with, run=run, name="room impulse responses", option="--rir")
        return before.rir
    if rir is None:
        return None
    folder = normalized(rir)
    paths = find_responses(folder)
    return RoomResponses(
        folder=folder, count=len(paths), checksum=checksum_of(_content(read_responses(paths, sample_rate_hz)))
    )


def copy_responses(responses: RoomResponses, sample_rate_hz: int, directory: RunDirectory) -> None:
    """Write the responses into a new run; the file appears whole.

    Raises
    ------
    RunError: they have changed since `plan_responses`.
    """
    content = _content(read_responses(find_responses(responses.folder), sample_rate_hz))
    if checksum_of(content) != responses.checksum:
        raise RunError(f"{responses.folder}: its files have changed since this training was planned; start it again")
    target = directory.responses_path
    target.parent.mkdir(exist_ok=True)
    draft = target.with_name(f".{target.name}.tmp")
    draft.write_bytes(content)
    draft.replace(target)


def load_responses(plan: TrainPlan, directory: RunDirectory) -> np.ndarray:
    """Return the responses of a training; every rank calls it.

    Returns
    -------
    float32 [shape=(count, length)], as `read_responses`; count is 0 without reverberation

    Raises
    ------
    RunError: the file is missing or damaged.
    """
    if plan.rir is None:
        return np.zeros((0, 0), np.float32)
    path = directory.responses_path
    if not path.is_file() or not is_intact(path, plan.rir.checksum):
        raise RunError(
            f"{path}: the copy of the room impulse responses is missing or damaged; start again with --overwrite"
        )
    responses: np.ndarray = np.load(path, allow_pickle=False)
    return responses


def _content(responses: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, responses.astype("<f4", copy=False), allow_pickle=False)
    return buffer.getvalue()
