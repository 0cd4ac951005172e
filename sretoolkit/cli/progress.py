"""Watching a run: a line a cell and a step; on a terminal also what runs now, and for how long."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from sretoolkit.cli.output import print_text, state_text
from sretoolkit.report import plain
from sretoolkit.secrets import redaction

if TYPE_CHECKING:
    from sretoolkit.runbook.run import Result

_STEPS = {
    "step-after": "done",
    "step-already": "already so",
    "step-failed": "FAILED",
    "undo-after": "undone",
    "undo-failed": "UNDO FAILED",
    "gate-passed": "gate passed",
    "gate-failed": "GATE FAILED",
    "control": "told",
}


class Progress:
    """Receives the supervisor's events and prints them as they come."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty() and not quiet
        self._status: Any = None

    def __enter__(self) -> Progress:
        if self._live:
            from rich.console import Console

            self._status = Console(stderr=True).status("starting the kernel")
            self._status.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, kind: str, data: dict[str, Any]) -> None:
        """One event."""
        if self._quiet:
            return
        if kind == "cell" and self._status is not None:
            since = time.strftime("%H:%M:%S")
            first = plain(redaction(data["source"].strip().split("\n")[0]))[:70]
            self._status.update(f"cell {data['cell']}/{data['cells']} since {since}: {first}".replace("[", r"\["))
        elif kind == "cell-end":
            self._cell_end(data)
        elif kind == "entry" and data["kind"] in _STEPS:
            what = data.get("verb") or data.get("target") or data.get("verdict", {}).get("reason", "")
            error = f": {data['error']}" if data.get("error") else ""
            click.echo(plain(redaction(f"  {_STEPS[data['kind']]}: {what}{error}")))

    def _cell_end(self, data: dict[str, Any]) -> None:
        if data["status"] != "completed":
            click.echo(f"cell {data['cell']}/{data['cells']} {state_text(data['status'])}")
        for text in data["texts"]:
            print_text(text)
            click.echo()


def print_result(result: Result) -> None:
    """The last lines: how it ended, what was undone, where the record is."""
    click.echo(f"run {result.run}: {state_text(result.state)}")
    if result.error:
        print_text(f"  {result.error}")
    for line in result.undone:
        print_text(f"  {line}")
    if result.html:
        click.echo(f"record: {result.html}")
    if result.state == "planned":
        click.echo("nothing was changed; --apply does it")
    elif result.state == "awaiting_approval":
        click.echo(
            f"next: another person looks at `sretoolkit show {result.run}` and says `sretoolkit approve {result.run}`;"
        )
        click.echo(f"      then `sretoolkit run --resume {result.run}`")
