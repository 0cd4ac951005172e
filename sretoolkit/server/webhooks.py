"""Webhooks out: others are told when a run has ended or waits for an approval, each of it once by one of several servers.

::

    [webhooks.chat]
    url = "https://chat.example/hooks/sre"
    secret = "env:CHAT_HOOK"
    events = ["failed", "awaiting_approval"]      # finished, failed, awaiting_approval; all when not given
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sretoolkit.actor import Actor
from sretoolkit.errors import ConfigError, HTTPError, SREToolkitError
from sretoolkit.http import Client, Remote
from sretoolkit.journal import digest
from sretoolkit.journal.runs import GOOD, moment
from sretoolkit.secrets import Secret, redaction
from sretoolkit.server.signatures import DELIVERY, signed
from sretoolkit.server.site import Site
from sretoolkit.store.store import Row

_LOG = logging.getLogger(__name__)
EVENTS = ("finished", "failed", "awaiting_approval")
_INTERVAL = 0.5
_OVERLAP = 30.0  # seconds that are read again: a transaction that began earlier may be seen later
_CURSOR = "webhooks"
_ATTEMPTS, _LONGEST_PAUSE, _GIVEN_UP_AFTER = 10, 1800.0, 60.0
_TIMEOUT = timedelta(seconds=10)


@dataclass(frozen=True)
class Webhook:
    """Who is told of what."""

    name: str
    url: str
    secret: str
    events: tuple[str, ...]

    @classmethod
    def of(cls, name: str, options: Mapping[str, Any]) -> Webhook:
        """From the configuration; raises `ConfigError` for what is missing or unknown."""
        if unknown := sorted(set(options) - {"url", "secret", "events"}):
            raise ConfigError(f"[webhooks.{name}] has no option {unknown[0]!r}", hint="it takes: url, secret, events")
        if not options.get("url") or not options.get("secret"):
            raise ConfigError(f"[webhooks.{name}] needs url and secret", hint='secret = "env:NAME" signs what is sent')
        events = tuple(options.get("events", EVENTS))
        if wrong := sorted(set(events) - set(EVENTS)):
            raise ConfigError(f"[webhooks.{name}]: {wrong[0]!r} is no event", hint=f"one of {', '.join(EVENTS)}")
        Remote(url=str(options["url"]))
        return cls(name, str(options["url"]), str(options["secret"]), events)


class Webhooks:
    """One thread. What is to be told is written down first, so that it is told once, and also when a server dies meanwhile."""

    def __init__(self, site: Site) -> None:
        self._site = site
        names = site.config.names("webhooks")
        self._hooks = {name: Webhook.of(name, site.config.endpoint("webhooks", name)) for name in names}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="webhooks", daemon=True)

    def start(self) -> None:
        """Begin with what happened since the last time, if there is anybody to tell."""
        if self._hooks:
            self._thread.start()

    def close(self) -> None:
        """End; what was not told yet is told by the next server."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _follow(self) -> None:
        while not self._done.wait(_INTERVAL):
            try:
                self._note()
                while not self._done.is_set() and (row := self._next()):
                    self._send(row)
            except SREToolkitError as error:  # the store is away for a moment: it is looked at again
                _LOG.warning("nobody can be told now: %s", error)
                self._done.wait(1.0)

    def _note(self) -> None:
        """Write down what is to be told of runs that ended, or began to wait, since the last time."""
        store = self._site.store
        rows = store.read("SELECT value, {now} AS now FROM meta WHERE key = :key", key=_CURSOR)
        now = float(rows[0]["now"]) if rows else store.now()
        since = float(rows[0]["value"]) if rows else now
        columns = "id, runbook, state, actor, ticket, error, plan_hash, mode, started, ended"
        found = [
            *store.read(f"SELECT {columns} FROM runs WHERE ended >= :since ORDER BY ended", since=since - _OVERLAP),
            *store.read(f"SELECT {columns} FROM runs WHERE state = 'awaiting_approval'"),
        ]
        for row in found:
            event = "awaiting_approval" if row["ended"] is None else "finished" if row["state"] in GOOD else "failed"
            if rows or row["ended"] is None:  # what ended before anybody was to be told is no news
                self._write_down(row, event)
        newest = max([since, *(row["ended"] for row in found if row["ended"])]) if rows else now
        if not rows or newest != since:
            store.write(
                "INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = :value",
                key=_CURSOR, value=repr(newest),
            )  # fmt: skip

    def _write_down(self, row: Row, event: str) -> None:
        about = {
            "event": event, "run": row["id"], "runbook": row["runbook"], "state": row["state"], "mode": row["mode"],
            "who": str(Actor(**json.loads(row["actor"]))), "ticket": row["ticket"], "error": row["error"],
            "plan": row["plan_hash"] or "", "began": moment(row["started"]),
            "ended": moment(row["ended"]) if row["ended"] else None,
            "url": f"{self._site.url}/runs/{row['id']}" if self._site.url else "",
        }  # fmt: skip
        for hook in self._hooks.values():
            if event in hook.events:
                waits_for = row["plan_hash"] if event == "awaiting_approval" else ""
                key = digest([hook.name, row["id"], event, row["ended"], waits_for])
                self._site.store.write(
                    "INSERT INTO deliveries (id, webhook, run, document, state, attempts, due, error) "
                    "VALUES (:id, :hook, :run, :document, 'waiting', 0, {now}, '') ON CONFLICT DO NOTHING",
                    id=key, hook=hook.name, run=row["id"], document=json.dumps(redaction.data(about), sort_keys=True),
                )  # fmt: skip

    def _next(self) -> Row | None:
        """What is due, and ours to send from now on; what another server took and never said more of is due again."""
        with self._site.store.transaction() as tx:
            tx.lock("deliveries")
            rows = tx.execute(
                "SELECT * FROM deliveries WHERE state IN ('waiting', 'sending') AND due <= {now} ORDER BY due LIMIT 20"
            )
            mine = [row for row in rows if row["webhook"] in self._hooks]
            if not mine:
                return None
            sql = "UPDATE deliveries SET state = 'sending', attempts = attempts + 1, due = {now} + :seconds WHERE id = :id"
            tx.execute(sql, id=mine[0]["id"], seconds=_GIVEN_UP_AFTER)
        return {**mine[0], "attempts": mine[0]["attempts"] + 1}

    def _send(self, row: Row) -> None:
        hook = self._hooks[row["webhook"]]
        body = str(row["document"]).encode()
        error = ""
        try:
            client = Client(Remote(url=hook.url, timeout=_TIMEOUT, attempts=1, most_bytes=1 << 20))
            try:
                headers = {**signed(Secret(hook.secret), body), DELIVERY: row["id"], "Content-Type": "application/json"}
                answer = client.send("POST", content=body, headers=headers)
                error = "" if answer.ok else answer.said
            finally:
                client.close()
        except (HTTPError, ConfigError) as failure:
            error = failure.message
        self._say(row, redaction(error))

    def _say(self, row: Row, error: str) -> None:
        """Told, or to be told again later, or given up."""
        state = "told" if not error else "waiting" if row["attempts"] < _ATTEMPTS else "given up"
        pause = min(_LONGEST_PAUSE, 2.0 ** row["attempts"])
        if error:
            _LOG.warning("webhook %s was not told of run %s (%s): %s", row["webhook"], row["run"], state, error)
        self._site.store.write(
            "UPDATE deliveries SET state = :state, error = :error, due = {now} + :pause WHERE id = :id",
            id=row["id"], state=state, error=error, pause=pause,
        )  # fmt: skip
