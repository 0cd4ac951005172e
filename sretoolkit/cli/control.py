"""``control``, ``approve`` and ``lease``."""

from __future__ import annotations

import click

from sretoolkit.cli.main import json_option
from sretoolkit.cli.runs import complete_run


@click.command("control")
@click.argument("words", nargs=-1, metavar="[RUN] VERB", shell_complete=complete_run)
@click.option("--all", "every", is_flag=True, help="Every run: stop is the global kill switch, resume ends it.")
@click.option(
    "--step", type=click.IntRange(min=1), help="The number of the step that skip means; the next one when not given."
)
@click.option("--reason", default="", help="Why; it is journalled.")
def control_command(words: tuple[str, ...], every: bool, step: int | None, reason: str) -> None:
    """Tell a running run something: stop (hold), abort (undo), pause, resume, promote (a gate), skip (a step)."""
    from sretoolkit.config import Config
    from sretoolkit.plan.control import EVERY_RUN, VERBS
    from sretoolkit.runbook.access import Person
    from sretoolkit.runbook.desk import RunDesk
    from sretoolkit.store import open_store

    verb = words[-1] if words else ""
    run = words[0] if len(words) == 2 else ""
    if verb not in VERBS or len(words) > 2:
        raise click.UsageError(f"say [RUN] VERB; the verb is one of {', '.join(VERBS)}")
    if bool(run) == every:
        raise click.UsageError("name a run, or --all")
    config = Config.load()
    with open_store(config) as store:
        desk = RunDesk(store, config, Person.current(config))
        name = desk.control(run or EVERY_RUN, verb, reason=reason, subject=str(step or ""))
    click.echo(f"told {'every run' if every else name}: {verb}")


@click.command("approve")
@click.argument("run", shell_complete=complete_run)
@click.option("--valid", default="8h", show_default=True, metavar="DURATION", help="The approval ends after this time.")
def approve_command(run: str, valid: str) -> None:
    """Approve exactly what a waiting run has planned. Who asked for it cannot do so, unless the runbook says so."""
    from sretoolkit.clock import parse_duration
    from sretoolkit.config import Config
    from sretoolkit.runbook.access import Person
    from sretoolkit.runbook.desk import RunDesk
    from sretoolkit.store import open_store

    config = Config.load()
    with open_store(config) as store:
        desk = RunDesk(store, config, Person.current(config))
        found, plan = desk.approve(run, valid_for=parse_duration(valid))
    click.echo(f"approved plan {plan[:12]} of run {found.id} for {valid}")
    click.echo(f"next: sretoolkit run --resume {found.id}")


@click.group("lease", invoke_without_command=True)
@json_option
@click.pass_context
def lease_command(ctx: click.Context, as_json: bool) -> None:
    """List who may change what right now; `lease release TARGET` ends a held or expired one."""
    if ctx.invoked_subcommand:
        return
    from sretoolkit.cli.output import local_time, print_json, print_table
    from sretoolkit.lease import find_leases
    from sretoolkit.store import open_store

    with open_store() as store:
        found = find_leases(store)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            row["target"],
            row["state"],
            row["run"],
            row["who"],
            local_time(row["since"]),
            local_time(row["expires"]) or "never",
        )
        for row in found
    ]
    print_table(("TARGET", "STATE", "RUN", "WHO", "SINCE", "EXPIRES"), rows, empty="nobody holds anything")


@lease_command.command("release")
@click.argument("target")
def release_command(target: str) -> None:
    """End a held or expired lease, when the target is as it should be."""
    from sretoolkit.config import Config
    from sretoolkit.runbook.access import Person
    from sretoolkit.runbook.desk import RunDesk
    from sretoolkit.store import open_store

    config = Config.load()
    with open_store(config) as store:
        RunDesk(store, config, Person.current(config)).release(target)
    click.echo(f"released {target}")
