"""Files for `--config`: TOML whose keys are long option names, or the JSON file that a verb has written.

Knows nothing of what the settings mean; the command line checks their values.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridspeech.config import AugmentConfig, ClusterConfig, FeatureConfig
from hybridspeech.errors import ConfigError
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.models.config import ModelConfig
from hybridspeech.shards.config import ShardConfig
from hybridspeech.training.config import FitConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from hybridspeech.cli.options import Setting, Settings

RECORDS: Mapping[str, type] = {
    "features": FeatureConfig,
    "manifest": ManifestConfig,
    "shards_config": ShardConfig,
    "augment": AugmentConfig,
    "model": ModelConfig,
    "fit": FitConfig,
    "cluster": ClusterConfig,
}
"""Records in index.json and plan.json, by their keys."""
VALUES = ("backend", "augment_copies", "memory_per_worker", "max_rejects")
"""Keys of index.json and plan.json that are options themselves."""
LOCATIONS: Mapping[str, str] = {"init_from": "run", "rir": "folder", "negatives": "source"}
"""Records in plan.json of which an option has one value, and the key of this value."""
GROUPS = ("preprocessing",)
"""Keys of plan.json under which there are more records and values."""
OF_EARLIER_VERSIONS: Mapping[str, Mapping[str, Any]] = {"model": {"standardize": "none"}}
"""Values of fields that plans of earlier versions do not have, and whose default has another value."""
NOT_SETTINGS = ("config", "help")


def read_config(path: Path, settings: Settings, options: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of options, by parameter name, that a file gives.

    Parameters
    ----------
    settings : the records of the command and the options of their fields, for JSON files
    options : all long options of the command, by parameter name

    Raises
    ------
    ConfigError: the file can't be read, or has a key that is not an option of the command.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return dict(_from_json(json.loads(text), settings, options))
        data = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; expected a TOML file, index.json or plan.json") from error
    except (ValueError, RecursionError) as error:  # of json, tomllib and the UTF-8 decoder
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ConfigError(f"{path}: is not {kind} ({error})") from error
    return dict(_from_toml(path, data, options))


def _from_toml(path: Path, data: Mapping[str, Any], options: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    known = {flag.removeprefix("--"): name for name, flag in options.items() if name not in NOT_SETTINGS}
    for key, value in data.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = (
                f"; did you mean {close[0]!r}?" if close else "; the keys are the long names of the options, without --"
            )
            raise ConfigError(f"{path}: unknown key {key!r}{hint}")
        if isinstance(value, Mapping):
            value = [f"{name}={item}" for name, item in value.items()]
        yield known[key], value


def _from_json(data: Any, settings: Settings, options: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """Yield the settings of an index or a plan that the command has options for."""
    if not isinstance(data, Mapping) or "features" not in data:
        raise ValueError("neither the index of shards nor the plan of a run")
    yield from _from_group(data, settings, options)


def _from_group(data: Mapping[str, Any], settings: Settings, options: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    unused = () if data.get("augment_copies", 1) else ("augment",)  # an index without copies has no augmentation
    for key, value in data.items():
        if key in VALUES and key in options:
            yield key, value
        elif key in LOCATIONS and key in options and isinstance(value, Mapping):
            if isinstance(place := value.get(LOCATIONS[key]), str):
                yield key, place
        elif isinstance(value, Mapping) and key in GROUPS:
            yield from _from_group(value, settings, options)
        elif isinstance(value, Mapping) and key in RECORDS and key not in unused:
            if RECORDS[key] in settings:
                yield from _from_record(settings[RECORDS[key]], {**OF_EARLIER_VERSIONS.get(key, {}), **value})
            elif key in options and value.get("kind"):  # `train` has one option for its features
                yield key, value["kind"]
            yield from _from_group(value, settings, options)


def _from_record(fields: Mapping[str, Setting], data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for field, value in data.items():
        if field in fields and value is not None:
            name = fields[field].name or field
            yield name, [f"{key}={item}" for key, item in value.items()] if isinstance(value, Mapping) else value
