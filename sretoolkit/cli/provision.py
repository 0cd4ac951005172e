"""``provision``: machines that boot from the network. The commands that change something are made from their declarations."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sretoolkit.cli.main import json_option

if TYPE_CHECKING:
    from sretoolkit.plan import Plan
    from sretoolkit.provision.commands import Argument, Command
    from sretoolkit.provision.node import Node
    from sretoolkit.provision.registry import Registry
    from sretoolkit.report import Report


class _Declared(click.Group):
    """A group of which some commands are made from `sretoolkit.provision.commands.COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Those that read, and those that change."""
        from sretoolkit.provision.commands import COMMANDS

        import_module("sretoolkit.cli.provision_boot")  # adds its own
        return sorted([*super().list_commands(ctx), *COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Made when it is wanted."""
        from sretoolkit.provision.commands import COMMANDS

        import_module("sretoolkit.cli.provision_boot")  # adds its own
        found = super().get_command(ctx, cmd_name)
        return found or (_made(COMMANDS[cmd_name]) if cmd_name in COMMANDS else None)


@click.group("provision", cls=_Declared)
def provision_command() -> None:
    """Machines that boot from the network: what they are, what policy they have, and what would be done to them.

    `sretoolkit serve` is what they speak to; `sretoolkit run provision_host -p node=NODE` installs one.
    """


def plan_options(command: Any) -> Any:
    """``--plan/--apply`` and what belongs to it, as every command that makes a plan has them."""
    for option in (
        click.option("--yes-irreversible", is_flag=True, help="Say yes to steps that cannot be taken back."),
        click.option("--ticket", default="", help="The incident or ticket that this belongs to."),
        click.option("--plan/--apply", "plan_only", default=True, help="Show what would be done (default), or do it."),
        json_option,
    ):
        command = option(command)
    return command


def carry_out(
    name: str, make: Callable[[Registry], Plan], *, plan_only: bool, ticket: str, yes_irreversible: bool, as_json: bool
) -> None:
    """Show the plan of a command, and run it in a run of its own."""
    from sretoolkit.cli.output import print_json, print_text
    from sretoolkit.config import Config
    from sretoolkit.plan.execution import run_alone
    from sretoolkit.plan.session import own_session
    from sretoolkit.provision.registry import Registry
    from sretoolkit.runbook.access import require_operator
    from sretoolkit.store import open_store

    config = Config.load()
    with open_store(config) as store:
        require_operator(config, store, f"provision {name}")
        plan = make(Registry(store))
        print_text("" if as_json else str(plan))
        if not plan.items:
            print_text(json.dumps({"state": "completed", "items": []}) if as_json else "")
            return
        mode = "plan" if plan_only else "apply"
        session = own_session(plan.title, mode=mode, config=config, store=store, ticket=ticket)  # type: ignore[arg-type]
        session.irreversible = yes_irreversible
        outcome = run_alone(plan, session)
    if as_json:
        print_json({"run": outcome.run, "state": outcome.state, "items": outcome.rows})
    else:
        print_text(f"\n{outcome}")
        click.echo(
            "nothing was changed; --apply does it" if plan_only else f"take it back: sretoolkit undo {outcome.run}"
        )


def _made(command: Command) -> click.Command:
    """A declared command for the command line: each argument an option, lists and tables as JSON."""

    def run(plan_only: bool, ticket: str, yes_irreversible: bool, as_json: bool, **given: Any) -> None:
        values = {argument.name: _value(argument, given[argument.name]) for argument in command.arguments}
        wanted = {name: value for name, value in values.items() if value is not None}
        carry_out(
            command.name, lambda registry: command.plan(registry, **wanted),
            plan_only=plan_only, ticket=ticket, yes_irreversible=yes_irreversible, as_json=as_json,
        )  # fmt: skip

    options: list[click.Parameter] = [_option(argument) for argument in command.arguments]
    words = " ".join(f"--{n.replace('_', '-')} {_shell(v)}" for n, v in command.example.items())
    text = f"{command.help}\n\n\b\nsretoolkit provision {command.name} {words}"
    return plan_options(click.Command(command.name, params=options, callback=run, help=text, short_help=command.help))  # type: ignore[no-any-return]


def _option(argument: Argument) -> click.Option:
    kind = click.INT if argument.kind is int else click.BOOL if argument.kind is bool else click.STRING
    forms: dict[type, str] = {list: " (JSON list, or words separated by commas)", dict: " (JSON)"}
    form = forms.get(argument.kind, "")
    return click.Option(
        [f"--{argument.name.replace('_', '-')}", argument.name], type=kind, required=argument.needed,
        help=argument.help + form, default=None,
    )  # fmt: skip


def _value(argument: Argument, given: Any) -> Any:
    if given is None or argument.kind not in (list, dict):
        return given
    if argument.kind is list and not given.lstrip().startswith("["):
        return [word.strip() for word in given.split(",") if word.strip()]
    try:
        return json.loads(given)
    except ValueError as error:
        raise click.UsageError(f"--{argument.name.replace('_', '-')} is no JSON: {error}") from error


def _shell(value: Any) -> str:
    import shlex

    if isinstance(value, bool):
        return "true" if value else "false"
    return shlex.quote(value if isinstance(value, str) else json.dumps(value))


def _show(report: Report, as_json: bool) -> None:
    from sretoolkit.cli.output import print_json, print_text

    if as_json:
        print_json(report.to_dict())
    else:
        print_text(str(report))


@provision_command.command("nodes")
@click.option("--state", default="", help="Only those in this state.")
@json_option
def nodes_command(state: str, as_json: bool) -> None:
    """The machines that are known."""
    from sretoolkit.cli.output import print_json, print_table

    with _registry() as registry:
        nodes = registry.nodes(state=state)
    if as_json:
        print_json([{**vars(node), "hardware": node.hardware.to_dict()} for node in nodes])
        return
    rows = [(n.id, n.hostname, n.state, n.policy, n.order, n.address, n.hardware.serial, n.held) for n in nodes]
    print_table(
        ("NODE", "HOST NAME", "STATE", "POLICY", "ORDER", "ADDRESS", "SERIAL", "HELD"),
        rows,
        empty="no machine has checked in yet",
    )


@provision_command.command("node")
@click.argument("word")
@json_option
def node_command(word: str, as_json: bool) -> None:
    """One machine (id, host name, serial number, UUID or MAC address): what it is, and what happened to it."""
    from sretoolkit.provision.overview import describe

    _show(describe(word), as_json)


@provision_command.command("explain")
@click.argument("word")
@json_option
def explain_command(word: str, as_json: bool) -> None:
    """Why a machine has its tags and its policy, rule by rule."""
    from sretoolkit.provision.overview import explain

    _show(explain(word), as_json)


@provision_command.command("documents")
@click.argument("kind", type=click.Choice(["tag", "repo", "policy", "broker", "hook"]))
@json_option
def documents_command(kind: str, as_json: bool) -> None:
    """All tags, repos, policies, brokers or hooks."""
    from sretoolkit.cli.output import print_json, print_table

    with _registry() as registry:
        found = [document.to_dict() for document in registry.documents(kind).values()]
    if as_json:
        print_json(found)
        return
    rows = [(item.pop("name"), json.dumps(item)) for item in found]
    print_table(("NAME", "DOCUMENT"), rows, empty=f"no {kind} is written down")


@provision_command.command("orders")
@json_option
def orders_command(as_json: bool) -> None:
    """The newest orders, and how far each is."""
    from sretoolkit.cli.output import print_json, print_table

    with _registry() as registry:
        rows = registry.store.read(
            "SELECT id, node, kind, policy, state, why FROM provision_orders ORDER BY number DESC LIMIT 100"
        )
    if as_json:
        print_json([dict(row) for row in rows])
        return
    print_table(
        ("ORDER", "NODE", "KIND", "POLICY", "STATE", "WHY"), [tuple(row.values()) for row in rows], empty="no orders"
    )


@provision_command.command("repos")
@json_option
def repos_command(as_json: bool) -> None:
    """The files of all repos: what is here, what is arriving, what is missing or wrong."""
    from sretoolkit.config import Config
    from sretoolkit.provision.repos import repos

    with _registry() as registry:
        _show(repos(registry, Config.load()), as_json)


@provision_command.command("simulate")
@click.option(
    "--folder", type=click.Path(path_type=Path, exists=True), help="With the documents of this folder instead."
)
@click.option(
    "--facts",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="Of recorded facts instead of all known machines.",
)
@click.option("--check", is_flag=True, help="Exit code 1 when a machine would change, or a case of the folder fails.")
@json_option
def simulate_command(folder: Path | None, facts: tuple[Path, ...], check: bool, as_json: bool) -> None:
    """Who would match what, what would change from now, and whose disk would be written. Nothing is changed."""
    from sretoolkit.cli.output import print_json, print_text
    from sretoolkit.provision.folder import check_cases, read_folder
    from sretoolkit.provision.simulate import simulate

    nodes = [_facts(path) for path in facts] or None
    cases = check_cases(folder) if folder else None
    with _registry() as registry:
        report, found = simulate(registry, read_folder(folder) if folder else None, nodes=nodes)
    if as_json:
        print_json({"cases": cases.to_dict() if cases else None, "simulation": report.to_dict()})
    else:
        print_text(f"{cases}\n\n{report}" if cases and cases.tables[0].rows else str(report))
    changes = any(outlook.changes for outlook in found) and nodes is None
    raise SystemExit(1 if check and (changes or (cases and not cases.ok)) else 0)


@provision_command.command("apply")
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--prune", is_flag=True, help="Also delete what the folder does not name.")
@plan_options
def apply_command(folder: Path, prune: bool, **options: Any) -> None:
    """Make tags, repos, policies, brokers and hooks what FOLDER says."""
    from sretoolkit.errors import ProvisionError
    from sretoolkit.provision.folder import apply_folder, check_cases

    cases = check_cases(folder)
    if not cases.ok:
        raise ProvisionError(f"the cases of {folder} do not come out as they expect", hint=str(cases))
    carry_out("apply", lambda registry: apply_folder(registry, folder, prune=prune), **options)


@provision_command.command("import")
@click.argument("system", type=click.Choice(["cobbler", "razor"]))
@click.argument("source")
@plan_options
def import_command(system: str, source: str, **options: Any) -> None:
    """Write down what another SYSTEM knows: cobbler (a folder of its collections, or its API), razor (a folder of JSON)."""
    from sretoolkit.provision.importer import IMPORTERS

    found = IMPORTERS[system]().read(source)
    if not options["as_json"]:
        _show(found.report(), as_json=False)
    carry_out("import", found.plan, **options)


@contextmanager
def _registry() -> Iterator[Registry]:
    from sretoolkit.provision.registry import Registry
    from sretoolkit.store import open_store

    with open_store() as store:
        yield Registry(store)


def _facts(path: Path) -> Node:
    """A machine from a file of what one said."""
    from sretoolkit.errors import ProvisionError
    from sretoolkit.provision.simulate import recorded

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProvisionError(f"{path} cannot be read: {error}", hint="it is the JSON of a machine's facts") from error
    if not isinstance(content, dict):
        raise ProvisionError(f"{path} must hold one table of facts")
    return recorded(content.get("facts", content), name=path.stem)
