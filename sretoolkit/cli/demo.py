"""``demo``: the toolkit at work on this machine, without a server and without root."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sretoolkit.config import Config
    from sretoolkit.rollout.local.opening import Shop

_GOOD, _BAD = "2.0", "2.1"


@click.group("demo")
def demo_command() -> None:
    """Things to see at once, in processes that are ended again."""


@demo_command.command("canary")
def canary_command() -> None:
    """Open a small shop under load, roll out a good version and a bad one: the one is promoted, the other taken back.

    Under two minutes. Only processes of this user on loopback, in a folder that is removed; the runs stay on record.
    """
    from sretoolkit.rollout.local import open_shop
    from sretoolkit.runbook.signals import Signals

    signals = Signals()
    signals.on_signal = _interrupt
    signals.listen()
    try:
        with open_shop(served=500) as shop:
            config = shop.config
            click.echo(
                f"A shop of three processes of version 1.0, with 150 customers a second: http://127.0.0.1:{shop.port}/"
            )
            ends = [_roll_out(shop, version, what, config) for version, what in ((_GOOD, "good"), (_BAD, "bad"))]
            served = shop.served
        lost = served.get("lost", 0)
        click.echo(f"\n{served['sent']:,} requests were sent meanwhile, {lost} of them lost.")
        click.echo("Look again: sretoolkit runs | sretoolkit show RUN | sretoolkit journal verify --all")
    finally:
        signals.close()
    raise SystemExit(0 if ends == ["completed", "undone"] and not lost else 1)


def _interrupt() -> None:
    raise KeyboardInterrupt


def _roll_out(shop: Shop, version: str, what: str, config: Config) -> str:
    """One rollout, told as it goes; returns the state in which it ended."""
    from sretoolkit.errors import GateFailed
    from sretoolkit.store import open_store

    plan = shop.rollout().plan(version, config=config)
    click.echo(f"\nVersion {version} (a {what} one), plan {plan.hash[:12]}:")
    with open_store(config) as store:
        teller = _Teller(store)
        try:
            outcome: Any = plan.run(apply=True, config=config, store=store)
            state = str(outcome.state)
        except GateFailed as error:
            outcome, state = error.outcome, str(error.outcome.state)
        finally:
            teller.end()
    ends = {
        "completed": "promoted: every request goes to it",
        "undone": "taken back: every request goes to the old version",
    }
    click.secho(
        f"  {version} was {ends.get(state, state)} (run {outcome.run})",
        fg="green" if state == "completed" else "yellow",
    )
    return state


class _Teller:
    """Prints what the newest run journals, as it comes, from another connection than the run's own."""

    def __init__(self, store: Any) -> None:
        from sretoolkit.journal import find_runs

        before = find_runs(store, limit=1)
        self._before = before[0].id if before else ""
        self._store = store
        self._seen = 0
        self._texts: list[str] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="demo", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Tell what is left, and stop."""
        self._ended.set()
        self._thread.join(10)

    def _tell(self) -> None:
        while not self._ended.wait(0.3):
            self._look()
        self._look()

    def _look(self) -> None:
        from sretoolkit.actor import Actor
        from sretoolkit.journal import Journal, find_runs

        found = find_runs(self._store, limit=1)
        if not found or found[0].id == self._before:
            return
        for entry in Journal(self._store, found[0].id, actor=Actor("demo")).entries():
            if entry.seq > self._seen:
                self._seen = entry.seq
                self._line(entry.kind, entry.payload)

    def _line(self, kind: str, payload: dict[str, Any]) -> None:
        if kind == "plan":
            self._texts = [item["text"] for item in payload["items"]]
            return
        marks = {"step-after": " + ", "gate-passed": "ok ", "gate-failed": "NO ", "undo-after": " - taken back: "}
        if kind not in marks or "index" not in payload:
            return
        reason = payload.get("verdict", {}).get("reason", "")
        text = self._texts[payload["index"]]
        click.echo(f"  {marks[kind]} {reason or text}")
