"""Leases: the exclusive right to change a target, with a fencing token that a stale holder's next step is refused by."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Self

from sretoolkit.actor import Actor, Process
from sretoolkit.clock import Clock, poll
from sretoolkit.errors import LeaseError, LeaseHeld, LeaseLost, StoreUnavailable
from sretoolkit.journal.runs import moment
from sretoolkit.store import Store
from sretoolkit.store.store import Row, Transaction


class Leases:
    """The leases of one plan: taken in sorted order, renewed by a thread, all given back or all held at the end."""

    def __init__(self, store: Store, run: str, *, actor: Actor, ttl: float = 90.0, clock: Clock | None = None) -> None:
        self.store = store
        self.run = run
        self.ttl = ttl
        self.tokens: dict[str, int] = {}
        self._clock = clock or Clock()
        self._holder = json.dumps({"who": str(actor), **Process.current().to_dict()})
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, targets: Iterable[str], *, wait: float = 0.0) -> Self:
        """Take every target or none, waiting at most ``wait`` seconds in all.

        Raises `LeaseHeld`: who has it, since when, for which run. A lease of the same run is taken over (token + 1), so
        that what was its holder can do no more.
        """
        deadline = self._clock.monotonic() + wait
        try:
            for target in sorted(set(targets)):
                self.tokens[target] = self._wait_for(target, deadline)
                if self._thread is None:  # from the first one on: waiting for the others may take longer than it lasts
                    self._thread = threading.Thread(
                        target=self._renew_until_done, name=f"lease-{self.run}", daemon=True
                    )
                    self._thread.start()
        except BaseException:
            with suppress(StoreUnavailable):
                self.release()
            raise
        return self

    def check(self, target: str, *, needs: float) -> None:
        """Refuse to go on unless the target is still ours for ``needs`` seconds; raises `LeaseLost`."""
        if target not in self.tokens or self._renew(target, max(self.ttl, needs)) != 1:
            raise LeaseLost(
                f"{target} is not (or no longer) leased to this process of run {self.run}: it was given back or taken over",
                target=target,
                hint="nothing more is changed by this process; see `sretoolkit lease`",
            )

    def release(self) -> None:
        """Give every target back; those that were taken over are left alone."""
        self._end("free")

    def hold(self) -> None:
        """Keep every target without an end, until a person says ``sretoolkit lease release``."""
        self._end("held")

    def _wait_for(self, target: str, deadline: float) -> int:
        refusal: list[LeaseHeld] = []

        def attempt() -> int | None:
            try:
                return self._take(target)
            except LeaseHeld as error:
                refusal[:] = [error]
                return None

        remaining = max(0.0, deadline - self._clock.monotonic())
        token = poll(attempt, timeout=remaining, interval=0.1, clock=self._clock)
        if token is None:
            raise refusal[0]
        return token

    def _take(self, target: str) -> int:
        with self.store.transaction() as transaction:
            transaction.lock(f"lease:{target}")
            rows = transaction.execute("SELECT * FROM leases WHERE target = :target", target=target)
            now = transaction.now()
            if rows and rows[0]["run"] != self.run:
                _refuse_unless_free(transaction, rows[0], now)
            token = rows[0]["token"] + 1 if rows else 1
            transaction.execute(
                "INSERT INTO leases (target, token, state, run, holder, since, expires) "
                "VALUES (:target, :token, 'active', :run, :holder, :now, :expires) ON CONFLICT (target) DO UPDATE SET "
                "token = :token, state = 'active', run = :run, holder = :holder, since = :now, expires = :expires",
                target=target, token=token, run=self.run, holder=self._holder, now=now, expires=now + self.ttl,
            )  # fmt: skip
            transaction.execute(
                "INSERT INTO touched (run, target, started) VALUES (:run, :target, "
                "coalesce((SELECT started FROM runs WHERE id = :run), 0)) ON CONFLICT DO NOTHING",
                run=self.run, target=target,
            )  # fmt: skip
        return token

    def _renew(self, target: str, seconds: float) -> int:
        return self.store.write(
            "UPDATE leases SET expires = {now} + :seconds "
            "WHERE target = :target AND token = :token AND run = :run AND state = 'active'",
            target=target, token=self.tokens[target], run=self.run, seconds=seconds,
        )  # fmt: skip

    def _renew_until_done(self) -> None:
        while not self._done.wait(self.ttl / 3):
            for target in list(self.tokens):
                try:
                    self._renew(target, self.ttl)
                except StoreUnavailable:
                    continue  # tried again in a third of the time; the next step checks before it acts

    def _end(self, state: str) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        self._thread, self._done = None, threading.Event()
        for target, token in self.tokens.items():
            self.store.write(
                "UPDATE leases SET state = :state WHERE target = :target AND token = :token AND run = :run",
                target=target, token=token, run=self.run, state=state,
            )  # fmt: skip
        self.tokens.clear()


def find_leases(store: Store) -> list[dict[str, Any]]:
    """Every lease that somebody has: target, state (active, expired, held), run, who, since, expires, token."""
    found = []
    for row in store.read("SELECT l.*, {now} AS now FROM leases l WHERE state <> 'free' ORDER BY target"):
        expired = row["state"] == "active" and row["expires"] < row["now"]
        found.append(
            {
                "target": row["target"],
                "state": "expired" if expired else row["state"],
                "run": row["run"],
                "who": json.loads(row["holder"])["who"],
                "since": moment(row["since"]),
                "expires": None if row["state"] == "held" else moment(row["expires"]),
                "token": row["token"],
            }
        )
    return found


def free_leases(store: Store, run: str) -> None:
    """End the active leases of a run that has no process any more; the tokens move on, should it have one after all."""
    store.write("UPDATE leases SET state = 'free', token = token + 1 WHERE run = :run AND state = 'active'", run=run)


def release_lease(store: Store, target: str) -> str:
    """End a lease by a person's decision; returns the run that had it.

    Raises `LeaseError` when there is none, or when its run still works on it.
    """
    rows = [row for row in find_leases(store) if row["target"] == target]
    if not rows:
        raise LeaseError(f"nobody has a lease on {target}", target=target, hint="`sretoolkit lease` lists them")
    if rows[0]["state"] == "active":
        raise LeaseError(
            f"run {rows[0]['run']} works on {target} now",
            target=target,
            hint=f"`sretoolkit control {rows[0]['run']} stop` first",
        )
    freed = store.write(
        "UPDATE leases SET state = 'free', token = token + 1 WHERE target = :target AND token = :token",
        target=target, token=rows[0]["token"],
    )  # fmt: skip
    if not freed:
        raise LeaseError(
            f"{target} was taken by somebody this very moment", target=target, hint="`sretoolkit lease` shows by whom"
        )
    return str(rows[0]["run"])


def _refuse_unless_free(transaction: Transaction, row: Row, now: float) -> None:
    if row["state"] == "free":
        return
    runs = transaction.execute("SELECT ended FROM runs WHERE id = :run", run=row["run"])
    ended = not runs or runs[0]["ended"] is not None
    if row["state"] == "active" and ended:
        return
    holder = {**json.loads(row["holder"]), "run": row["run"], "since": moment(row["since"]), "state": row["state"]}
    who = f"{holder['who']} (run {row['run']}, since {holder['since']})"
    if row["state"] == "held":
        message = f"{row['target']} is held by {who}: that run ended without being undone"
        hint = f"`sretoolkit recover {row['run']}`, or `sretoolkit lease release {row['target']}` when it is as it should be"
    elif row["expires"] < now:
        message = f"{row['target']} was left by {who}, which was lost in the middle"
        hint = f"`sretoolkit recover {row['run']}` undoes or resumes it"
    else:
        message = f"{row['target']} is being changed by {who}"
        hint = "wait (--wait 5m), or look at that run"
    raise LeaseHeld(message, target=row["target"], holder=holder, hint=hint)
