"""``runs``, ``show``, ``report`` and ``diff``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from sretoolkit.cli.main import json_option

if TYPE_CHECKING:
    from sretoolkit.config import Config
    from sretoolkit.journal import Run

RUN_ID = re.compile(r"^(last|\d{8}-\d{6}-[0-9a-f]{6}|[0-9a-f]{6})$")


def complete_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of recent runs, for the shell."""
    from sretoolkit.journal import find_runs
    from sretoolkit.store import open_store

    with open_store() as store:
        return [CompletionItem(run.id, help=run.runbook) for run in find_runs(store) if run.id.startswith(incomplete)]


@click.command("runs")
@click.option("--runbook", default="", help="Only runs of this runbook.")
@click.option("--target", default="", help="Only runs that touched a target with this in its name.")
@click.option("--actor", default="", help="Only runs of this person.")
@click.option("--state", default="", help="Only runs in this state (running, lost, completed, failed, held, ...).")
@click.option("--ticket", default="", help="Only runs of this ticket.")
@click.option("--since", default="", metavar="DURATION", help="Only runs that began within this time (24h, 7d).")
@click.option("--waiting", is_flag=True, help="What was asked for and is not begun: it waits, or was refused.")
@click.option("-n", "--limit", default=20, show_default=True, help="At most so many, newest first.")
@json_option
def runs_command(as_json: bool, since: str, waiting: bool, **filters: Any) -> None:
    """List runs, newest first. A run whose process is gone is shown as lost."""
    from sretoolkit.cli.output import local_time, print_json, print_table
    from sretoolkit.clock import parse_duration
    from sretoolkit.journal import find_runs
    from sretoolkit.store import open_store

    if waiting:
        _show_waiting(limit=filters["limit"], as_json=as_json)
        return
    with open_store() as store:
        began = store.now() - parse_duration(since).total_seconds() if since else None
        found = find_runs(store, since=began, **filters)
    if as_json:
        print_json([run.to_dict() for run in found])
        return
    rows = [
        (
            run.id,
            run.runbook,
            run.mode,
            run.state,
            run.who,
            local_time(run.to_dict()["started"]),
            run.ticket,
            run.error.split("\n")[0][:60],
        )
        for run in found
    ]
    print_table(("RUN", "RUNBOOK", "MODE", "STATE", "WHO", "BEGAN", "TICKET", "WHY"), rows, empty="no runs")
    if any(run.state == "lost" for run in found):
        click.echo("lost: its process is gone; `sretoolkit recover RUN` undoes (or, with --resume, ends) what it began")


def _show_waiting(*, limit: int, as_json: bool) -> None:
    from sretoolkit.actor import Actor
    from sretoolkit.cli.output import local_time, print_json, print_table
    from sretoolkit.journal.runs import moment
    from sretoolkit.runbook.queue import Queue
    from sretoolkit.store import open_store

    with open_store() as store:
        found = Queue(store).unbegun(limit=limit)
    rows = [
        {
            "run": asked.request.id,
            "runbook": asked.request.runbook,
            "mode": asked.request.mode,
            "state": asked.state,
            "executor": asked.executor,
            "who": str(Actor(**asked.request.actor)),
            "asked": moment(asked.asked),
            "error": asked.error,
        }
        for asked in found
    ]
    if as_json:
        print_json(rows)
        return
    table = [(*list(row.values())[:-2], local_time(row["asked"]), row["error"].split("\n")[0][:80]) for row in rows]
    print_table(("RUN", "RUNBOOK", "MODE", "STATE", "EXECUTOR", "WHO", "ASKED", "WHY"), table, empty="nothing waits")


@click.command("show")
@click.argument("name", metavar="RUNBOOK|RUN")
@click.option("--schema", is_flag=True, help="The JSON Schema of a runbook's parameters.")
@json_option
def show_command(name: str, schema: bool, as_json: bool) -> None:
    """Show a runbook (what it is for, its parameters) or a run (its plans step by step, its journal)."""
    from sretoolkit.config import Config

    config = Config.load()
    if RUN_ID.match(name):
        _show_run(config, name, as_json=as_json)
    else:
        _show_runbook(config, name, schema=schema, as_json=as_json)


@click.command("report")
@click.argument("run", default="last", shell_complete=complete_run)
@json_option
def report_command(run: str, as_json: bool) -> None:
    """Say where a run's record is, and whether its files are still what the journal says."""
    from sretoolkit.cli.output import print_json
    from sretoolkit.config import Config
    from sretoolkit.errors import RunbookError
    from sretoolkit.runbook.comparison import files_of
    from sretoolkit.store import open_store

    config = Config.load()
    with open_store(config) as store:
        files = files_of(store, run, config)
    if as_json:
        print_json(files)
        return
    if not files:
        raise RunbookError(
            f"run {run} has no record", hint="only runs of runbooks have one; `sretoolkit show` has the journal"
        )
    for file in files:
        click.echo(
            f"{file['path']}: {click.style(file['state'], fg='green' if file['state'] == 'unchanged' else 'red')}"
        )


@click.command("diff")
@click.argument("one", shell_complete=complete_run)
@click.argument("other", shell_complete=complete_run)
@json_option
def diff_command(one: str, other: str, as_json: bool) -> None:
    """Compare two runs by what they mean: inputs, actions, results, timings."""
    from sretoolkit.cli.output import print_json, print_table
    from sretoolkit.runbook.comparison import compare
    from sretoolkit.store import open_store

    with open_store() as store:
        rows = compare(store, one, other)
    if as_json:
        print_json(rows)
        return
    table = [(row["what"], row["one"], row["other"]) for row in rows]
    print_table(("WHAT", one, other), table, empty="the two runs mean the same")


def _show_runbook(config: Config, name: str, *, schema: bool, as_json: bool) -> None:
    from sretoolkit.cli.output import print_json, print_table, print_text
    from sretoolkit.report import plain
    from sretoolkit.runbook.notebook import Runbook

    runbook = Runbook.find(name, config)
    if schema:
        print_json(runbook.parameters.schema())
        return
    if as_json:
        print_json(
            {**runbook.metadata, "name": runbook.name, "hash": runbook.hash, "schema": runbook.parameters.schema()}
        )
        return
    click.echo(click.style(plain(runbook.title), bold=True) + plain(f"  ({runbook.path})"))
    for key in ("purpose", "risk", "owner"):
        print_text(f"  {key}: {runbook.metadata.get(key, '–')}")
    click.echo(f"  approval: {'needed' if runbook.demands['approval'] else 'not needed'}\n")
    rows = [
        (item.name, item.kind, "required" if item.required else repr(item.kind.encode(item.default)), item.help)
        for item in runbook.parameters.items
    ]
    print_table(("PARAMETER", "TYPE", "DEFAULT", "MEANING"), rows, empty="it has no parameters")
    click.echo(
        f"\nsretoolkit run {runbook.name}"
        + "".join(f" -p {item.name}=..." for item in runbook.parameters.items if item.required)
    )


def _show_run(config: Config, name: str, *, as_json: bool) -> None:
    from sretoolkit.cli.output import print_json, print_table, print_text, state_text
    from sretoolkit.journal import Journal, Keys, load_run, verify_run
    from sretoolkit.plan.history import fold
    from sretoolkit.report import plain
    from sretoolkit.runbook.record import plan_rows
    from sretoolkit.store import open_store

    with open_store(config) as store:
        run = load_run(store, name)
        entries = Journal(store, run.id, actor=None).entries()  # type: ignore[arg-type]
        proof = verify_run(store, Keys.of(config), run.id)
    plans = [plan_rows(plan) for plan in fold(entries)]
    if as_json:
        content = [entry.content | {"hash": entry.hash} for entry in entries]
        print_json({**run.to_dict(), "plans": plans, "journal": proof.__dict__, "entries": content})
        return
    click.echo(f"run {run.id}: {state_text(run.state)}  {plain(run.runbook)} ({run.mode}) by {plain(run.who)}")
    for line in [
        f"  why: {run.error}" if run.error else "",
        f"  ticket: {run.ticket}" if run.ticket else "",
        f"  progress: {run.progress}",
    ]:
        print_text(line)
    for key, value in run.parameters.items():
        print_text(f"  {key} = {value!r}")
    for plan in plans:
        click.echo(f"\nplan {plain(plan['title'])}: {state_text(plan['state'])}\n  hash {plan['hash']}")
        rows = [
            (number, row["text"], row.get("before", ""), row.get("after", ""), row["status"], row["error"])
            for number, row in enumerate(plan["rows"], start=1)
        ]
        print_table(("#", "WHAT", "BEFORE", "AFTER", "STATUS", "WHY"), rows, empty="  nothing to change")
    click.echo(f"\njournal: {proof}")
    _next_steps(run)


def _next_steps(run: Run) -> None:
    hints = {
        "awaiting_approval": f"next: another person: `sretoolkit approve {run.id}`; then `sretoolkit run --resume {run.id}`",
        "lost": f"next: `sretoolkit recover {run.id}` (undo) or `sretoolkit recover {run.id} --resume`",
        "held": f"next: `sretoolkit recover {run.id}` (undo), or `sretoolkit run --resume {run.id}`, or `sretoolkit lease`",
        "stopped": f"next: `sretoolkit run --resume {run.id}`, or `sretoolkit recover {run.id}` (undo)",
    }
    if run.state in hints:
        click.echo(hints[run.state])
