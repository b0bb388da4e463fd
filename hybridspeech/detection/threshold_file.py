"""The thresholds that a run carries: RUN/model/thresholds.json. Knows nothing of how they were chosen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridspeech.detection.config import DetectionConfig, Thresholds
from hybridspeech.errors import ConfigError, RunError
from hybridspeech.records import from_json, to_json
from hybridspeech.storage.copies import fetched
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import write_bytes
from hybridspeech.training.run_directory import RunDirectory


@dataclass(frozen=True, kw_only=True)
class StoredThresholds:
    """Thresholds of a run, and the settings with which they were chosen.

    Parameters
    ----------
    target_fa_per_hour : highest rate of false accepts on the sound that they were chosen on
    hours : duration of this sound without target words, in hours
    """

    thresholds: Thresholds
    detection: DetectionConfig
    target_fa_per_hour: float
    hours: float

    def text(self) -> str:
        """Return the content of the file."""
        return json.dumps(to_json(self), indent=2) + "\n"


def read_thresholds(path: Path) -> StoredThresholds | None:
    """Read the thresholds of a run; None if none were chosen.

    Raises
    ------
    RunError: the file is damaged.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return from_json(StoredThresholds, content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, ConfigError) as error:
        raise RunError(f"{path}: can't be read ({error}); remove it, or run evaluate --stream again") from error


def stored_in(run: str | Path) -> StoredThresholds | None:
    """Return the thresholds of a run, a local path or a URL; None if none were chosen.

    Raises
    ------
    RunError: the file is damaged.
    """
    place = RunDirectory("").thresholds_path
    with fetched(run, place.as_posix()) as local_run:
        return read_thresholds(local_run / place)


def store_thresholds(run: str | Path, stored: StoredThresholds) -> None:
    """Write the thresholds of a run, a local path or a URL."""
    write_bytes(join(run, RunDirectory("").thresholds_path.as_posix()), stored.text())


def settings_of(
    run: str | Path, thresholds: Thresholds | None, detection: DetectionConfig | None
) -> tuple[Thresholds, DetectionConfig]:
    """Return what is given, else what is stored in the run, else the defaults.

    Raises
    ------
    RunError: the stored thresholds can't be read.
    """
    stored = stored_in(run)
    if stored is None:
        return thresholds or Thresholds(), detection or DetectionConfig()
    return thresholds or stored.thresholds, detection or stored.detection
