"""Runs: opened as the first entry of a chain, closed as the last; a row in the store shows them at a glance."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sretoolkit.actor import Actor, Process, boot_id
from sretoolkit.clock import Clock
from sretoolkit.errors import JournalError
from sretoolkit.journal.anchor import remember
from sretoolkit.journal.entry import ZERO
from sretoolkit.journal.journal import INSERT, Journal
from sretoolkit.journal.keys import Keys
from sretoolkit.secrets import redaction
from sretoolkit.store import Store
from sretoolkit.store.store import Row, Transaction

OPEN = ("running", "awaiting_approval")
GOOD = ("completed", "planned")
RESUMABLE = ("awaiting_approval", "lost", "held", "stopped")
LOST_AFTER = 30.0
COLUMNS = (
    "id, runbook, runbook_hash, parameters, actor, origin, process, mode, state, ticket, plan_hash, undoes, progress, "
    "error, exit_code, notebook, html, started, ended, heartbeat"
)


@dataclass(frozen=True)
class Run:
    """A run as its row shows it. ``state`` is ``lost`` when it should be running and nobody runs it."""

    id: str
    runbook: str
    runbook_hash: str | None
    parameters: dict[str, Any]
    actor: dict[str, Any]
    origin: str
    process: Process
    mode: str
    state: str
    ticket: str
    plan_hash: str | None
    undoes: str | None
    progress: dict[str, Any]
    error: str
    exit_code: int | None
    notebook: str | None
    html: str | None
    started: float
    ended: float | None
    heartbeat: float

    @property
    def closed(self) -> bool:
        """Whether it has ended, well or badly."""
        return self.state not in (*OPEN, "lost")

    @property
    def who(self) -> str:
        """The actor, readable."""
        return str(Actor(**self.actor))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; times are ISO 8601 in UTC."""
        whole = {**self.__dict__, "process": self.process.to_dict()}
        for name in ("started", "ended", "heartbeat"):
            whole[name] = moment(whole[name]) if whole[name] is not None else None
        return whole


def moment(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def new_run_id(clock: Clock | None = None) -> str:
    """A run's id: when it was asked for (UTC), and something that no other has."""
    return f"{(clock or Clock()).now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def open_run(
    store: Store,
    keys: Keys,
    *,
    runbook: str,
    actor: Actor,
    mode: str,
    runbook_hash: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    origin: str = "library",
    ticket: str = "",
    undoes: str | None = None,
    demands: Mapping[str, bool] | None = None,
    path: str = "",
    run: str = "",
    clock: Clock | None = None,
) -> Journal:
    """Open a run: reserve room for its end, chain its first entry to the store's previous run, return its journal.

    ``demands`` is what the runbook asks of a run (approval, self_approval), ``path`` its file; both are kept with the run.
    ``run`` is an id from `new_run_id` that was given out before; raises `JournalError` when it was opened already.
    """
    clock = clock or Clock()
    run = run or new_run_id(clock)
    store.reserve(run)
    journal = Journal(store, run, actor=actor, clock=clock)
    given = redaction.data(dict(parameters or {}))
    runbook, ticket = redaction(runbook), redaction(ticket)
    with store.transaction() as transaction:
        transaction.lock("chain")
        if transaction.execute("SELECT 1 FROM runs WHERE id = :run", run=run):
            raise JournalError(f"run {run} was begun already", run=run, hint=f"`sretoolkit show {run}`")
        number, previous, heads = _link(transaction)
        payload = {
            "runbook": runbook,
            "runbook_hash": runbook_hash,
            "parameters": given,
            "mode": mode,
            "origin": origin,
            "ticket": ticket,
            "undoes": undoes,
            "demands": dict(demands or {}),
            "path": path,
            "boot": boot_id(),
            "monotonic": time.monotonic(),
            "number": number,
            "after": previous["run"],
            "closed": heads,
        }
        first = journal.sealed(1, previous["hash"], "run-opened", payload)
        transaction.execute(INSERT, **first.row)
        add = "INSERT INTO chain (number, run, hash) VALUES (:number, :run, :hash)"
        transaction.execute(add, number=number, run=run, hash=first.hash)
        transaction.execute(
            f"INSERT INTO runs ({COLUMNS}, bound) VALUES (:id, :runbook, :runbook_hash, :parameters, :actor, :origin, "
            ":process, :mode, 'running', :ticket, NULL, :undoes, '{}', '', NULL, NULL, NULL, {now}, NULL, {now}, 0)",
            id=run, runbook=runbook, runbook_hash=runbook_hash, parameters=json.dumps(given), origin=origin,
            actor=json.dumps(actor.to_dict()), process=json.dumps(Process.current().to_dict()), mode=mode,
            ticket=ticket, undoes=undoes,
        )  # fmt: skip
    remember(keys, store, number, first.hash)
    return journal


def _link(transaction: Transaction) -> tuple[int, Row, list[Row]]:
    """A new run's number, the run before it, and the ends of those that ended and that no run has bound yet."""
    rows = transaction.execute("SELECT number, run, hash FROM chain ORDER BY number DESC LIMIT 1")
    number, previous = (rows[0]["number"] + 1, rows[0]) if rows else (1, {"run": "", "hash": ZERO})
    closed = transaction.execute(
        "SELECT r.id AS run, max(e.seq) AS seq FROM runs r JOIN entries e ON e.run = r.id "
        "WHERE r.bound = 0 AND r.ended IS NOT NULL GROUP BY r.id ORDER BY r.id"
    )
    heads = [
        transaction.execute("SELECT run, seq, hash FROM entries WHERE run = :run AND seq = :seq", **row)[0]
        for row in closed
    ]
    for head in heads:
        transaction.execute("UPDATE runs SET bound = 1 WHERE id = :run", run=head["run"])
    return number, previous, heads


def reopen_run(journal: Journal, found: Run, *, why: str) -> None:
    """Go on with a run that waited, was stopped or held, or was lost; this process is its runner from now on.

    Raises `JournalError` when it is in no such state, or when somebody else took it up since it was looked at.
    """
    if found.state not in RESUMABLE:
        raise JournalError(
            f"run {found.id} cannot be taken up: it is {found.state}",
            run=found.id,
            hint=f"`sretoolkit show {found.id}`",
        )

    def claim(transaction: Transaction) -> None:
        claimed = transaction.changed(
            "UPDATE runs SET state = 'running', ended = NULL, exit_code = NULL, bound = 0, process = :process, "
            "heartbeat = {now} WHERE id = :run AND process = :before AND state = :state",
            run=found.id, process=json.dumps(Process.current().to_dict()), before=json.dumps(found.process.to_dict()),
            state="running" if found.state == "lost" else found.state,
        )  # fmt: skip
        if claimed != 1:
            raise JournalError(
                f"run {found.id} was taken up by somebody else just now",
                run=found.id,
                hint=f"`sretoolkit show {found.id}`",
            )

    journal.append("run-reopened", {"why": why, "boot": boot_id()}, then=claim)


def close_run(
    journal: Journal,
    keys: Keys,
    *,
    state: str,
    exit_code: int,
    error: str = "",
    payload: Mapping[str, Any] | None = None,
) -> None:
    """Write the last entry, sign the head, and give the reserved room back.

    A run that awaits its approval is suspended with the same care, so that what it planned is signed.
    """
    kind = "run-suspended" if state in OPEN else "run-closed"

    def show(transaction: Transaction) -> None:
        transaction.execute(
            "UPDATE runs SET state = :state, exit_code = :code, error = :error, "
            "ended = CASE WHEN :open = 1 THEN NULL ELSE {now} END WHERE id = :run",
            run=journal.run, state=state, code=exit_code, error=redaction(error), open=int(state in OPEN),
        )  # fmt: skip

    journal.append(kind, {"state": state, "exit_code": exit_code, "error": error, **(payload or {})}, then=show)
    sign_head(journal, keys)
    journal.store.release_reserve(journal.run)


def sign_head(journal: Journal, keys: Keys) -> None:
    """Sign the newest entry of a run, once."""
    head = journal.head()
    key_id, signature = keys.sign(head_message(head.run, head.seq, head.hash))
    journal.store.write(
        "INSERT INTO signatures (run, seq, hash, key_id, signature, at) "
        "VALUES (:run, :seq, :hash, :key, :signature, {now}) ON CONFLICT DO NOTHING",
        run=head.run, seq=head.seq, hash=head.hash, key=key_id, signature=signature,
    )  # fmt: skip


def head_message(run: str, seq: int, head: str) -> bytes:
    """The bytes that a signature of a head covers."""
    return f"sretoolkit journal head 1\n{run}\n{seq}\n{head}\n".encode()


def beat(store: Store, run: str, progress: Mapping[str, Any]) -> None:
    """Say that a run is alive and how far it is."""
    store.write(
        "UPDATE runs SET heartbeat = {now}, progress = :progress WHERE id = :run",
        run=run,
        progress=json.dumps(progress),
    )


def load_run(store: Store, run: str, *, whole: bool = False) -> Run:
    """A run by its id or an unambiguous part of it ("last" is the newest); raises `JournalError` when there is none.

    ``whole``: by its id alone.
    """
    sql = f"SELECT {COLUMNS}, {{now}} AS now FROM runs"
    if not whole and run in ("", "last"):
        rows = store.read(f"{sql} ORDER BY started DESC, id DESC LIMIT 1") if run else []
    else:
        rows = store.read(f"{sql} WHERE id = :id", id=run)
        if not rows and not whole:  # a part is looked for in every row
            rows = store.read(f"{sql} WHERE id LIKE :part ORDER BY started DESC LIMIT 2", part=f"%{run}%")
    if len(rows) != 1:
        what = "no run" if not rows else "more than one run"
        raise JournalError(f"{what} {run!r} in this store", run=run, hint="`sretoolkit runs` lists them")
    return run_of(rows[0])


def run_of(row: Mapping[str, Any]) -> Run:
    """A run from its `COLUMNS`, and the store's time as ``now``."""
    content = dict(row)
    now = content.pop("now")
    for name in ("parameters", "actor", "progress"):
        content[name] = json.loads(content[name])
    content["process"] = Process(**json.loads(content["process"]))
    if content["state"] == "running" and _is_lost(content["process"], now - content["heartbeat"]):
        content["state"] = "lost"
    return Run(**content)


def _is_lost(process: Process, silence: float) -> bool:
    """A process of this machine is asked for; one elsewhere is given up after some silence."""
    alive = process.alive
    return silence > LOST_AFTER if alive is None else not alive
