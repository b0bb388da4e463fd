"""Command line options from settings records: one option per field, in named panels, and `--config` for all of them.

`with_settings` is the one place that turns options into records. Knows nothing of what the settings mean.
"""

from __future__ import annotations

import collections.abc
import copy
import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer

from hybridspeech.cli.config_file import read_config
from hybridspeech.errors import ConfigError

COMMON, INPUT, FEATURES, MODEL, OPTIMIZATION, AUGMENTATION, DETECTION, CLUSTER, FAULTS, OUTPUT = PANELS = (
    "Options",
    "Input",
    "Features",
    "Model",
    "Optimization",
    "Augmentation",
    "Detection",
    "Cluster",
    "Fault tolerance",
    "Output",
)
"""Panels of a help text, in the order in which they are shown. The first is also that of --help."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """The option of one field of a record.

    Parameters
    ----------
    help : help text, without the default
    panel : one of PANELS
    name : parameter name of the option, if it is not that of the field
    default : description of the default, where the field is None
    flags : the option's names, if they do not follow from `name`
    metavar : stands for the value in the help. A mapping whose metavar has a comma takes several pairs, with commas
    """

    help: str
    panel: str
    name: str | None = None
    default: str | None = None
    flags: tuple[str, ...] = ()
    metavar: str | None = None


Settings = Mapping[type, Mapping[str, Setting]]
"""Options by record and field. A field without an entry is not an option."""

Command = Callable[..., None]
OWN_NETWORK = "hybridspeech.own_network"
"""Key of the context under which `--config` keeps the module:function that a plan names."""


def argument(metavar: str, help: str) -> Any:
    """Return the Typer argument of one parameter."""
    return typer.Argument(metavar=metavar, help=help)


def option(help: str, panel: str, *flags: str, default: str | None = None, **more: Any) -> Any:
    """Return the Typer option of one parameter; `default` describes a default that is None."""
    return typer.Option(*flags, help=help, rich_help_panel=panel, show_default=default or True, **more)


def with_settings(
    settings: Settings,
    *,
    common: Sequence[str] = (),
    omit: Sequence[str] = (),
    choices: Mapping[str, tuple[str, ...]] | None = None,
    helps: Mapping[str, str] | None = None,
) -> Callable[[Command], Command]:
    """Return a decorator that replaces each parameter that is a record by one option per field of the record.

    The decorated command still receives the records. It gets the option `--config` besides.

    Parameters
    ----------
    settings : the records, and the options of their fields
    common : parameter names of the options in the first panel, in this order
    omit : parameter names of the options that this command does not have, or "parameter.field" of the command
    choices : allowed values of an option, where they are fewer than those of the field
    helps : help texts of options whose text differs in this command
    """

    def decorate(command: Command) -> Command:
        parameters: list[inspect.Parameter] = []
        records: dict[str, type] = {}
        used: dict[type, Mapping[str, Setting]] = {}
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            record = parameter.annotation
            if record not in settings:
                parameters.append(parameter)
                continue
            records[parameter.name] = record
            used[record] = {
                field: dataclasses.replace(setting, help=(helps or {}).get(setting.name or field, setting.help))
                for field, setting in settings[record].items()
                if not {setting.name or field, f"{parameter.name}.{field}"} & set(omit)
            }
            parameters += [_parameter(record, field, setting, choices or {}) for field, setting in used[record].items()]

        @functools.wraps(command)
        def with_options(context: typer.Context, config: Path | None, **values: Any) -> None:
            _check_network(context, config, values.get("model"))
            made = {
                parameter: record(
                    **{
                        field: _value(record, field, values.pop(setting.name or field), setting)
                        for field, setting in used[record].items()
                    }
                )
                for parameter, record in records.items()
            }
            command(**values, **made)

        ordered = _in_panels([*parameters, _config_parameter(used)], common)
        ordered.insert(0, _keyword("context", typer.Context, inspect.Parameter.empty))
        with_options.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
        with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in ordered}
        return with_options

    return decorate


def _parameter(record: type, field: str, setting: Setting, choices: Mapping[str, tuple[str, ...]]) -> inspect.Parameter:
    """Return the option of one field. A mapping is given as NAME=VALUE, any number of times."""
    name, flags = setting.name or field, setting.flags
    kind: Any = Literal[choices[name]] if name in choices else typing.get_type_hints(record)[field]
    default = _default_of(record, field)
    more: dict[str, Any] = {"metavar": setting.metavar} if setting.metavar else {}
    if _is_mapping(record, field):
        kind, default, more = list[str], None, {"metavar": setting.metavar or "NAME=VALUE"}
    elif kind is bool:
        default = bool(default)
        flags = flags or (f"--{name.replace('_', '-')}",)  # no --no-... beside it
    info = option(setting.help, setting.panel, *flags, default=setting.default, **more)
    return _keyword(name, Annotated[Optional[kind] if default is None else kind, info], default)  # noqa: UP045


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _field(record: type, name: str) -> Any:
    return record.__dataclass_fields__[name]  # type: ignore[attr-defined]


def _default_of(record: type, field: str) -> Any:
    default = _field(record, field).default
    return None if default is dataclasses.MISSING else default


def _is_mapping(record: type, field: str) -> bool:
    return typing.get_origin(typing.get_type_hints(record)[field]) is collections.abc.Mapping


def _value(record: type, field: str, value: Any, setting: Setting) -> Any:
    """Return what a field gets for the value of its option: a flag that was not given leaves the field's default."""
    if _is_mapping(record, field):
        name = (setting.name or field).replace("_", "-")
        items = value or []
        if setting.metavar and "," in setting.metavar:
            items = [part.strip() for item in items for part in item.split(",") if part.strip()]
        return _pairs(items, name)
    return _default_of(record, field) if value is False else value


_EXAMPLES = {"conf": "spark.local.dir=/data/tmp", "columns": "path=file,label=word"}


def _pairs(items: Sequence[str], option: str) -> dict[str, str]:
    """Return NAME=VALUE items as a mapping.

    Raises
    ------
    ConfigError: an item has no '='.
    """
    pairs = {}
    for item in items:
        name, separator, value = item.partition("=")
        if not separator or not name:
            raise ConfigError(f"--{option} {item!r}: expected NAME=VALUE, e.g. --{option} {_EXAMPLES[option]}")
        pairs[name] = value
    return pairs


def _config_parameter(used: Settings) -> inspect.Parameter:
    def load(context: typer.Context, value: Path | None) -> Path | None:
        if value is not None:
            options = {item.name: max(item.opts, key=len) for item in context.command.params if item.name}
            given = read_config(value, used, options)
            if value.suffix == ".json" and ":" in str(given.get("model")):
                context.meta[OWN_NETWORK] = given.pop("model")
            context.default_map = given
        return value

    info = option(
        "TOML file with settings; its keys are long option names. Or index.json of shards, or plan.json of a run, to "
        "repeat their settings. Options on the command line override the file.",
        OUTPUT,
        "--config",
        is_eager=True,
        callback=load,
        metavar="FILE",
    )
    return _keyword("config", Annotated[Optional[Path], info], None)  # noqa: UP045


def _check_network(context: typer.Context, config: Path | None, model: str | None) -> None:
    """A file that a verb has written is data: it does not decide which code is imported.

    Raises
    ------
    ConfigError: the file names a network of the user's own, and the command line names none.
    """
    if model is None and (named := context.meta.get(OWN_NETWORK)):
        raise ConfigError(f"{config}: its network is the function {named}; name it again: --model {named}")


def _in_panels(parameters: Sequence[inspect.Parameter], common: Sequence[str]) -> list[inspect.Parameter]:
    """Return arguments, then options by panel; the options in `common` are moved to the first panel."""
    order = list(common)

    def rank(parameter: inspect.Parameter) -> tuple[int, int]:
        if parameter.name in order:
            return 1, order.index(parameter.name)
        info = parameter.annotation.__metadata__[0]
        panel = getattr(info, "rich_help_panel", None)
        return (0, 0) if isinstance(info, typer.models.ArgumentInfo) else (2 + PANELS.index(panel or OUTPUT), 0)

    moved = []
    for parameter in sorted(parameters, key=rank):
        if parameter.name in order:
            kind, info = typing.get_args(parameter.annotation)
            parameter = _keyword(parameter.name, Annotated[kind, _in_common(info)], parameter.default)
        moved.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    return moved


def _in_common(info: Any) -> Any:
    moved = copy.copy(info)
    moved.rich_help_panel = COMMON
    return moved
