"""``rollout``: how it stands, promote, abort, roll back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sretoolkit.cli.main import json_option

if TYPE_CHECKING:
    from sretoolkit.plan.control import Verb
    from sretoolkit.rollout.rollout import Rollout


@click.group("rollout")
def rollout_command() -> None:
    """Rollouts that are configured as [rollouts.NAME]; `sretoolkit run canary_rollout -p name=NAME` begins one."""


@rollout_command.command("status")
@click.argument("name")
@json_option
def status_command(name: str, as_json: bool) -> None:
    """Tracks, shares of the requests, the run that is at it, and what its gate last said."""
    from sretoolkit.cli.output import print_json, print_text
    from sretoolkit.rollout.progress import status

    report = status(_configured(name))
    if as_json:
        print_json(report.to_dict())
    else:
        print_text(str(report))
    raise SystemExit(0 if report.ok else 1)


@rollout_command.command("rollback")
@click.argument("name")
@click.option("--to", default="", metavar="VERSION", help="Which version; the one before when not given.")
@click.option("--plan/--apply", "plan_only", default=True, help="Show what would be done (default), or do it.")
@click.option("--ticket", default="", help="The incident or ticket that this belongs to.")
@json_option
def rollback_command(name: str, to: str, plan_only: bool, ticket: str, as_json: bool) -> None:
    """Back to an older version at once: no shares, no judge. In a run of its own."""
    from sretoolkit.cli.output import print_json, print_text
    from sretoolkit.config import Config
    from sretoolkit.plan.execution import run_alone
    from sretoolkit.plan.session import own_session
    from sretoolkit.runbook.access import require_operator
    from sretoolkit.store import open_store

    config = Config.load()
    with open_store(config) as store:
        require_operator(config, store, "rollback")  # as the runbook of that name, which does the same
        plan = _configured(name).rollback(to, config=config)
        print_text("" if as_json else str(plan))
        session = own_session(
            plan.title, mode="plan" if plan_only else "apply", config=config, store=store, ticket=ticket
        )
        outcome = run_alone(plan, session)
    if as_json:
        print_json({"run": outcome.run, "state": outcome.state, "items": outcome.rows})
        return
    print_text(f"\n{outcome}")
    click.echo(
        "nothing was changed; --apply does it" if plan_only else f"prove it: sretoolkit journal verify {outcome.run}"
    )


def _configured(name: str) -> Rollout:
    from sretoolkit.rollout.rollout import Rollout

    return Rollout.from_config(name)


def _saying(verb: Verb, meaning: str) -> click.Command:
    """A command that passes one word on to the run that is at a rollout."""

    def tell(name: str, reason: str) -> None:
        from sretoolkit.config import Config
        from sretoolkit.rollout.progress import listener
        from sretoolkit.runbook.access import Person
        from sretoolkit.runbook.desk import RunDesk
        from sretoolkit.store import open_store

        config = Config.load()
        with open_store(config) as store:
            run = listener(store, _configured(name)).id
            RunDesk(store, config, Person.current(config)).control(run, verb, reason=reason)
        click.echo(f"told run {run}: {verb}")

    words: list[click.Parameter] = [
        click.Argument(["name"]),
        click.Option(["--reason"], default="", help="Why; it is journalled."),
    ]
    return click.Command(verb, params=words, callback=tell, help=meaning)


rollout_command.add_command(_saying("promote", "Let the gate that is open now pass, as a person's decision."))
rollout_command.add_command(_saying("abort", "Stop the run that is at it; all it did is taken back."))
rollout_command.add_command(_saying("pause", "Stay where it is, until resume."))
rollout_command.add_command(_saying("resume", "Go on after a pause."))
