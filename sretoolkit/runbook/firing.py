"""A tick of a schedule whose times another program keeps: cron, systemd, Kubernetes, Airflow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sretoolkit.clock import Clock
from sretoolkit.config import Config
from sretoolkit.errors import SREToolkitError
from sretoolkit.journal.runs import moment
from sretoolkit.runbook.queue import Asked, Queue
from sretoolkit.runbook.run import Result, run_runbook
from sretoolkit.runbook.schedules import NEVER, Scheduled, Schedules
from sretoolkit.runbook.supervisor import Event
from sretoolkit.runbook.ticker import Ticker, abort, going_on
from sretoolkit.store import Store

_LATE = 600.0  # seconds after which a tick was missed: another program may first have to fetch an image
_LOOK = 1.0


@dataclass(frozen=True)
class Fired:
    """A request that is ours to begin, or why there is none."""

    asked: Asked | None = None
    why: str = ""


def fire(store: Store, config: Config, name: str, *, clock: Clock | None = None) -> Fired:
    """Ask for the newest tick that is due and take its request; the same rules hold as for a ticker of ours.

    So a tick that a server has asked for already is not run again. Where the schedule lets a tick wait for an earlier run,
    or aborts that one, this waits for its end. The jitter is the other program's.
    """
    clock = clock or Clock()
    ticker, schedules = Ticker(store, config, clock=clock), Schedules(store, clock=clock)
    found = schedules.load(name)
    if found.state == "paused":
        return Fired(why=f"it is paused: {found.why}")
    _await_earlier(store, found, clock)
    prompt = replace(found, schedule=replace(found.schedule, jitter=0.0))
    ticker.decide(prompt, clock.now(), late=_LATE, newest=True)
    newest = schedules.history(name, limit=1)
    if not newest or newest[0].tick <= found.ticked:
        due = moment(found.due) if found.due < NEVER else "never"
        return Fired(why=f"no tick is due that was not dealt with already; the next one is: {due}")
    if newest[0].state != "asked":
        return Fired(why=f"the tick of {moment(newest[0].tick)} is {newest[0].state}: {newest[0].why}")
    taken = ticker.queue.take(1, run=newest[0].run)
    return Fired(asked=taken[0]) if taken else Fired(why=f"a server begins it: run {newest[0].run}")


def carry_out(store: Store, config: Config, asked: Asked, *, on_event: Event) -> Result:
    """Run what was taken in this process, say what came of it, and let the schedule know how it ended."""
    queue = Queue(store)

    def heard(kind: str, about: dict[str, Any]) -> None:
        if kind == "opened":
            queue.say(asked.request.id, "begun")
        on_event(kind, about)

    try:
        return run_runbook(asked.request.order(config), config, on_event=heard)
    except SREToolkitError as error:
        queue.say(asked.request.id, "refused", error=str(error))
        raise
    finally:
        Ticker(store, config).settle()


def _await_earlier(store: Store, found: Scheduled, clock: Clock) -> None:
    while found.schedule.overlap != "skip" and (earlier := going_on(store.read, found.schedule)):
        for row in earlier if found.schedule.overlap == "abort" else ():
            abort(store, found.schedule, row)
        clock.sleep(_LOOK)
