"""Write docs/cli.md from the commands themselves; a test fails when the file is stale. Run by `make docs`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from hybridspeech.cli import app

HEAD = """# Command line

Written by `make docs` from the code; edit `hybridspeech/cli/` instead. Each command is a function of the same name
(`hybridspeech preprocess` is `hybridspeech.preprocess.preprocess`). Results go to stdout, progress and errors to stderr.
Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated. `--json` prints the record that the function
returns.
"""


def commands(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """(full name, command) of all commands below a group, in the order of --help."""
    for name in group.list_commands(typer.Context(group)):
        command, full = group.commands[name], f"{prefix} {name}"
        if hasattr(command, "commands"):
            yield from commands(command, full)
        else:
            yield full, command


def describe(name: str, command: Any) -> str:
    """One command as Markdown: usage, what it does, and a table of its arguments and options."""
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    usage = " ".join([name, "[OPTIONS]", *(_argument(parameter) for parameter in arguments)])
    lines = [f"## {name}", "", command.help or "", "", "```", usage, "```", "", "| | default | |", "|---|---|---|"]
    lines += [f"| `{_argument(parameter)}` | {_default(parameter)} | {_text(parameter)} |" for parameter in arguments]
    lines += [
        f"| `{', '.join(parameter.opts)}` | {_default(parameter)} | {_text(parameter)} |"
        for parameter in options
        if "--help" not in parameter.opts
    ]
    return "\n".join(lines) + "\n"


def _argument(parameter: Any) -> str:
    return parameter.name.upper() + ("..." if parameter.nargs == -1 else "")


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    return "" if value is None or value is False or callable(value) else f"`{value}`"


def _text(parameter: Any) -> str:
    return (parameter.help or "").replace("|", "\\|")


def reference() -> str:
    """The whole page."""
    group = typer.main.get_command(app)
    return "\n".join([HEAD, *(describe(name, command) for name, command in commands(group, "hybridspeech"))])


if __name__ == "__main__":
    target = Path(__file__).with_name("cli.md")
    target.write_text(reference(), encoding="utf-8")
    sys.stderr.write(f"wrote {target}\n")
