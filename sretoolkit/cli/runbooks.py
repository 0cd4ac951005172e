"""``list`` and ``run``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from sretoolkit.cli.main import json_option

if TYPE_CHECKING:
    from sretoolkit.config import Config
    from sretoolkit.runbook.notebook import Runbook
    from sretoolkit.runbook.run import Order


def complete_runbook(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of runbooks, for the shell."""
    from sretoolkit.config import Config
    from sretoolkit.runbook.notebook import runbook_paths

    return [CompletionItem(name) for name in runbook_paths(Config.load()) if name.startswith(incomplete)]


@click.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the runbooks: what each is for, its risk, whether it needs an approval."""
    from sretoolkit.cli.output import print_json, print_table
    from sretoolkit.config import Config
    from sretoolkit.errors import SREToolkitError
    from sretoolkit.runbook.notebook import Runbook, runbook_paths

    rows: list[dict[str, Any]] = []
    for name, path in runbook_paths(Config.load()).items():
        try:
            runbook = Runbook.read(path)
            about = {key: str(runbook.metadata.get(key, "")) for key in ("purpose", "risk", "owner")}
            rows.append(
                {
                    "name": name,
                    "title": runbook.title,
                    **about,
                    "approval": runbook.demands["approval"],
                    "path": str(path),
                }
            )
        except SREToolkitError as error:
            rows.append({"name": name, "title": "CANNOT BE READ", "purpose": error.message, "path": str(path)})
    if as_json:
        print_json(rows)
        return
    table = [
        (row["name"], row["title"], row.get("risk", ""), "yes" if row.get("approval") else "no", row["purpose"])
        for row in rows
    ]
    print_table(("RUNBOOK", "TITLE", "RISK", "APPROVAL", "PURPOSE"), table, empty="no runbooks; set runbooks.folders")


def parameter_options(command: Any) -> Any:
    """``-p`` and ``-f``, wherever a runbook is given its parameters."""
    command = click.option("-f", "file", type=click.Path(path_type=Path), help="Parameters from a YAML file.")(command)
    help_text = "A parameter; read by its declared type."
    return click.option("-p", "pairs", multiple=True, metavar="NAME=VALUE", help=help_text)(command)


def given_parameters(
    runbook: Runbook, *, pairs: Sequence[str], file: Path | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The checked values of all parameters, and those that were given, as they were."""
    given = {**_from_file(file), **dict(_pair(pair) for pair in pairs)}
    return runbook.parameters.check(given, texts={key for key, _ in map(_pair, pairs)}), given


@click.command("run")
@click.argument("runbook", required=False, shell_complete=complete_runbook)
@parameter_options
@click.option(
    "--plan/--apply", "plan_only", default=True, help="Show and record what would be done (default), or do it."
)
@click.option("--ticket", default="", help="The incident or ticket that this run belongs to.")
@click.option("--wait", default="", metavar="DURATION", help="Wait so long for a target that somebody else holds.")
@click.option("--yes-irreversible", is_flag=True, help="Say yes to steps that cannot be taken back.")
@click.option(
    "--break-glass", default="", metavar="REASON", help="Go without approval and freeze; told to everyone configured."
)
@click.option("--resume", default="", metavar="RUN", help="Go on with a run that waited, was stopped or is held.")
@click.option(
    "--executor", default="", metavar="NAME", help="Begin it elsewhere (local, kubernetes, ...) and say its id."
)
@click.option("--follow", is_flag=True, help="With --executor: wait for its end, and end as it does.")
@click.option("-q", "--quiet", is_flag=True, help="Only the last lines.")
@json_option
@click.pass_context
def run_command(ctx: click.Context, /, runbook: str | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Run a runbook by its name or path, on record. Nothing is changed without --apply."""
    from sretoolkit.cli.output import print_json, unread
    from sretoolkit.cli.progress import Progress, print_result
    from sretoolkit.config import Config
    from sretoolkit.runbook.run import run_runbook

    config = Config.load()
    if bool(runbook) == bool(options["resume"]):
        raise click.UsageError("name a runbook, or --resume RUN")
    if options["resume"] and options["executor"]:
        raise click.UsageError("a run is resumed where one sits: --resume goes without --executor")
    if options["follow"] and not options["executor"]:
        raise click.UsageError("--follow goes with --executor")
    order = _resumed(config, **options) if options["resume"] else _order(str(runbook), config, **options)
    if order is None:
        ctx.exit(_resume_plan(config, options["resume"], as_json=as_json))
    if options["executor"]:
        from sretoolkit.cli.asked import run_elsewhere

        ctx.exit(run_elsewhere(order, config, options["executor"], follow=options["follow"], as_json=as_json))
    with Progress(quiet=quiet or as_json) as progress:
        result = run_runbook(order, config, on_event=progress)
    with unread():
        if as_json:
            print_json(result.to_dict())
        else:
            print_result(result)
    ctx.exit(result.exit_code)


def _order(name: str, config: Config, **options: Any) -> Order:
    from sretoolkit.clock import parse_duration
    from sretoolkit.runbook.access import require_operator
    from sretoolkit.runbook.notebook import Runbook
    from sretoolkit.runbook.run import Order
    from sretoolkit.store import open_store

    found = Runbook.find(name, config)
    with open_store(config) as store:
        require_operator(config, store, found.name)
    values, _ = given_parameters(found, pairs=options["pairs"], file=options["file"])
    return Order(
        found,
        values,
        mode="plan" if options["plan_only"] else "apply",
        origin="cli",
        ticket=options["ticket"],
        break_glass=options["break_glass"],
        irreversible=options["yes_irreversible"],
        wait=parse_duration(options["wait"]).total_seconds() if options["wait"] else 0.0,
    )


def _resumed(config: Config, **options: Any) -> Order | None:
    """The order of an earlier run again; None for a run that was never a notebook (an undo, a program's plan)."""
    from sretoolkit.journal import load_run
    from sretoolkit.runbook.access import require_operator
    from sretoolkit.runbook.resumption import resumed
    from sretoolkit.store import open_store

    with open_store(config) as store:
        run = load_run(store, options["resume"])
        require_operator(config, store, run.runbook)
        return resumed(
            store,
            run,
            config,
            origin="cli",
            break_glass=options["break_glass"],
            irreversible=options["yes_irreversible"],
        )


def _resume_plan(config: Config, run: str, *, as_json: bool) -> int:
    from sretoolkit.cli.recovery import resume_from_journal

    return resume_from_journal(config, run, as_json=as_json)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"-p {text!r}: write NAME=VALUE")
    return name, value


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    import yaml

    from sretoolkit.errors import ConfigError

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", hint="it is YAML: one `name: value` a line") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no parameters", hint="one `name: value` a line")
    return content
