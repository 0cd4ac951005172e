"""Who keeps the times of schedules: ``schedule run``, ``fire`` and ``export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from sretoolkit.config import Config
    from sretoolkit.runbook.queue import Asked
    from sretoolkit.store import Store


def complete_schedule(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of schedules, for the shell."""
    from sretoolkit.runbook.schedules import Schedules
    from sretoolkit.store import open_store

    with open_store() as store:
        names = [found.schedule.name for found in Schedules(store).find()]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


name_argument = click.argument("name", shell_complete=complete_schedule)


@click.command("run")
def keep_command() -> None:
    """Keep the times of all schedules, and begin what is asked for, until a signal comes. Needs no server."""
    import threading

    from sretoolkit.config import Config
    from sretoolkit.runbook.dispatcher import Dispatcher
    from sretoolkit.runbook.signals import Signals
    from sretoolkit.runbook.ticker import Ticker
    from sretoolkit.store import open_store

    config, ended, signals = Config.load(), threading.Event(), Signals()
    signals.on_signal = ended.set
    signals.listen()
    with open_store(config) as store:
        store.now()  # upgrades the store, or says why it cannot be used, before anything is begun
        threads = (Ticker(store, config), Dispatcher(store, config))
        for thread in threads:
            thread.start()
        click.echo("schedules are kept; what was begun goes on when this ends")
        ended.wait()
        for thread in threads:
            thread.close()


@click.command("fire")
@name_argument
@click.pass_context
def fire_command(ctx: click.Context, name: str) -> None:
    """Run the tick that is due now, and end as its run does: for another program that keeps the times."""
    from sretoolkit.cli.progress import Progress, print_result
    from sretoolkit.config import Config
    from sretoolkit.runbook.firing import carry_out, fire
    from sretoolkit.store import open_store

    config = Config.load()
    with open_store(config) as store:
        fired = fire(store, config, name)
        if fired.asked is None:
            click.echo(f"schedule {name}: {fired.why}")
            return
        if fired.asked.executor != "local":
            ctx.exit(_fire_elsewhere(store, config, fired.asked))
        with Progress(quiet=False) as progress:
            result = carry_out(store, config, fired.asked, on_event=progress)
    print_result(result)
    ctx.exit(result.exit_code)


def _fire_elsewhere(store: Store, config: Config, asked: Asked) -> int:
    from sretoolkit.cli.asked import followed
    from sretoolkit.runbook.dispatcher import begin
    from sretoolkit.runbook.executor import executor_of
    from sretoolkit.runbook.queue import Queue
    from sretoolkit.runbook.ticker import Ticker

    queue, executor, run = Queue(store), executor_of(asked.executor, config), asked.request.id
    click.echo(f"run {run}: {begin(queue, executor, asked)}".rstrip(": "))
    about, code = followed(queue, executor, run)
    click.echo(f"{about['state']} {about['error']}".rstrip())
    Ticker(store, config).settle()
    return code


def complete_export(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Programs that a schedule can be exported to, for the shell."""
    from sretoolkit.runbook.export import EXPORTS

    return [CompletionItem(name) for name in EXPORTS if name.startswith(incomplete)]


@click.command("export")
@name_argument
@click.option(
    "--as", "kind", required=True, shell_complete=complete_export, help="systemd, crontab, kubernetes or airflow."
)
@click.option("--program", default="", help="How sretoolkit is called there; where it is here otherwise.")
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), help="Write the files into this folder.")
def export_command(name: str, kind: str, program: str, into: Path | None) -> None:
    """Let another program keep the times of a schedule: the schedule itself, its policies and its history stay here."""
    import shutil
    import sys

    from sretoolkit.cli.output import print_text
    from sretoolkit.config import Config
    from sretoolkit.runbook.export import EXPORTS
    from sretoolkit.runbook.schedules import Schedules
    from sretoolkit.store import open_store

    config = Config.load()
    with open_store(config) as store:
        schedule = Schedules(store).load(name).schedule
    ours = Path(sys.executable).with_name("sretoolkit")  # what we were called by may be a module, or another version
    program = program or (str(ours) if ours.exists() else shutil.which("sretoolkit") or "sretoolkit")
    for file, text in EXPORTS[kind](schedule, config, program).files().items():
        if into is None:
            print_text(f"# {file}\n{text}")
            continue
        into.mkdir(parents=True, exist_ok=True)
        (into / file).write_text(text, encoding="utf-8")
        click.echo(str(into / file))
