"""How the command line shows things: tables, JSON, states in colour."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click

from sretoolkit.report import plain
from sretoolkit.secrets import redaction

_COLOURS = {
    "completed": "green", "planned": "blue", "running": "cyan", "awaiting_approval": "yellow", "whole": "green",
    "unsigned": "yellow", "unknown-key": "yellow", "pruned": "blue", "active": "cyan", "ok": "green", "done": "green",
    "passed": "green", "already": "green", "undone": "yellow", "skipped": "blue", "stopped": "yellow",
}  # fmt: skip


def print_json(data: Any) -> None:
    """One JSON document."""
    click.echo(redaction(json.dumps(data, indent=2, default=str)))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str) -> None:
    """A table that fits the terminal; plain text when nobody looks."""
    if not rows:
        click.echo(empty)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 240)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(redaction(plain(cell)), style=_COLOURS.get(str(cell), "")) for cell in row))
    console.print(table)


@contextmanager
def unread() -> Iterator[None]:
    """A reader that is gone (a closed pipe, a terminal that hung up) does not change how the command ends."""
    try:
        yield
        sys.stdout.flush()
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - nothing may be written at exit


def print_text(text: str) -> None:
    """Text of any origin, line by line, with no control character that could reach the terminal."""
    for line in redaction(text).splitlines():
        click.echo(plain(line.expandtabs()))


def local_time(iso: str | None) -> str:
    """An ISO time in the reader's zone, to the second."""
    return datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M:%S") if iso else ""


def state_text(state: str) -> str:
    """A state in its colour."""
    return click.style(state.replace("_", " "), fg=_COLOURS.get(state, "red"), bold=True)
