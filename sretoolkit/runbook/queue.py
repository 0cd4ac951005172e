"""Runs that were asked for and wait to be begun: rows in the store, so that any server can begin them, each once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from sretoolkit.errors import RunbookError
from sretoolkit.journal.runs import LOST_AFTER
from sretoolkit.runbook.request import Request
from sretoolkit.secrets import redaction
from sretoolkit.store import Store
from sretoolkit.store.store import Row

State = Literal["waiting", "taken", "begun", "refused", "cancelled"]
_FORGOTTEN = 60.0  # seconds after which another server begins what one has taken and not begun


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

    def ask(self, request: Request, *, executor: str = "local", once: str = "") -> bool:
        """Ask for a run; False, and nothing is asked, when something with the same ``once`` was asked for before.

        A run has one request: asking for it to be taken up again replaces the one that it was begun by.
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
        added = self.store.write(
            sql, id=request.id, runbook=request.runbook, document=document, executor=executor, once=once or None
        )
        return bool(added)

    def waits(self) -> bool:
        """Whether there may be something to take: asked often, so that it writes nothing."""
        return bool(self.store.read("SELECT 1 FROM requests WHERE state IN ('waiting', 'taken') LIMIT 1"))

    def take(self, count: int) -> list[Asked]:
        """The oldest requests that nobody begins, at most so many; they are ours to begin from now on."""
        with self.store.transaction() as tx:
            tx.lock("requests")
            rows = tx.execute(
                "SELECT * FROM requests q WHERE state = 'waiting' OR (state = 'taken' AND changed < {now} - :forgotten "
                "AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = q.id AND r.heartbeat >= q.changed)) "
                "ORDER BY number LIMIT :count",
                forgotten=_FORGOTTEN, count=count,
            )  # fmt: skip
            for row in rows:
                tx.execute("UPDATE requests SET state = 'taken', changed = {now} WHERE id = :id", id=row["id"])
        return [_asked({**row, "state": "taken"}) for row in rows]

    def say(self, run: str, state: State, *, error: str = "") -> None:
        """What came of a request that was taken."""
        self.store.write(
            "UPDATE requests SET state = :state, error = :error, changed = {now} WHERE id = :id",
            id=run, state=state, error=redaction(error),
        )  # fmt: skip

    def cancel(self, run: str) -> None:
        """Forget what waits; raises `RunbookError` when it does not wait any more."""
        sql = "UPDATE requests SET state = 'cancelled', changed = {now} WHERE id = :id AND state = 'waiting'"
        if not self.store.write(sql, id=run):
            raise RunbookError(
                f"run {run} does not wait to be begun", hint=f"`sretoolkit control {run} abort` ends a run"
            )

    def one(self, run: str) -> Asked | None:
        """The request of a run; None when it was begun in another way."""
        rows = self.store.read("SELECT * FROM requests WHERE id = :id", id=run)
        return _asked(rows[0]) if rows else None

    def find(self, *, state: State | None = None, limit: int = 50) -> list[Asked]:
        """Requests, newest first."""
        where = "WHERE state = :state" if state else ""
        sql = f"SELECT * FROM requests {where} ORDER BY number DESC LIMIT :limit"
        return [_asked(row) for row in self.store.read(sql, limit=limit, **({"state": state} if state else {}))]

    def active(self, executor: str) -> int:
        """How many runs that were begun from here on this executor go on; one that was lost does not."""
        rows = self.store.read(
            "SELECT count(*) AS count FROM requests q LEFT JOIN runs r ON r.id = q.id WHERE q.executor = :executor "
            "AND (q.state = 'taken' OR (q.state = 'begun' AND (r.id IS NULL OR "
            "(r.state = 'running' AND r.heartbeat > {now} - :lost))))",
            executor=executor, lost=LOST_AFTER,
        )  # fmt: skip
        return int(rows[0]["count"])


def _asked(row: Row | dict[str, Any]) -> Asked:
    request = Request.from_dict(json.loads(row["document"]))
    return Asked(request, row["executor"], row["state"], row["error"], float(row["asked"]))
