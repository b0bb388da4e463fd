"""Write docs/cli.md from the commands themselves; a test fails when the file is stale. Run by `make docs`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from hybridspeech.cli import app

HEAD = """# Command line

This page is written by `make docs`; edit `hybridspeech/cli/` instead. Each command is a function of the same name:
`hybridspeech preprocess` is `hs.preprocess` after `import hybridspeech as hs`. Results are printed on stdout, progress and
errors on stderr. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated. `--json` prints the record
that the function returns. `hybridspeech --install-completion` installs completion for your shell.

## Settings from a file

`--config FILE.toml` sets any options of a command. The keys are the long names of the options without `--`; flags are
`true`; a repeated `NAME=VALUE` option is a table:

```toml
# train.toml
num-workers = 2
epochs = 30
learning-rate = 0.003
class-weights = true

[conf]
"spark.local.dir" = "/data/tmp"
```

Options on the command line override the file. An unknown key is an error. `--config SHARDS/index.json` (preprocess) and
`--config RUN/plan.json` (train, run) repeat the settings of existing shards or of an existing run.
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
    lines = [f"## {name}", "", _paragraphs(command.help or ""), "", "```", usage, "```", ""]
    lines += _table("Arguments", [(_argument(parameter), parameter) for parameter in arguments])
    panels: dict[str, list[tuple[str, Any]]] = {}
    for parameter in options:
        panel = getattr(parameter, "rich_help_panel", None) or "Options"
        panels.setdefault(panel, []).append((", ".join(parameter.opts), parameter))
    for panel, rows in panels.items():
        lines += _table(panel, rows)
    return "\n".join(lines)


def _table(title: str, rows: list[tuple[str, Any]]) -> list[str]:
    """A table of arguments or options with their defaults."""
    if not rows:
        return []
    lines = [f"| {title} | default | description |", "|---|---|---|"]
    return [*lines, *(f"| `{name}` | {_default(item)} | {_text(item)} |" for name, item in rows), ""]


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _argument(parameter: Any) -> str:
    name = parameter.name.upper() + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    value = parameter.default
    return "" if value is None or value is False or callable(value) else f"`{value}`"


def _text(parameter: Any) -> str:
    name = parameter.get_help_record(typer.Context(typer.main.get_command(app)))[0]
    choices = re.search(r"<(.*\|.*)>", name)
    listed = " One of " + ", ".join(f"`{choice}`" for choice in choices[1].split("|")) + "." if choices else ""
    return (parameter.help or "").replace("|", "\\|") + listed


def reference() -> str:
    """The whole page."""
    group = typer.main.get_command(app)
    return "\n".join([HEAD, *(describe(name, command) for name, command in commands(group, "hybridspeech"))])


if __name__ == "__main__":
    target = Path(__file__).with_name("cli.md")
    target.write_text(reference(), encoding="utf-8")
    sys.stderr.write(f"wrote {target}\n")
