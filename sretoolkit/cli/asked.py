"""Runs that are asked for here and carried out elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sretoolkit.config import Config
    from sretoolkit.runbook.executor import Executor
    from sretoolkit.runbook.queue import Queue
    from sretoolkit.runbook.run import Order


def run_elsewhere(order: Order, config: Config, name: str, *, follow: bool, as_json: bool) -> int:
    """Ask for a run and begin it on an executor when that has room; returns the exit code."""
    from sretoolkit.cli.output import print_json
    from sretoolkit.errors import SREToolkitError
    from sretoolkit.runbook.dispatcher import begin
    from sretoolkit.runbook.executor import executor_of
    from sretoolkit.runbook.queue import Queue
    from sretoolkit.runbook.request import Request
    from sretoolkit.store import open_store

    executor, request = executor_of(name, config), Request.of(order, config)
    executor.check()
    with open_store(config) as store:
        queue = Queue(store)
        queue.ask(request, executor=name)
        taken = queue.take(1, executor=name, most=executor.most, run=request.id)
        try:
            where = begin(queue, executor, taken[0]) if taken else ""
        except SREToolkitError:  # whoever asked is told now, and nothing is begun behind their back later
            queue.say(request.id, "cancelled")
            raise
        if not as_json:
            click.echo(f"run {request.id}: {where or _waits(queue, request.id, executor)}")
        about, code = followed(queue, executor, request.id) if follow else _state(queue, request.id)
    if as_json:
        print_json({"run": request.id, "executor": name, "where": where, **about})
    elif about["error"] or follow:
        click.echo(f"{about['state']} {about['error']}".rstrip())
    return code


def _waits(queue: Queue, run: str, executor: Executor) -> str:
    state = queue.load(run).state
    if state == "waiting":
        return f"waits: {executor.most} runs go on there; `sretoolkit serve` or `sretoolkit schedule run` begins it"
    return state


def _state(queue: Queue, run: str) -> tuple[dict[str, Any], int]:
    """How far it is, and the exit code that goes with that."""
    from sretoolkit.journal import load_run

    if queue.store.read("SELECT 1 FROM runs WHERE id = :run", run=run):
        found = load_run(queue.store, run)
        return {"state": found.state, "error": found.error}, found.exit_code or 0
    asked = queue.load(run)
    return {"state": asked.state, "error": asked.error}, int(asked.state in ("refused", "cancelled"))


def followed(queue: Queue, executor: Executor, run: str) -> tuple[dict[str, Any], int]:
    """How it stands when it is over, waits for a person, or is lost, and the exit code that goes with that."""
    import time

    looked = time.monotonic()
    while (about := _state(queue, run))[0]["state"] in ("waiting", "taken", "begun", "running"):
        if about[0]["state"] == "begun" and time.monotonic() - looked > 5:
            looked = time.monotonic()
            if why := executor.lost(run):
                queue.say(run, "refused", error=why)
        time.sleep(0.3)
    return (about[0], 1) if about[0]["state"] == "lost" else about
