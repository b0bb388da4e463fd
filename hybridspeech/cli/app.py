"""The Typer application: commands, errors, signals and exit codes."""

from __future__ import annotations

import errno
import re
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from hybridspeech import __version__
from hybridspeech.cli.terminal import print_text
from hybridspeech.errors import HybridspeechError
from hybridspeech.processes.standard_streams import open_closed_streams

EPILOG = (
    "Every command has --help and --json. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated."
)
ORDER = (
    "demo",
    "data",
    "preprocess",
    "inspect",
    "train",
    "run",
    "evaluate",
    "predict",
    "listen",
    "export",
    "doctor",
    "pack",
)
"""Order of the commands in --help: that of their use."""

FILE_ERRORS = {
    errno.ENOSPC: "free space there, or choose another location",
    errno.EDQUOT: "free space there, or choose another location",
    errno.EROFS: "choose another location",
    errno.EACCES: "change the permissions, or choose another location",
}
"""System errors that any command may meet, and the remedy."""

RESUME = "finished work is kept; the same command with --resume continues"
INTERRUPTED = {
    "listen": "the events so far are printed",
    "preprocess": RESUME,
    "train": RESUME,
    "run": RESUME,
    "demo": "start again with --overwrite",
}


class Terminated(KeyboardInterrupt):
    """SIGTERM, which batch systems send first. It ends a command as Ctrl-C does."""


def _terminate(number: int, frame: object) -> None:
    raise Terminated


class Command(TyperCommand):
    """A command whose help shows arguments, then the options in their panels, wrapped between words at any width."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section per panel."""
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                is_argument = parameter.param_type_name == "argument"
                panel = "Arguments" if is_argument else getattr(parameter, "rich_help_panel", None) or "Options"
                name, text = record[0].replace("<list[Path]>", "<path> ..."), record[1]
                panels.setdefault(panel, []).append((name, re.sub(r"\[default: \((.*)\)\]", r"[default: \1]", text)))
        for panel, records in panels.items():
            if records:
                with formatter.section(panel):
                    formatter.write_dl(records)


class Commands(TyperGroup):
    """Prints our own errors and FILE_ERRORS as one line. Any other exception is a bug and keeps its traceback."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands, in the order of ORDER."""
        return sorted(super().list_commands(ctx), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))

    def invoke(self, ctx: Any) -> Any:
        """Run a command; the package docstring lists the exit codes."""
        try:
            return super().invoke(ctx)
        except HybridspeechError as error:
            sys.stderr.write(f"error: {error}\n")
            raise typer.Exit(error.exit_code) from error
        except OSError as error:
            if error.errno not in FILE_ERRORS:
                raise
            where = f"{error.filename}: " if error.filename else ""
            sys.stderr.write(f"error: {where}{error.strerror}; {FILE_ERRORS[error.errno]}\n")
            raise typer.Exit(HybridspeechError.exit_code) from error
        except KeyboardInterrupt as error:
            advice = INTERRUPTED.get(ctx.invoked_subcommand or "", "run the same command again")
            by_signal = isinstance(error, Terminated)
            sys.stderr.write(f"{'terminated' if by_signal else 'interrupted'}; {advice}\n")
            raise typer.Exit(128 + (signal.SIGTERM if by_signal else signal.SIGINT)) from error


app = typer.Typer(
    name="hybridspeech",
    cls=Commands,
    help="Train spoken-word classifiers from folders of recordings, on Spark, TensorFlowOnSpark and Ray.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(name="data", help="Get recordings.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app)


def _version(value: bool) -> None:
    if value:
        print_text(f"hybridspeech {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


def main() -> None:
    """Entry point of the command."""
    open_closed_streams()
    signal.signal(signal.SIGTERM, _terminate)
    app(prog_name="hybridspeech")
