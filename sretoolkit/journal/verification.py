"""Verification: every edited, dropped, reordered or cut-off entry is found, and the first bad one is named."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sretoolkit.errors import JournalError, StoreError
from sretoolkit.journal.anchor import recall
from sretoolkit.journal.entry import ZERO, Entry
from sretoolkit.journal.glance import bad_row
from sretoolkit.journal.journal import Journal
from sretoolkit.journal.keys import Keys
from sretoolkit.journal.runs import head_message
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


def verify_run(
    store: Store, keys: Keys, run: str, *, prunings: Mapping[str, Mapping[str, Any]] | None = None
) -> Verification:
    """Check one run's entries, links and signatures; raises `JournalError` when there is no such run."""
    entries = Journal(store, run, actor=None).entries()  # type: ignore[arg-type]
    signatures = store.read(
        "SELECT seq, hash, key_id, signature FROM signatures WHERE run = :run ORDER BY seq", run=run
    )
    rows = store.read("SELECT * FROM runs WHERE id = :run", run=run)
    chain = store.read("SELECT hash FROM chain WHERE run = :run", run=run)
    if not entries and not rows and not signatures and not chain:
        raise JournalError(f"there is no run {run} in this store", run=run, hint="`sretoolkit runs` lists them")
    pruned = (find_prunings(store) if prunings is None else prunings).get(run)
    bad = (
        _first_bad(run, entries, pruned)
        or _bad_first(entries, chain)
        or _bad_signature(keys, entries, signatures)
        or (_bad_pruning(entries, signatures, pruned) if pruned else None)
        or bad_row(entries, rows)
    )
    strangers = [row for row in signatures if keys.public(str(row["key_id"])) is None]
    known = max((row["seq"] for row in signatures if row not in strangers and isinstance(row["seq"], int)), default=0)
    if bad:
        return Verification(run, "broken", len(entries), known, *bad)
    last = entries[-1].seq
    if known == last and pruned and len(entries) < last:
        return Verification(
            run, "pruned", len(entries), known, None, f"{pruned['entries']} entries until {pruned['at']}"
        )
    if known == last:
        note = f"signatures by keys that are not trusted here: {len(strangers)}" if strangers else ""
        return Verification(run, "whole", len(entries), known, None, note)
    if any(row["seq"] == last for row in signatures):
        return Verification(run, "unknown-key", len(entries), known, None, "signed by a key that is not trusted here")
    return Verification(run, "unsigned", len(entries), known, None, f"entries {known + 1} to {last} are not signed")


def verify_store(store: Store, keys: Keys) -> list[Verification]:
    """Check the chain of runs (first item) and every run in it."""
    damage = store.damage()
    try:
        return _verify_all(store, keys, damage)
    except (KeyError, TypeError, StoreError):
        if not damage:
            raise
        return [Verification("", "broken", reason=damage)]


def _verify_all(store: Store, keys: Keys, damage: str) -> list[Verification]:
    runs = [row["run"] for row in store.read("SELECT run FROM chain ORDER BY number")]
    listed = {row["id"] for row in store.read("SELECT id FROM runs")}
    written = {row["run"] for row in store.read("SELECT run FROM entries UNION SELECT run FROM signatures")}
    every = [*dict.fromkeys(runs), *sorted(written | listed - set(runs), key=str)]
    prunings = find_prunings(store)
    return [
        _verify_chain(store, keys, listed, prunings, damage),
        *(_verify_listed(store, keys, run, prunings) for run in dict.fromkeys(every)),
    ]


def _verify_listed(store: Store, keys: Keys, run: str, prunings: Mapping[str, Mapping[str, Any]]) -> Verification:
    try:
        return verify_run(store, keys, run, prunings=prunings)
    except JournalError:  # damage: one table names it, and none finds it
        return Verification(run, "broken", seq=1, reason="all entries were dropped")


def find_prunings(store: Store) -> dict[str, dict[str, Any]]:
    """What was pruned on record: the pruned run's id -> what its pruning says of it."""
    found: dict[str, dict[str, Any]] = {}
    for row in store.read("SELECT run, seq, kind, body, hash FROM entries WHERE kind = 'pruned' ORDER BY run, seq"):
        entry = Entry(**row)
        try:
            if not _edited(entry):
                found[entry.payload["run"]] = {**entry.payload, "at": entry.time}
        except (JournalError, KeyError):
            continue  # the run that holds this entry is broken, and says so itself
    return found


def _verify_chain(
    store: Store, keys: Keys, listed: set[str], prunings: Mapping[str, Mapping[str, Any]], damage: str
) -> Verification:
    rows = store.read("SELECT number, run, hash FROM chain ORDER BY number")
    previous, fault = ZERO, ""
    for expected, row in enumerate(rows, start=1):
        first = store.read(
            "SELECT run, seq, kind, body, hash FROM entries WHERE run = :run AND seq = 1", run=row["run"]
        )
        if row["number"] != expected:
            fault = f"run number {expected} was dropped"
        elif not first or row["run"] not in listed:
            fault = f"run {row['run']} (number {expected}) was dropped"
        elif first[0]["hash"] != row["hash"]:
            fault = f"run {row['run']} (number {expected}) is not the one that was opened"
        else:
            fault = _bad_link(store, Entry(**first[0]), expected, previous, prunings)
        if fault:
            break
        previous = row["hash"]
    fault = damage or fault or _forgotten(store, keys, rows)
    return Verification("", "broken" if fault else "whole", len(rows), reason=fault)


def _forgotten(store: Store, keys: Keys, rows: Sequence[Mapping[str, Any]]) -> str:
    """What this machine has seen of the store and is no more in it; "" when nothing is missing."""
    remembered = recall(keys, store)
    if remembered is None:
        return ""
    number, head = remembered
    here = [row["hash"] for row in rows if row["number"] == number]
    if not here:
        newest = rows[-1]["number"] if rows else 0
        seen = f"runs {newest + 1} to {number}, which this machine has seen"
        return f"{seen}, are missing: dropped, or an older copy was restored"
    return "" if here[0] == head else f"run number {number} is not the one that this machine has seen"


def _bad_link(store: Store, first: Entry, number: int, previous: str, prunings: Mapping[str, Mapping[str, Any]]) -> str:
    try:
        if first.previous != previous or first.payload.get("number") != number:
            return f"run {first.run} (number {number}) does not follow the run before it"
        for head in first.payload.get("closed", []):
            run, seq = head["run"], head["seq"]
            found = store.read("SELECT hash FROM entries WHERE run = :run AND seq = :seq", run=run, seq=seq)
            if not found and run in prunings and seq < prunings[run]["seq"]:
                continue  # the run went on after that, and then was pruned to its last end
            if not found or found[0]["hash"] != head["hash"]:
                return f"the end of run {run} (entry {seq}) is not what it was when run {first.run} began"
    except (JournalError, KeyError, TypeError):
        return f"the first entry of run {first.run} (number {number}) cannot be read"
    return ""


def _edited(entry: Entry) -> bool:
    texts = isinstance(entry.body, str) and isinstance(entry.hash, str) and isinstance(entry.kind, str)
    return not texts or hashlib.sha256(entry.body.encode()).hexdigest() != entry.hash


def _first_bad(run: str, entries: Sequence[Entry], pruned: Mapping[str, Any] | None) -> tuple[int, str] | None:
    expected, previous = 1, ""
    for entry in entries:
        if pruned and expected == 2 and (entry.seq, entry.hash) == (pruned["seq"], pruned["hash"]):
            expected, previous = entry.seq, ""
        if entry.seq != expected:
            return expected, "the entry was dropped"
        if _edited(entry):
            return entry.seq, "the entry was edited"
        try:
            follows = entry.previous == previous or not previous
            said = (entry.content["run"], entry.content["seq"], entry.content["kind"])
            same = entry.run == run and said == (run, entry.seq, entry.kind)
        except (JournalError, KeyError):
            return entry.seq, "the entry is no entry of a journal"
        if not same:
            return entry.seq, "the entry was moved or its kind edited"
        if not follows:
            return entry.seq, "the entry does not follow the one before it: edited or reordered"
        expected, previous = entry.seq + 1, entry.hash
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
        seq, key_id = row["seq"], str(row["key_id"])
        if not isinstance(seq, int) or seq < 1:
            return 1, f"a signature is not of any entry: {seq!r}"
        if seq > last:
            return last + 1, f"entries up to {seq} were signed, those after {last} were cut off"
        if keys.valid(key_id, head_message(run, seq, row["hash"]), str(row["signature"])) is False:
            return seq, f"the signature by key {key_id} is not valid"
        if hashes.get(seq) != row["hash"]:
            return seq, "the entry is not the one that was signed: it or one before it was rewritten"
    return None


def _bad_pruning(
    entries: Sequence[Entry], signatures: Sequence[Mapping[str, Any]], pruned: Mapping[str, Any]
) -> tuple[int, str] | None:
    seq = pruned["seq"]
    if not any(entry.seq == seq for entry in entries):
        return entries[-1].seq + 1, f"the run was pruned to entry {seq}, which was cut off"
    if not any(row["seq"] == seq for row in signatures):
        return seq, "the run was pruned to a signed end, and the signature was dropped"
    return None
