"""Runs that were asked for and wait to be begun: rows in the store, so that any server can begin them, each once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sretoolkit.errors import RunbookError
from sretoolkit.journal.runs import LOST_AFTER
from sretoolkit.runbook.request import Request
from sretoolkit.secrets import redaction
from sretoolkit.store import Store
from sretoolkit.store.store import Row, Transaction

State = Literal["waiting", "taken", "begun", "refused", "cancelled"]
_FORGOTTEN = 60.0  # seconds after which another server begins what one has taken and not begun
# Of a request q: whether its run was opened, or taken up again, since.
OPENED = "EXISTS (SELECT 1 FROM runs r WHERE r.id = q.id AND r.heartbeat >= q.changed)"
# Of a request q and its run r: whether it is being begun, or goes on. A run that is lost goes on no more.
BEGUN = (
    "(q.state IN ('taken', 'begun') AND (r.id IS NULL OR (r.state = 'running' "
    f"AND r.heartbeat > {{now}} - {LOST_AFTER})))"
)


@dataclass(frozen=True)
class Asked:
    """A request and how far it is. ``error`` says why it was refused."""

    request: Request
    executor: str
    state: State
    error: str
    asked: float


class Queue:
    """The requests of one store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def ask(
        self, request: Request, *, executor: str = "local", once: str = "", within: Transaction | None = None
    ) -> bool:
        """Ask for a run; False, and nothing is asked, when something with the same ``once`` was asked for before.

        ``within`` a transaction it is asked for if all else in that comes about. A run has one request: asking for it to be
        taken up again replaces the one that it was begun by.
        """
        again = (
            "(id) DO UPDATE SET document = :document, executor = :executor, state = 'waiting', error = '', changed = {now} "
            "WHERE requests.state NOT IN ('waiting', 'taken')"
        )
        sql = (
            "INSERT INTO requests (id, runbook, document, executor, state, error, once, asked, changed) "
            "VALUES (:id, :runbook, :document, :executor, 'waiting', '', :once, {now}, {now}) "
            f"ON CONFLICT {again if request.resume else 'DO NOTHING'}"
        )
        document = json.dumps(redaction.data(request.to_dict()))
        write = within.changed if within else self.store.write
        added = write(
            sql, id=request.id, runbook=request.runbook, document=document, executor=executor, once=once or None
        )
        return bool(added)

    def take(self, count: int, *, executor: str = "", most: int | None = None, run: str = "") -> list[Asked]:
        """The oldest requests that nobody begins, at most so many; they are ours to begin from now on.

        Of one ``executor``, with ``most``: no more than leave so many going on there. ``run``: that one alone.
        """
        where = "q.executor = :executor AND " if executor else ""
        where += "q.id = :run AND " if run else ""
        chosen = {name: value for name, value in (("executor", executor), ("run", run)) if value}
        with self.store.transaction() as tx:
            tx.lock("requests")
            if most is not None:
                count = max(0, min(count, most - _active(tx.execute, executor)))
            rows = tx.execute(
                f"SELECT * FROM requests q WHERE {where}(state = 'waiting' OR (state = 'taken' "
                f"AND changed < {{now}} - :forgotten AND NOT {OPENED})) "
                "ORDER BY number LIMIT :count",
                forgotten=_FORGOTTEN, count=count, **chosen,
            )  # fmt: skip
            for row in rows:
                tx.execute("UPDATE requests SET state = 'taken', changed = {now} WHERE id = :id", id=row["id"])
        return [_asked({**row, "state": "taken"}) for row in rows]

    def say(self, run: str, state: State, *, error: str = "") -> None:
        """What came of a request that was taken; one that its run's own process has refused meanwhile stays so.

        And none is refused whose run was opened since: that has its own end.
        """
        where = {"begun": " AND q.state = 'taken'", "refused": f" AND NOT {OPENED}"}.get(state, "")
        self.store.write(
            f"UPDATE requests AS q SET state = :state, error = :error, changed = {{now}} WHERE q.id = :id{where}",
            id=run, state=state, error=redaction(error),
        )  # fmt: skip

    def cancel(self, run: str) -> None:
        """Forget what waits; raises `RunbookError` when it does not wait any more."""
        sql = "UPDATE requests SET state = 'cancelled', changed = {now} WHERE id = :id AND state = 'waiting'"
        if not self.store.write(sql, id=run):
            raise RunbookError(
                f"run {run} does not wait to be begun", hint=f"`sretoolkit control {run} abort` ends a run"
            )

    def find(self, *, state: State | None = None, limit: int = 50) -> list[Asked]:
        """Requests, newest first."""
        where = "WHERE state = :state" if state else ""
        sql = f"SELECT * FROM requests {where} ORDER BY number DESC LIMIT :limit"
        return [_asked(row) for row in self.store.read(sql, limit=limit, **({"state": state} if state else {}))]

    def unbegun(self, *, limit: int = 50) -> list[Asked]:
        """What was asked for and has opened no run: it waits, is being begun, or was refused; newest first."""
        rows = self.store.read(
            "SELECT * FROM requests q WHERE q.state <> 'cancelled' AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = q.id) "
            "ORDER BY number DESC LIMIT :limit",
            limit=limit,
        )
        return [_asked(row) for row in rows]

    def opened(self, run: str) -> bool:
        """Whether a run was opened, or taken up again, since it was taken."""
        return bool(self.store.read(f"SELECT 1 FROM requests q WHERE q.id = :run AND {OPENED}", run=run))

    def one(self, run: str) -> Asked | None:
        """The request of one run; None when nobody asked for it here."""
        rows = self.store.read("SELECT * FROM requests WHERE id = :id", id=run)
        return _asked(rows[0]) if rows else None

    def load(self, run: str) -> Asked:
        """The same; raises `RunbookError` when nobody asked for it."""
        found = self.one(run)
        if found is None:
            raise RunbookError(
                f"nobody asked for run {run} in this store", hint="is store.url the one it was asked in?"
            )
        return found

    def active(self, executor: str) -> int:
        """How many runs that were begun from here on this executor go on."""
        return _active(self.store.read, executor)


def _active(read: Callable[..., list[Row]], executor: str) -> int:
    rows = read(
        f"SELECT count(*) AS count FROM requests q LEFT JOIN runs r ON r.id = q.id WHERE q.executor = :executor AND {BEGUN}",
        executor=executor,
    )
    return int(rows[0]["count"])


def _asked(row: Row | dict[str, Any]) -> Asked:
    request = Request.from_dict(json.loads(row["document"]))
    return Asked(request, row["executor"], row["state"], row["error"], float(row["asked"]))
