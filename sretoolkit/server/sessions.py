"""Who is logged in: kept in the store, so that every server on it knows, and can be made to forget."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.runbook.access import Person
from sretoolkit.store import Store

_SEEN_EVERY = 60.0  # seconds after which it is worth a write that somebody is still there


@dataclass(frozen=True)
class Session:
    """One browser of one person; ``csrf`` is what its forms prove themselves with."""

    id: str
    person: Person
    csrf: str


class Sessions:
    """The sessions of one store. Only a digest of what a cookie holds is kept: who reads the store cannot become anybody."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self._idle = config.seconds("serve.session_idle")
        self._longest = config.seconds("serve.session_longest")

    def open(self, person: Person, *, instead_of: str = "") -> str:
        """A new session, under an id that nobody had before; returns what the cookie is to hold. The old one ends."""
        cookie = secrets.token_urlsafe(32)
        kept = {"actor": person.actor.to_dict(), "groups": sorted(person.groups)}
        with self._store.transaction() as tx:
            tx.execute(
                "DELETE FROM sessions WHERE id = :old OR seen < {now} - :idle OR created < {now} - :longest",
                old=digest(instead_of), idle=self._idle, longest=self._longest,
            )  # fmt: skip
            tx.execute(
                "INSERT INTO sessions (id, person, csrf, created, seen) VALUES (:id, :person, :csrf, {now}, {now})",
                id=digest(cookie), person=json.dumps(kept), csrf=secrets.token_urlsafe(32),
            )  # fmt: skip
        return cookie

    def find(self, cookie: str) -> Session | None:
        """The session of a cookie; None when there is none, or when it is over."""
        rows = self._store.read(
            "SELECT id, person, csrf, {now} - seen AS idle FROM sessions "
            "WHERE id = :id AND seen >= {now} - :idle AND created >= {now} - :longest",
            id=digest(cookie), idle=self._idle, longest=self._longest,
        )  # fmt: skip
        if not rows:
            return None
        row = rows[0]
        if row["idle"] > min(_SEEN_EVERY, self._idle / 4):
            self._store.write("UPDATE sessions SET seen = {now} WHERE id = :id", id=row["id"])
        kept = json.loads(row["person"])
        return Session(row["id"], Person(Actor(**kept["actor"]), frozenset(kept["groups"])), row["csrf"])

    def close(self, session: Session) -> None:
        """Log out."""
        self._store.write("DELETE FROM sessions WHERE id = :id", id=session.id)


def digest(secret: str) -> str:
    """What is kept of a secret of full entropy."""
    return hashlib.sha256(secret.encode()).hexdigest()
