"""``schedule``: runbooks that are run at certain times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sretoolkit.cli.main import json_option
from sretoolkit.cli.runbooks import complete_runbook, given_parameters, parameter_options
from sretoolkit.cli.schedule_keeping import export_command, fire_command, keep_command, name_argument

if TYPE_CHECKING:
    from sretoolkit.config import Config
    from sretoolkit.runbook.schedule import Schedule
    from sretoolkit.runbook.schedules import Scheduled, Schedules
    from sretoolkit.store import Store


@click.group("schedule")
def schedule_command() -> None:
    """Run runbooks at certain times: `sretoolkit serve` sees to it, or `sretoolkit schedule run` without a server."""


for command in (keep_command, fire_command, export_command):
    schedule_command.add_command(command)


@schedule_command.command("add")
@click.argument("runbook", shell_complete=complete_runbook)
@click.option("--cron", required=True, help='When: "30 2 * * 1-5" (minute hour day month weekday), or "@daily".')
@click.option(
    "--tz", "zone", default="UTC", show_default=True, help="The time zone of these times, such as Europe/Berlin."
)
@parameter_options
@click.option("--plan/--apply", "plan_only", default=True, help="Record what would be done (default), or do it.")
@click.option("--name", default="", help="What to call it; the runbook's name otherwise.")
@click.option("--ticket", default="", help="The ticket that its runs belong to.")
@click.option("--missed", default="skip", show_default=True, type=click.Choice(["skip", "once", "all"]),
              help="Ticks that nobody was there for: leave them out, run one for all of them, or all (at most 100).")  # fmt: skip
@click.option("--overlap", default="skip", show_default=True, type=click.Choice(["skip", "queue", "abort"]),
              help="A tick whose earlier run goes on: leave it out, let it wait, or abort the earlier run.")  # fmt: skip
@click.option("--jitter", default="0s", show_default=True, metavar="DURATION", help="Be later by a fixed part of this.")
@click.option("--except", "excluded", multiple=True, metavar="DATE|DAY", help='Not on this day: "2026-12-25" or "sun".')
@click.option(
    "--pause-after", "failures", default=3, show_default=True, help="Pause after so many failures in a row; 0: never."
)
@click.option("--executor", default="local", show_default=True, help="Where its runs are carried out.")
def add_command(runbook: str, **options: Any) -> None:
    """Add a schedule. With --apply it runs the runbook as it is now; changed since then, it is refused."""
    from sretoolkit.config import Config
    from sretoolkit.runbook.access import Person
    from sretoolkit.runbook.desk import RunDesk
    from sretoolkit.runbook.schedules import Schedules
    from sretoolkit.store import open_store

    config = Config.load()
    schedule = _schedule(runbook, config, **options)
    with open_store(config) as store:
        RunDesk(store, config, Person.current(config)).keep(schedule)
        _print_schedule(Schedules(store).load(schedule.name))
    click.echo(
        "kept by `sretoolkit serve`, `sretoolkit schedule run`, or another program: `sretoolkit schedule export`"
    )


def _schedule(runbook: str, config: Config, **options: Any) -> Schedule:
    from sretoolkit.actor import Actor
    from sretoolkit.clock import parse_duration
    from sretoolkit.runbook.notebook import Runbook
    from sretoolkit.runbook.schedule import Schedule

    found = Runbook.find(runbook, config)
    values, given = given_parameters(found, pairs=options["pairs"], file=options["file"])
    encoded = found.parameters.encode(values)
    return Schedule.of(
        found, {key: encoded[key] for key in given}, config, apply=not options["plan_only"],
        actor=Actor.current(config).to_dict(), jitter=parse_duration(options["jitter"]).total_seconds(),
        excluded=tuple(each.lower() for each in options["excluded"]),
        **{key: options[key] for key in ("name", "cron", "zone", "ticket", "missed", "overlap", "failures", "executor")},
    )  # fmt: skip


@schedule_command.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the schedules: what, when, for whom, and when it is due next."""
    from sretoolkit.actor import Actor
    from sretoolkit.cli.output import local_time, print_json, print_table
    from sretoolkit.runbook.schedules import Schedules
    from sretoolkit.store import open_store

    with open_store() as store:
        found = Schedules(store).find()
    if as_json:
        print_json([each.to_dict() for each in found])
        return
    rows = []
    for each in found:
        schedule = each.schedule
        who = Actor(**schedule.actor)
        due = local_time(each.to_dict()["due"])
        rows.append(
            (
                schedule.name,
                schedule.runbook,
                schedule.mode,
                f"{schedule.cron} {schedule.zone}",
                "overdue" if each.overdue else each.state,
                due,
                who,
            )
        )
    columns = ("SCHEDULE", "RUNBOOK", "MODE", "WHEN", "STATE", "DUE", "WHO")
    print_table(columns, rows, empty="no schedules; `sretoolkit schedule add RUNBOOK --cron ...` makes one")
    if any(each.overdue for each in found):
        click.echo("overdue: nobody keeps the times; `sretoolkit serve` or `sretoolkit schedule run` does")


@schedule_command.command("show")
@name_argument
@json_option
def show_command(name: str, as_json: bool) -> None:
    """Show all that a schedule says, and whether its runbook is still what it was made for."""
    from sretoolkit.cli.output import print_json
    from sretoolkit.runbook.schedules import Schedules
    from sretoolkit.store import open_store

    with open_store() as store:
        found = Schedules(store).load(name)
    if as_json:
        print_json(found.to_dict())
    else:
        _print_schedule(found)


def _print_schedule(found: Scheduled) -> None:
    from sretoolkit.actor import Actor
    from sretoolkit.cli.output import local_time, print_text, state_text

    schedule = found.schedule
    click.echo(f"schedule {schedule.name}: {state_text(found.state)}")
    lines = {
        "why": found.why,
        "runbook": f"{schedule.runbook} ({schedule.mode}), {_pinned(found)}",
        "when": f"{schedule.cron} in {schedule.zone}"
        + (f", up to {schedule.jitter:g} s later" if schedule.jitter else ""),
        "due": local_time(found.to_dict()["due"]),
        "not on": ", ".join(schedule.excluded),
        "who": str(Actor(**schedule.actor)),
        "executor": schedule.executor,
        "ticket": schedule.ticket,
        "missed": schedule.missed,
        "overlap": schedule.overlap,
        "pauses after": f"{schedule.failures} failures in a row" if schedule.failures else "",
        **{f"  {key}": repr(value) for key, value in schedule.parameters.items()},
    }
    for key, value in lines.items():
        print_text(f"  {key}: {value}" if value else "")


def _pinned(found: Scheduled) -> str:
    """Whether the runbook is followed, as it was, or changed since."""
    from sretoolkit.config import Config
    from sretoolkit.errors import SREToolkitError
    from sretoolkit.runbook.notebook import Runbook

    if not found.schedule.runbook_hash:
        return "whose file is followed"
    try:
        same = Runbook.find(found.schedule.runbook, Config.load()).hash == found.schedule.runbook_hash
    except SREToolkitError as error:
        return f"REFUSED: {error.message}"
    return (
        "unchanged since it was scheduled"
        if same
        else "REFUSED: changed since; look at it, remove this and add it again"
    )


def _own(store: Store, config: Config, name: str) -> Schedules:
    """The schedules, when whoever runs this may run what that one runs; raises `AccessDenied`."""
    from sretoolkit.runbook.access import require_operator
    from sretoolkit.runbook.schedules import Schedules

    schedules = Schedules(store)
    require_operator(config, store, schedules.load(name).schedule.runbook_name)
    return schedules


@schedule_command.command("next")
@name_argument
@click.option("-n", "count", default=5, show_default=True, help="So many ticks.")
@json_option
def next_command(name: str, count: int, as_json: bool) -> None:
    """Show when a schedule is due next, with its jitter, and which ticks are left out."""
    from sretoolkit.cli.output import local_time, print_json, print_table
    from sretoolkit.clock import Clock
    from sretoolkit.config import Config
    from sretoolkit.runbook.schedules import Schedules
    from sretoolkit.store import open_store

    config = Config.load()
    with open_store(config) as store:
        schedule = Schedules(store).load(name).schedule
    rows = []
    for _, tick in zip(range(count), schedule.times.after(Clock().now()), strict=False):
        there = tick.astimezone(schedule.times.zone).isoformat()
        why = schedule.exclusion(tick, config)
        rows.append({"tick": tick.isoformat(), "there": there, "due": schedule.due(tick).isoformat(), "left_out": why})
    if as_json:
        print_json(rows)
        return
    table = [(row["there"], local_time(row["due"]), row["left_out"]) for row in rows]
    print_table((f"TICK ({schedule.zone})", "DUE (HERE)", "LEFT OUT"), table, empty="never again")


@schedule_command.command("pause")
@name_argument
@click.option("--reason", default="", help="Why.")
def pause_command(name: str, reason: str) -> None:
    """Let the ticks of a schedule pass until it is resumed."""
    from sretoolkit.actor import Actor
    from sretoolkit.config import Config
    from sretoolkit.store import open_store

    config = Config.load()
    with open_store(config) as store:
        _own(store, config, name).pause(name, f"by {Actor.current(config)}" + (f": {reason}" if reason else ""))
    click.echo(f"schedule {name}: paused; its runs that go on are not ended")


@schedule_command.command("resume")
@name_argument
def resume_command(name: str) -> None:
    """Go on with a paused schedule, from its next tick."""
    from sretoolkit.config import Config
    from sretoolkit.store import open_store

    config = Config.load()
    with open_store(config) as store:
        schedules = _own(store, config, name)
        schedules.resume(name)
        _print_schedule(schedules.load(name))


@schedule_command.command("remove")
@name_argument
def remove_command(name: str) -> None:
    """Forget a schedule and its ticks; its runs stay on record."""
    from sretoolkit.config import Config
    from sretoolkit.store import open_store

    config = Config.load()
    with open_store(config) as store:
        _own(store, config, name).remove(name)
    click.echo(f"schedule {name}: removed")


@schedule_command.command("history")
@name_argument
@click.option("-n", "--limit", default=20, show_default=True, help="At most so many, newest first.")
@json_option
def history_command(name: str, limit: int, as_json: bool) -> None:
    """Show what became of a schedule's ticks."""
    from sretoolkit.cli.output import local_time, print_json, print_table
    from sretoolkit.runbook.schedules import Schedules
    from sretoolkit.store import open_store

    with open_store() as store:
        found = [tick.to_dict() for tick in Schedules(store).history(name, limit=limit)]
    if as_json:
        print_json(found)
        return
    rows = [(local_time(tick["tick"]), tick["state"], tick["run"], tick["why"].split("\n")[0]) for tick in found]
    print_table(("TICK", "STATE", "RUN", "WHY"), rows, empty="no tick yet")
