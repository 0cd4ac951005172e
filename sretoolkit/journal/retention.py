"""Retention and restore: what may go is pruned to its signed ends, on record, and verification keeps its meaning."""

from __future__ import annotations

from pathlib import Path

from sretoolkit.actor import Actor
from sretoolkit.journal.anchor import recall, write
from sretoolkit.journal.journal import Journal
from sretoolkit.journal.keys import Keys
from sretoolkit.journal.runs import Run, close_run, open_run, sign_head
from sretoolkit.journal.search import find_runs
from sretoolkit.journal.verification import verify_run, verify_store
from sretoolkit.store import Store

FOREVER = 1_000_000


def prune(store: Store, keys: Keys, *, actor: Actor, older_than: float) -> list[Run]:
    """Prune every closed run that began before ``older_than`` (seconds since the epoch); returns those that were.

    Kept of a run: its first and last entry and the last one's signature. A run that does not verify, or is not signed
    to its end, is left alone; so are a run that still holds a lease, and the journal's own runs, which say what was
    pruned, rotated and restored. The record's files are deleted. A run of its own, "journal prune", says what went.
    """
    found = [run for run in find_runs(store, limit=FOREVER) if run.closed and run.started < older_than]
    needed = {row["run"] for row in store.read("SELECT run FROM leases WHERE state <> 'free'")}
    old = [
        run
        for run in found
        if run.mode != "maintenance" and run.id not in needed and verify_run(store, keys, run.id).state == "whole"
    ]
    if not old:
        return []
    journal = open_run(store, keys, runbook="journal prune", actor=actor, mode="maintenance")
    for run in old:
        _prune(journal, run)
    close_run(journal, keys, state="completed", exit_code=0)
    return old


def rotate(store: Store, keys: Keys, *, actor: Actor) -> tuple[str, str]:
    """Change the signing key; the hand-over is a run whose first head is signed by the old key and whose last by the new."""
    journal = open_run(store, keys, runbook="journal rotate-key", actor=actor, mode="maintenance")
    journal.append("key-rotation", {"from": keys.key_id()})
    sign_head(journal, keys)
    old, new = keys.rotate()
    journal.append("key-rotated", {"from": old, "to": new, "public": keys.public(new)})
    close_run(journal, keys, state="completed", exit_code=0)
    return old, new


def accept_restore(store: Store, keys: Keys, *, actor: Actor, reason: str) -> str:
    """Accept that this store is an older copy: say so in a run of its own and forget the runs that are gone.

    Returns what was missing; "" when nothing was.
    """
    missing = verify_store(store, keys)[0].reason
    if not missing:
        return ""
    seen = recall(keys, store)
    newest = store.read("SELECT number, hash FROM chain ORDER BY number DESC LIMIT 1")
    write(keys, store, *((newest[0]["number"], newest[0]["hash"]) if newest else (0, "")))
    journal = open_run(store, keys, runbook="journal accept-restore", actor=actor, mode="maintenance")
    journal.append("restore-accepted", {"reason": reason, "missing": missing, "seen": list(seen or ())})
    close_run(journal, keys, state="completed", exit_code=0)
    return missing


def _prune(journal: Journal, run: Run) -> None:
    pruned = Journal(journal.store, run.id, actor=journal.actor)
    head = pruned.head()
    files = [
        Path(entry.payload["folder"]) / Path(name).name
        for entry in pruned.entries(kind="record")
        for name in entry.payload["files"]
    ]
    journal.append("pruned", {"run": run.id, "seq": head.seq, "hash": head.hash, "entries": head.seq})
    with journal.store.transaction() as transaction:
        transaction.lock(f"journal:{run.id}")
        for table in ("entries", "signatures"):
            first = "seq > 1 AND " if table == "entries" else ""
            transaction.execute(
                f"DELETE FROM {table} WHERE run = :run AND {first}seq < :head", run=run.id, head=head.seq
            )
        transaction.execute("DELETE FROM record_files WHERE run = :run", run=run.id)
        transaction.execute("UPDATE runs SET notebook = NULL, html = NULL WHERE id = :run", run=run.id)
    for path in files:
        path.unlink(missing_ok=True)
