"""The journal of one run: append, read, sign."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sretoolkit.actor import Actor, Process, boot_id
from sretoolkit.clock import Clock
from sretoolkit.errors import JournalError, StoreUnavailable
from sretoolkit.journal.entry import FORMAT, Entry, plain, seal
from sretoolkit.secrets import redaction
from sretoolkit.store import Store
from sretoolkit.store.store import Transaction

INSERT = (
    "INSERT INTO entries (run, seq, kind, body, hash) VALUES (:run, :seq, :kind, :body, :hash) ON CONFLICT DO NOTHING"
)


class Journal:
    """Appends to one run's chain, from any process that may write to the store.

    Several processes can write to one run: an append chains to the head, and to a newer one when it comes too late.
    """

    def __init__(self, store: Store, run: str, *, actor: Actor, clock: Clock | None = None) -> None:
        self.store = store
        self.run = run
        self.actor = actor
        self.clock = clock or Clock()
        self._process = Process.current()
        self._opened: tuple[str, float] | None = None
        self._seen: Entry | None = None
        self.tight = False
        """Whether the disk was full, and what is written now uses the room that was reserved for the run's end."""

    def append(
        self,
        kind: str,
        payload: Mapping[str, Any] | None = None,
        *,
        target: str = "",
        then: Callable[[Transaction], object] | None = None,
    ) -> Entry:
        """Write one entry; it is on disk when this returns, with whatever ``then`` wrote in the same transaction.

        Raises `StoreUnavailable` when the store cannot take it; when the disk is full, the room that was reserved for
        the run's closing entries is used up first.
        """
        try:
            return self._append(kind, payload or {}, target, then)
        except StoreUnavailable as error:
            if error.full and self.store.release_reserve(self.run):
                self.tight = True
                return self._append(kind, payload or {}, target, then)
            raise

    def entries(self, *, after: int = 0, kind: str | None = None) -> list[Entry]:
        """The entries in order, those after a sequence number, of one kind or of all."""
        only = "" if kind is None else " AND kind = :kind"
        rows = self.store.read(
            f"SELECT run, seq, kind, body, hash FROM entries WHERE run = :run AND seq > :after{only} ORDER BY seq",
            **{"run": self.run, "after": after} | ({} if kind is None else {"kind": kind}),
        )
        return [Entry(**row) for row in rows]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries())

    def head(self) -> Entry:
        """The newest entry; raises `JournalError` for a run that has none."""
        rows = self.store.read(
            "SELECT run, seq, kind, body, hash FROM entries WHERE run = :run ORDER BY seq DESC LIMIT 1", run=self.run
        )
        if not rows:
            raise JournalError(
                f"there is no run {self.run} in this store", run=self.run, hint="`sretoolkit runs` lists them"
            )
        return Entry(**rows[0])

    def unsigned(self) -> int:
        """How many entries came after the newest signature."""
        rows = self.store.read("SELECT max(seq) AS seq FROM signatures WHERE run = :run", run=self.run)
        return self.head().seq - int(rows[0]["seq"] or 0)

    def sealed(self, seq: int, previous: str, kind: str, payload: Any, target: str = "") -> Entry:
        """The entry at this place of the chain, as it is to be inserted."""
        content = {
            "format": FORMAT,
            "run": self.run,
            "seq": seq,
            "time": self.clock.now().isoformat(timespec="microseconds"),
            "elapsed": self._elapsed(),
            "actor": self.actor.to_dict(),
            "host": self._process.host,
            "pid": os.getpid(),
            "kind": kind,
            "target": redaction(target),
            "payload": redaction.data(payload),
            "previous": previous,
        }
        try:
            body, hashed = seal(content)
        except (TypeError, ValueError):  # evidence with a NaN or a date in it must not keep an entry off the record
            body, hashed = seal(plain(content))
        return Entry(self.run, seq, kind, body, hashed)

    def _append(
        self, kind: str, payload: Mapping[str, Any], target: str, then: Callable[[Transaction], object] | None
    ) -> Entry:
        """Chain to the head that was last seen; when somebody else has appended since, to theirs.

        The place in the chain is the key of the table, so of two that want it one gets it and the other tries again:
        an entry is one statement, and nobody waits for a lock over the network.
        """
        head = self._seen or self.head()
        while True:
            entry = self.sealed(head.seq + 1, head.hash, kind, payload, target)
            if self._insert(entry, then):
                self._seen = entry
                return entry
            head = self.head()

    def _insert(self, entry: Entry, then: Callable[[Transaction], object] | None) -> bool:
        if then is None:
            return self.store.write(INSERT, **entry.row) == 1
        with self.store.transaction() as transaction:
            inserted = transaction.changed(INSERT, **entry.row) == 1
            if inserted:
                then(transaction)
            return inserted

    def _elapsed(self) -> float | None:
        """Seconds since the run was opened by the machine's monotonic clock; None on another machine or boot."""
        if self._opened is None:
            rows = self.store.read("SELECT body, hash, kind FROM entries WHERE run = :run AND seq = 1", run=self.run)
            try:
                opened = Entry(self.run, 1, **rows[0]).payload if rows else {}
                self._opened = (opened.get("boot", boot_id()), float(opened.get("monotonic", time.monotonic())))
            except (JournalError, TypeError, ValueError):  # somebody edited it: verify says so, the run goes on
                self._opened = ("", 0.0)
        boot, since = self._opened
        return round(time.monotonic() - since, 6) if boot == boot_id() else None
