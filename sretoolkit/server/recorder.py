"""What happens to machines, on the signed record: one server at a time writes it, in a run of its own.

The run is taken up again by the next server when this one is killed, closed when it ends, and begun anew each day.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.errors import JournalError, LeaseError
from sretoolkit.journal import Journal, Keys, close_run, find_runs, load_run, open_run
from sretoolkit.journal.runs import beat, reopen_run, sign_head
from sretoolkit.lease import Leases, find_leases
from sretoolkit.store import Store

RUNBOOK, TARGET = "provisioning server", "provision:record"
_LONGEST = 86_400.0
_UNSAID = ("log", "boot-script", "hook-ran")  # what is told at length elsewhere, or changes nothing


class Recorder:
    """Appends what happened to a run's journal while this server is the one that does."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self._keys = Keys.of(config)
        self._actor = Actor.current(config)
        self._sign_every = config.seconds("journal.sign_every")
        self._ttl = config.seconds("lease.ttl")
        self._journal: Journal | None = None
        self._leases: Leases | None = None
        self._begun = self._signed = 0.0

    def leads(self) -> bool:
        """Whether this server is the one; becomes it when nobody is."""
        if self._journal is not None:
            return True
        holders = [lease["run"] for lease in find_leases(self._store) if lease["target"] == TARGET]
        if any(load_run(self._store, run).state == "running" for run in holders):
            return False
        journal = self._taken_up() or open_run(
            self._store, self._keys, runbook=RUNBOOK, actor=self._actor, mode="apply", origin="server"
        )
        leases = Leases(self._store, journal.run, actor=self._actor, ttl=self._ttl)
        try:
            leases.take([TARGET])
        except LeaseError:  # another server was quicker
            close_run(journal, self._keys, state="stopped", exit_code=0)
            return False
        self._journal, self._leases, self._begun = journal, leases, time.monotonic()
        return True

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append what happened, as one entry; sign, and say that we are there, every few seconds."""
        assert self._journal is not None
        events = [row for row in rows if row["event"] not in _UNSAID]
        if events:
            self._journal.append("machines", {"events": events}, target=TARGET)
        if time.monotonic() - self._signed > self._sign_every:
            self._signed = time.monotonic()
            beat(self._store, self._journal.run, {"text": "machines are served"})
            if self._journal.unsigned():
                sign_head(self._journal, self._keys)
        if time.monotonic() - self._begun > _LONGEST:
            self.close()

    def close(self) -> None:
        """End the run, if this server leads."""
        if self._journal is not None and self._leases is not None:
            self._leases.release()
            close_run(self._journal, self._keys, state="completed", exit_code=0)
        self._journal = self._leases = None

    def _taken_up(self) -> Journal | None:
        """The run of a server that was killed; None when there is none, or somebody else was quicker."""
        for run in find_runs(self._store, limit=50):
            if run.runbook == RUNBOOK and run.state == "lost":
                journal = Journal(self._store, run.id, actor=self._actor)
                try:
                    reopen_run(journal, run, why="the server was started again")
                except JournalError:
                    return None
                return journal
        return None
