"""``recover``, ``watchdog`` and ``undo``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sretoolkit.cli.main import json_option
from sretoolkit.cli.runs import complete_run

if TYPE_CHECKING:
    from sretoolkit.config import Config
    from sretoolkit.plan.session import Mode


@click.command("recover")
@click.argument("run", required=False, shell_complete=complete_run)
@click.option("--resume", is_flag=True, help="Go on with its plans instead of undoing them.")
@click.option("--force", is_flag=True, help="Also plans that a policy holds, and over somebody else's change.")
@json_option
@click.pass_context
def recover_command(ctx: click.Context, run: str | None, resume: bool, force: bool, as_json: bool) -> None:
    """Undo (or end) what a lost, held or stopped run began, from its journal alone. Without RUN: every lost run."""
    from sretoolkit.config import Config
    from sretoolkit.journal import find_runs, load_run
    from sretoolkit.runbook.access import require_operator
    from sretoolkit.store import open_store

    config = Config.load()
    with open_store(config) as store:
        found = [load_run(store, run)] if run else find_runs(store, state="lost", limit=1000)
        if run:  # what is lost is taken back by whoever comes by; a run by its name by who may run that
            require_operator(config, store, found[0].runbook)
    done = [_recover(config, one.id, resume=resume, force=force) for one in found]
    _show(done, as_json=as_json)
    ctx.exit(max((one["exit_code"] for one in done), default=0))


@click.command("watchdog")
@click.option("--every", default="10s", show_default=True, metavar="DURATION", help="Look for lost runs this often.")
@click.option("--once", is_flag=True, help="Look once; exit code 1 when something could not be taken back.")
@click.option("--cron-job", metavar="IMAGE", default="", help="Print a Kubernetes CronJob that does this every minute.")
@click.option("--namespace", default="sretoolkit", show_default=True, help="Where that CronJob is to be.")
@click.pass_context
def watchdog_command(ctx: click.Context, every: str, once: bool, cron_job: str, namespace: str) -> None:
    """Take back what runs began whose machine is gone: looks at the store until it is interrupted.

    A run of this machine is lost when its process is gone, one of another machine when it was silent for 30 seconds. Of
    another machine's runs a watchdog can only know with PostgreSQL as the store.
    """
    import threading

    from sretoolkit.clock import parse_duration
    from sretoolkit.config import Config
    from sretoolkit.errors import StoreUnavailable
    from sretoolkit.journal import find_runs
    from sretoolkit.runbook.signals import Signals
    from sretoolkit.store import open_store

    if cron_job:
        _print_cron_job(cron_job, namespace)
        return
    config, ended, signals = Config.load(), threading.Event(), Signals()
    pause = max(1.0, parse_duration(every).total_seconds())
    signals.on_signal = ended.set
    signals.listen()
    while not ended.is_set():
        try:
            with open_store(config) as store:
                lost = find_runs(store, state="lost", limit=1000)
        except StoreUnavailable as error:  # it comes back, and then somebody has to be here
            if once:
                raise
            click.echo(f"error: {error}", err=True)
            lost = []
        done = [_recover(config, one.id, resume=False, force=False) for one in lost]
        if done or once:
            _show(done, as_json=False)
        if once:
            ctx.exit(max((one["exit_code"] for one in done), default=0))
        ended.wait(pause)


def _print_cron_job(image: str, namespace: str) -> None:
    import yaml

    from sretoolkit.plan.watchdog import manifests

    click.echo(yaml.safe_dump_all(manifests(image, namespace=namespace), sort_keys=False), nl=False)


@click.command("undo")
@click.argument("run", shell_complete=complete_run)
@click.option("--plan/--apply", "plan_only", default=True, help="Show what would be taken back (default), or do it.")
@click.option("--force", is_flag=True, help="Even where somebody else has changed the target since.")
@click.option("--ticket", default="", help="The incident or ticket that this belongs to.")
@json_option
@click.pass_context
def undo_command(ctx: click.Context, run: str, plan_only: bool, force: bool, ticket: str, as_json: bool) -> None:
    """Take back what a finished run changed, newest first, in a run of its own."""
    from sretoolkit.cli.output import print_json, print_text
    from sretoolkit.config import Config
    from sretoolkit.journal import load_run
    from sretoolkit.plan.execution import run_alone
    from sretoolkit.plan.recovery import undoing
    from sretoolkit.runbook.access import require_operator
    from sretoolkit.store import open_store

    config = Config.load()
    with open_store(config) as store:
        require_operator(config, store, load_run(store, run).runbook)
        mode: Mode = "plan" if plan_only else "apply"
        plan, session = undoing(store, run, config=config, mode=mode, force=force, ticket=ticket)
        print_text("" if as_json else str(plan))
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
    done = _recover(config, run, resume=True, force=False)
    _show([done], as_json=as_json)
    return int(done["exit_code"])


def _recover(config: Config, run: str, *, resume: bool, force: bool) -> dict[str, Any]:
    """Recover one run; a failure is a result too, so that the next run gets its turn."""
    from sretoolkit.errors import SREToolkitError
    from sretoolkit.plan.recovery import recover
    from sretoolkit.store import open_store

    try:
        with open_store(config) as store:
            lines, code = recover(store, run, config=config, resume=resume, force=force), 0
    except SREToolkitError as error:
        lines, code = [f"error: {error}"], error.exit_code
    did = f"{'not ' if code else ''}{'resumed' if resume else 'recovered'}"
    return {"run": run, "did": did, "exit_code": code, "lines": lines}


def _show(done: list[dict[str, Any]], *, as_json: bool) -> None:
    from sretoolkit.cli.output import print_json, print_text

    if as_json:
        print_json(done)
        return
    if not done:
        click.echo("no lost runs")
    for one in done:
        click.echo(f"run {one['run']}: {one['did']}")
        for line in one["lines"]:
            print_text(f"  {line}")
