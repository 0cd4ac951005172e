"""Verification: every edited, dropped, reordered or cut-off entry is found, and the first bad one is named."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sretoolkit.errors import JournalError
from sretoolkit.journal.anchor import recall
from sretoolkit.journal.entry import ZERO, Entry
from sretoolkit.journal.journal import Journal
from sretoolkit.journal.keys import Keys
from sretoolkit.journal.runs import head_message, load_run
from sretoolkit.store import Store

State = Literal["whole", "unsigned", "unknown-key", "pruned", "broken"]


@dataclass(frozen=True)
class Verification:
    """What can be proved of one run (or, with ``run`` "", of the store's chain of runs).

    ``whole``: every entry is there, unchanged, and the last one is signed by a trusted key. ``unsigned``: the entries
    after ``signed_to`` hang together but nobody signed them yet. ``unknown-key``: signed, by a key not trusted here.
    ``pruned``: only the first and the last entry were kept, on purpose and on record. ``broken``: ``seq`` names the
    first bad entry, ``reason`` what is wrong with it.
    """

    run: str
    state: State
    entries: int = 0
    signed_to: int = 0
    seq: int | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Nothing was found to be wrong (an unsigned tail is not wrong, but it proves less)."""
        return self.state != "broken"

    def __str__(self) -> str:
        where = f" at entry {self.seq}" if self.seq is not None else ""
        name = f"run {self.run}" if self.run else "chain of runs"
        return f"{name}: {self.state}{where}{': ' + self.reason if self.reason else ''} ({self.entries} entries)"


def verify_run(store: Store, keys: Keys, run: str) -> Verification:
    """Check one run's entries, links and signatures; raises `JournalError` when there is no such run."""
    entries = Journal(store, run, actor=None).entries()  # type: ignore[arg-type]
    signatures = store.read("SELECT seq, hash, key_id, signature FROM signatures WHERE run = :run ORDER BY seq", run=run)
    rows = store.read("SELECT state, ended FROM runs WHERE id = :run", run=run)
    chain = store.read("SELECT hash FROM chain WHERE run = :run", run=run)
    if not entries and not rows and not signatures and not chain:
        raise JournalError(f"there is no run {run} in this store", run=run, hint="`sretoolkit runs` lists them")
    pruned = _pruned(store, run)
    bad = (
        _first_bad(run, entries, pruned)
        or _bad_first(entries, chain)
        or _bad_signature(keys, entries, signatures)
        or _bad_end(entries, rows)
    )
    signed = [row for row in signatures if keys.public(row["key_id"]) is not None]
    known = max((row["seq"] for row in signed), default=0)
    if bad:
        return Verification(run, "broken", len(entries), known, *bad)
    if pruned:
        return Verification(run, "pruned", len(entries), known, None, f"{pruned['entries']} entries until {pruned['at']}")
    last = entries[-1].seq
    if known == last:
        return Verification(run, "whole", len(entries), known)
    if any(row["seq"] == last for row in signatures):
        return Verification(run, "unknown-key", len(entries), known, None, "signed by a key that is not trusted here")
    return Verification(run, "unsigned", len(entries), known, None, f"entries {known + 1} to {last} are not signed")


def verify_store(store: Store, keys: Keys) -> list[Verification]:
    """Check the chain of runs (first item) and every run in it."""
    runs = [row["run"] for row in store.read("SELECT run FROM chain ORDER BY number")]
    listed = {row["id"] for row in store.read("SELECT id FROM runs")}
    orphans = sorted({row["run"] for row in store.read("SELECT DISTINCT run FROM entries")} | listed - set(runs))
    every = [*runs, *(run for run in orphans if run not in set(runs))]
    return [_verify_chain(store, keys, listed), *(verify_run(store, keys, run) for run in every)]


def _verify_chain(store: Store, keys: Keys, listed: set[str]) -> Verification:
    rows = store.read("SELECT number, run, hash FROM chain ORDER BY number")
    previous, fault = ZERO, ""
    for expected, row in enumerate(rows, start=1):
        first = store.read("SELECT run, seq, kind, body, hash FROM entries WHERE run = :run AND seq = 1", run=row["run"])
        if row["number"] != expected:
            fault = f"run number {expected} was dropped"
        elif not first or row["run"] not in listed:
            fault = f"run {row['run']} (number {expected}) was dropped"
        else:
            fault = _bad_link(store, Entry(**first[0]), expected, previous)
        if fault:
            break
        previous = row["hash"]
    remembered = recall(keys, store)
    if not fault and remembered is not None:
        number, head = remembered
        here = [row["hash"] for row in rows if row["number"] == number]
        if not here:
            newest = rows[-1]["number"] if rows else 0
            fault = f"runs {newest + 1} to {number}, which this machine has seen, are missing: dropped, or an older copy was restored"
        elif here[0] != head:
            fault = f"run number {number} is not the one that this machine has seen"
    return Verification("", "broken" if fault else "whole", len(rows), reason=fault)


def _bad_link(store: Store, first: Entry, number: int, previous: str) -> str:
    if first.previous != previous or first.payload.get("number") != number:
        return f"run {first.run} (number {number}) does not follow the run before it"
    for head in first.payload.get("closed", []):
        found = store.read("SELECT hash FROM entries WHERE run = :run AND seq = :seq", run=head["run"], seq=head["seq"])
        if not found or found[0]["hash"] != head["hash"]:
            return f"the end of run {head['run']} (entry {head['seq']}) is not what it was when run {first.run} began"
    return ""


def _first_bad(run: str, entries: Sequence[Entry], pruned: Mapping[str, Any] | None) -> tuple[int, str] | None:
    previous = ""
    for expected, entry in enumerate(entries, start=1):
        if pruned and expected == 2 and entry.seq == pruned["seq"] and entry.hash == pruned["hash"]:
            expected, previous = entry.seq, entry.previous
        if entry.seq != expected:
            return expected, "the entry was dropped"
        if hashlib.sha256(entry.body.encode()).hexdigest() != entry.hash:
            return entry.seq, "the entry was edited"
        try:
            content = entry.content
        except JournalError as error:
            return entry.seq, error.message
        if (content.get("run"), content.get("seq"), content.get("kind")) != (run, entry.seq, entry.kind):
            return entry.seq, "the entry was moved or its kind edited"
        if expected > 1 and content.get("previous") != previous:
            return entry.seq, "the entry does not follow the one before it: edited or reordered"
        previous = entry.hash
    return None


def _bad_first(entries: Sequence[Entry], chain: Sequence[Mapping[str, Any]]) -> tuple[int, str] | None:
    if not entries:
        return 1, "all entries were dropped"
    if not chain or chain[0]["hash"] != entries[0].hash:
        return 1, "the first entry is not the one in the store's chain of runs"
    return None


def _bad_signature(
    keys: Keys, entries: Sequence[Entry], signatures: Sequence[Mapping[str, Any]]
) -> tuple[int, str] | None:
    hashes = {entry.seq: entry.hash for entry in entries}
    run, last = entries[0].run, entries[-1].seq
    for row in signatures:
        if row["seq"] > last:
            return last + 1, f"entries up to {row['seq']} were signed, those after {last} were cut off"
        if keys.valid(row["key_id"], head_message(run, row["seq"], row["hash"]), row["signature"]) is False:
            return row["seq"], f"the signature by key {row['key_id']} is not valid"
        if hashes[row["seq"]] != row["hash"]:
            return row["seq"], "the entry is not the one that was signed: it or one before it was rewritten"
    return None


def _bad_end(entries: Sequence[Entry], rows: Sequence[Mapping[str, Any]]) -> tuple[int, str] | None:
    last = entries[-1]
    if not rows:
        return last.seq, "the run was dropped from the list of runs"
    if rows[0]["ended"] is not None and last.kind != "run-closed":
        return last.seq + 1, "the run is listed as ended, but its closing entry was cut off"
    return None


def _pruned(store: Store, run: str) -> dict[str, Any] | None:
    rows = store.read("SELECT run, seq, kind, body, hash FROM entries WHERE kind = 'pruned'")
    found = [entry for entry in (Entry(**row) for row in rows) if entry.payload.get("run") == run]
    return {**found[-1].payload, "at": found[-1].time} if found else None
