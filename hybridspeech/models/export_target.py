"""Where an exported model is written: checks before, and publication after. Knows nothing of runs and networks."""

from __future__ import annotations

from pathlib import Path

from hybridspeech.errors import ConfigError, OutputExistsError
from hybridspeech.models.export_formats import FORMATS
from hybridspeech.storage.objects import is_file, list_names


def check_target(target: Path, format: str, overwrite: bool) -> None:
    """Check that a local path may be written.

    Raises
    ------
    OutputExistsError: it exists. ConfigError: the format is unknown, or the path has a wrong name or is no earlier export.
    """
    if format not in FORMATS:
        raise ConfigError(f"format {format!r} is unknown; choose one of {', '.join(FORMATS)}")
    suffix = FORMATS[format].suffix
    if suffix and target.suffix != suffix:
        raise ConfigError(f"{target}: a {format} export is a file whose name ends in {suffix}")
    if not target.exists():
        return
    if not overwrite:
        raise OutputExistsError(f"{target}: exists already; choose another name, or add --overwrite")
    ours = target.is_file() if suffix else (target / FORMATS[format].main_file).is_file()
    if not ours:
        raise ConfigError(f"{target}: is not a {format} export, so it is not overwritten; choose another name")


def check_url(url: str, format: str, overwrite: bool) -> None:
    """Check that a URL may be written; errors as `check_target`."""
    existing = [url] if is_file(url) else list_names(url)
    if existing and not overwrite:
        raise OutputExistsError(f"{url}: exists already; choose another name, or add --overwrite")
    if existing and existing != [url] and FORMATS[format].main_file not in existing:
        raise ConfigError(f"{url}: is not a {format} export, so it is not overwritten; choose another name")


def publish(written: Path, target: Path, staging: Path) -> None:
    """Rename the export to its final name. A folder can't be renamed over another, so an earlier one is moved away first."""
    if target.is_dir():
        target.rename(staging / "replaced")
    written.replace(target)


def size_of(path: Path) -> int:
    """Return the number of bytes of a file, or of all files of a folder."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)
