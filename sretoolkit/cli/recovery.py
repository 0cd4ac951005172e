"""``recover`` and ``undo``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sretoolkit.cli.main import json_option
from sretoolkit.cli.runs import complete_run

if TYPE_CHECKING:
    from sretoolkit.config import Config


@click.command("recover")
@click.argument("run", required=False, shell_complete=complete_run)
@click.option("--resume", is_flag=True, help="Go on with its plans instead of undoing them.")
@click.option("--force", is_flag=True, help="Also plans that are held, and over somebody else's change.")
@click.option("--watch", default="", metavar="DURATION", help="Look for lost runs this often, until interrupted.")
@json_option
@click.pass_context
def recover_command(ctx: click.Context, run: str | None, resume: bool, force: bool, watch: str, as_json: bool) -> None:
    """Undo (or end) what a lost run began, from its journal alone. Without RUN: every lost run of this store."""
    import time

    from sretoolkit.clock import parse_duration
    from sretoolkit.config import Config
    from sretoolkit.journal import find_runs, load_run
    from sretoolkit.store import open_store

    config = Config.load()
    while True:
        with open_store(config) as store:
            found = [load_run(store, run)] if run else find_runs(store, state="lost", limit=1000)
        if not found and not watch:
            click.echo("no lost runs", err=as_json)
        codes = [_recover(config, one.id, resume=resume, force=force, as_json=as_json) for one in found]
        if not watch:
            ctx.exit(max(codes, default=0))
        time.sleep(parse_duration(watch).total_seconds())


@click.command("undo")
@click.argument("run", shell_complete=complete_run)
@click.option("--plan/--apply", "plan_only", default=True, help="Show what would be taken back (default), or do it.")
@click.option("--force", is_flag=True, help="Even where somebody else has changed the target since.")
@click.option("--ticket", default="", help="The incident or ticket that this belongs to.")
@json_option
@click.pass_context
def undo_command(ctx: click.Context, run: str, plan_only: bool, force: bool, ticket: str, as_json: bool) -> None:
    """Take back what a finished run changed, newest first, in a run of its own."""
    from sretoolkit.actor import Actor
    from sretoolkit.cli.output import print_json, print_text
    from sretoolkit.config import Config
    from sretoolkit.errors import PlanError
    from sretoolkit.journal import Journal, load_run
    from sretoolkit.plan.execution import run_alone
    from sretoolkit.plan.recovery import reverse
    from sretoolkit.plan.session import own_session, rejoin
    from sretoolkit.store import open_store

    config = Config.load()
    with open_store(config) as store:
        found = load_run(store, run)
        if not found.closed:
            raise PlanError(
                f"run {found.id} has not ended: it is {found.state}", hint=f"`sretoolkit recover {found.id}`"
            )
        plan = reverse(rejoin(store, found.id, config=config), force=force)
        demands = Journal(store, found.id, actor=Actor.current(config)).entries()[0].payload["demands"]
        print_text("" if as_json else str(plan))
        session = own_session(
            plan.title,
            mode="plan" if plan_only else "apply",
            config=config,
            store=store,
            undoes=found.id,
            ticket=ticket,
            demands=demands,
        )
        if not plan_only and found.state in ("held", "stopped"):
            _hand_over(store, found.id)
        outcome = run_alone(plan, session)
    if as_json:
        print_json({"run": outcome.run, "state": outcome.state, "items": outcome.rows})
    else:
        print_text(f"\n{outcome}")
        click.echo(
            "nothing was changed; --apply does it"
            if plan_only
            else f"prove it: sretoolkit journal verify {outcome.run}"
        )


def resume_from_journal(config: Config, run: str, *, as_json: bool) -> int:
    """Go on with a run that has no notebook: its plans are in its journal."""
    return _recover(config, run, resume=True, force=False, as_json=as_json)


def _recover(config: Config, run: str, *, resume: bool, force: bool, as_json: bool) -> int:
    """Recover one run and say what was done; a failure is said too, so that the next run gets its turn."""
    from sretoolkit.cli.output import print_json, print_text
    from sretoolkit.errors import SREToolkitError
    from sretoolkit.plan.recovery import recover
    from sretoolkit.store import open_store

    try:
        with open_store(config) as store:
            lines, code = recover(store, run, config=config, resume=resume, force=force), 0
    except SREToolkitError as error:
        lines, code = [f"error: {error}"], error.exit_code
    if as_json:
        print_json({"run": run, "ok": code == 0, "lines": lines})
    else:
        click.echo(f"run {run}: {'not ' if code else ''}{'resumed' if resume else 'recovered'}", err=bool(code))
        for line in lines:
            print_text(f"  {line}")
    return code


def _hand_over(store: Any, run: str) -> None:
    """A held run's targets are freed for the run that undoes it."""
    from sretoolkit.lease import free_leases

    free_leases(store, run, held=True)
