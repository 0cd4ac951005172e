"""The command's root: commands are loaded when they are used, errors say what, where and what next."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from typing import Any

import click

_COMMANDS = {
    "alerts": "metrics",
    "approve": "control",
    "config": "machine",
    "control": "control",
    "demo": "demo",
    "diff": "runs",
    "doctor": "machine",
    "journal": "journal",
    "lab": "lab",
    "lease": "control",
    "list": "runbooks",
    "panel": "lab",
    "pid1": "pid1",
    "provision": "provision",
    "query": "metrics",
    "recover": "recovery",
    "report": "runs",
    "rollout": "rollout",
    "run": "runbooks",
    "runs": "runs",
    "schedule": "schedule",
    "serve": "serve",
    "show": "runs",
    "slo": "metrics",
    "sources": "metrics",
    "undo": "recovery",
    "version": "machine",
    "warm": "warm",
    "watchdog": "recovery",
}


class _Lazy(click.Group):
    """A group whose commands are imported by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All of them, sorted."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one that is wanted."""
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"sretoolkit.cli.{_COMMANDS[cmd_name]}")
        found: click.Command = getattr(module, f"{cmd_name}_command")
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Say the nearest name to one that does not exist."""
        from difflib import get_close_matches

        name = args[0] if args else ""
        if name not in _COMMANDS and not name.startswith("-"):
            near = get_close_matches(name, _COMMANDS, n=1)
            ctx.fail(f"no such command {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def root(debug: bool) -> None:
    """Runbooks that are typed, planned, gated, undoable and on record.

    Exit codes: 0 ok, 1 failed, 2 bad input, 3 gate failed or inconclusive, 4 needs approval, 130 and 143 for signals.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    if arguments is None and sys.argv[1:2] == ["run"]:
        from sretoolkit.cli.warm import handed_over

        if (done := handed_over(sys.argv[1:])) is not None:
            sys.exit(done)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a character is shown its escape
            stream.reconfigure(errors="backslashreplace")
    debug = "--debug" in (sys.argv if arguments is None else arguments)
    try:
        code = root.main(args=arguments, prog_name="sretoolkit", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        code = 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the reader is gone; nothing may be written at exit
        code = 0
    except Exception as error:
        code = _explain(error, debug=debug)
    sys.exit(code if isinstance(code, int) else 0)


def _explain(error: Exception, *, debug: bool) -> int:
    from sretoolkit.errors import SREToolkitError
    from sretoolkit.report import plain
    from sretoolkit.secrets import redaction

    if debug:
        import traceback

        text = "".join(traceback.format_exception(error))
    elif isinstance(error, SREToolkitError):
        text = f"error: {error}"
    else:
        text = f"error: {type(error).__name__}: {error}\n  next: this is a defect of sretoolkit; --debug shows where"
    for line in redaction(text).splitlines():
        click.echo(plain(line), err=True)
    return error.exit_code if isinstance(error, SREToolkitError) else 1


def json_option(command: Any) -> Any:
    """``--json``, wherever a script would want it."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)
