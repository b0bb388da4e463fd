"""Frozen records: checks of their fields, changes, and their JSON form. Standard library only."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hybridspeech.errors import ConfigError

Record = TypeVar("Record")

OMIT_DEFAULT: Mapping[str, bool] = {"omit_default": True}
"""Metadata of a field that the JSON form has only if it differs from its default, so that earlier digests stay the same."""


def check(condition: bool, message: str) -> None:
    """Raise ConfigError with `message` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ConfigError unless `value` is one of `choices`; `name` is the name of the setting in the message."""
    check(value in choices, f"{name} is {value!r}; choose one of {', '.join(choices)}")


def given_fields(record: Any) -> dict[str, Any]:
    """Fields of a record that are not None."""
    values = {item.name: getattr(record, item.name) for item in dataclasses.fields(record)}
    return {name: value for name, value in values.items() if value is not None}


def override(record: Record, changes: Record) -> Record:
    """Return `record` with those fields of `changes` that are not None; records inside them likewise."""
    changed = given_fields(changes)
    for name, value in changed.items():
        if dataclasses.is_dataclass(value):
            changed[name] = override(getattr(record, name), value)
    return dataclasses.replace(record, **changed)  # type: ignore[type-var]


def to_json(value: Any) -> Any:
    """Return the JSON-able form of a record (dataclass), of containers of records, of paths, or of NumPy-like scalars."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            item.name: to_json(getattr(value, item.name))
            for item in dataclasses.fields(value)
            if _is_stored(value, item)
        }
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value.item() if hasattr(value, "item") else value


def _is_stored(record: Any, item: dataclasses.Field[Any]) -> bool:
    return not item.metadata.get("omit_default") or getattr(record, item.name) != item.default


def from_json(record: type[Record], data: Mapping[str, Any]) -> Record:
    """Return the record of this class from its JSON-able form.

    Raises
    ------
    ConfigError: a field is unknown (written by another version) or missing, or a value has another type or is out of range.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{record.__name__} is {_short(data)}; expected an object")
    hints = typing.get_type_hints(record)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise ConfigError(f"{record.__name__} has no field {_short(unknown[0])}; it was written by another version")
    fields = dataclasses.fields(typing.cast("type[Any]", record))
    may_be_none = {item.name for item in fields if item.default is None}
    required = {item.name for item in fields if item.default is item.default_factory is dataclasses.MISSING}
    if lacking := sorted(required - set(data)):
        raise ConfigError(f"{record.__name__} lacks the field {lacking[0]!r}")
    return record(
        **{
            name: value
            if value is None and name in may_be_none
            else _restore(f"{record.__name__}.{name}", hints[name], value)
            for name, value in data.items()
        }
    )


def _restore(name: str, hint: Any, value: Any) -> Any:
    """Return the value of a field, of the type of its annotation; raise ConfigError if it has another type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and types.NoneType in arguments:
            return None
        choices = [argument for argument in arguments if argument is not types.NoneType]
        return _restore(name, choices[0], value) if len(choices) == 1 else value
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast("type[Any]", hint), value)
    if origin is tuple:
        check(isinstance(value, (list, tuple)), f"{name} is {_short(value)}; expected a list")
        return _restore_items(name, arguments, value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        check(isinstance(value, Mapping), f"{name} is {_short(value)}; expected an object")
        return {key: _restore(name, arguments[1], item) for key, item in value.items()}
    expected = (int, float) if hint is float else hint
    if expected in (int, str, bool) or hint is float:
        is_right = isinstance(value, expected) and isinstance(value, bool) == (hint is bool)
        check(is_right, f"{name} is {_short(value)}; expected {hint.__name__}")
    return value


def _restore_items(name: str, arguments: tuple[Any, ...], value: Sequence[Any]) -> tuple[Any, ...]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_restore(name, arguments[0], item) for item in value)
    check(len(arguments) == len(value), f"{name} is {_short(value)}; expected {len(arguments)} values")
    return tuple(_restore(name, argument, item) for argument, item in zip(arguments, value, strict=True))


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
