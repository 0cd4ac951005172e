"""``journal``: verify, export, keys, retention, backup."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sretoolkit.cli.main import json_option
from sretoolkit.cli.runs import complete_run

if TYPE_CHECKING:
    from sretoolkit.store import Store


@click.group("journal")
def journal_command() -> None:
    """The signed record of every action: prove it, export it, keep it."""


@journal_command.command("verify")
@click.argument("run", default="", shell_complete=complete_run)
@click.option("--all", "every", is_flag=True, help="Every run, and the chain that they form.")
@json_option
@click.pass_context
def verify_command(ctx: click.Context, run: str, every: bool, as_json: bool) -> None:
    """Find any edited, dropped, reordered or cut-off entry, and name the first bad one. Exit code 1 when there is one."""
    from sretoolkit.cli.output import print_json, print_table
    from sretoolkit.config import Config
    from sretoolkit.journal import Keys, verify_run, verify_store
    from sretoolkit.store import open_store

    config = Config.load()
    with open_store(config) as store:
        keys = Keys.of(config)
        found = verify_store(store, keys) if every or not run else [verify_run(store, keys, _whole_id(store, run))]
    if as_json:
        print_json([{**proof.__dict__, "ok": proof.ok} for proof in found])
    else:
        rows = [
            (
                proof.run or "(chain of runs)",
                proof.state,
                proof.entries,
                "" if proof.seq is None else proof.seq,
                proof.reason,
            )
            for proof in found
        ]
        print_table(("RUN", "STATE", "ENTRIES", "FIRST BAD", "WHY"), rows, empty="no runs")
    ctx.exit(0 if all(proof.ok for proof in found) else 1)


@journal_command.command("export")
@click.argument("run", shell_complete=complete_run)
@click.option("--format", "form", type=click.Choice(["in-toto", "entries"]), default="in-toto", show_default=True)
def export_command(run: str, form: str) -> None:
    """Print a run as a DSSE-wrapped in-toto statement, or its entries as lines of JSON."""
    import json

    from sretoolkit.actor import Actor
    from sretoolkit.cli.output import print_json
    from sretoolkit.config import Config
    from sretoolkit.journal import Journal, Keys, load_run
    from sretoolkit.journal.statement import envelope
    from sretoolkit.store import open_store

    config = Config.load()
    with open_store(config) as store:
        found = load_run(store, run)
        journal = Journal(store, found.id, actor=Actor.current(config))
        if form == "in-toto":
            print_json(envelope(journal, Keys.of(config), found))
            return
        for entry in journal.entries():
            click.echo(json.dumps({**entry.content, "hash": entry.hash}, sort_keys=True))


@journal_command.command("key")
def key_command() -> None:
    """Print this machine's public key, for others to trust."""
    from sretoolkit.config import Config
    from sretoolkit.journal import Keys

    keys = Keys.of(Config.load())
    click.echo(keys.public(keys.key_id()), nl=False)


@journal_command.command("rotate-key")
def rotate_command() -> None:
    """Sign with a new key from now on; the hand-over is journalled, the old public key stays trusted."""
    from sretoolkit.actor import Actor
    from sretoolkit.config import Config
    from sretoolkit.journal import Keys
    from sretoolkit.journal.retention import rotate
    from sretoolkit.store import open_store

    config = Config.load()
    with open_store(config) as store:
        old, new = rotate(store, Keys.of(config), actor=Actor.current(config))
    click.echo(f"key {old} handed over to {new}")


@journal_command.command("prune")
@click.option("--older-than", default="", metavar="DURATION", help="Instead of journal.retention.")
def prune_command(older_than: str) -> None:
    """Keep of old runs only their signed ends; what went is journalled, and verify still means something."""
    from sretoolkit.actor import Actor
    from sretoolkit.clock import parse_duration
    from sretoolkit.config import Config
    from sretoolkit.journal import Keys
    from sretoolkit.journal.retention import prune
    from sretoolkit.store import open_store

    config = Config.load()
    age = parse_duration(older_than or config["journal.retention"]).total_seconds()
    with open_store(config) as store:
        gone = prune(store, Keys.of(config), actor=Actor.current(config), older_than=store.now() - age)
    click.echo(f"pruned {len(gone)} runs")


@journal_command.command("backup")
@click.argument("path", type=click.Path(path_type=Path))
def backup_command(path: Path) -> None:
    """Copy a SQLite store while it is in use (PostgreSQL: pg_dump)."""
    from sretoolkit.store import open_store

    with open_store() as store:
        store.backup(path)
    click.echo(f"copied to {path}")


@journal_command.command("accept-restore")
@click.option("--reason", required=True, help="Why an older copy is the store now.")
def accept_restore_command(reason: str) -> None:
    """Accept that this store is an older copy; the runs that are missing are named on record."""
    from sretoolkit.actor import Actor
    from sretoolkit.config import Config
    from sretoolkit.journal import Keys
    from sretoolkit.journal.retention import accept_restore
    from sretoolkit.store import open_store

    config = Config.load()
    with open_store(config) as store:
        missing = accept_restore(store, Keys.of(config), actor=Actor.current(config), reason=reason)
    click.echo(f"accepted: {missing}" if missing else "nothing is missing")


def _whole_id(store: Store, run: str) -> str:
    """The id for a part of it; a run that was dropped from the list is still looked for by its whole id."""
    from sretoolkit.errors import JournalError
    from sretoolkit.journal import load_run

    try:
        return load_run(store, run).id
    except JournalError:
        return run
