"""Passing a run on: who looks after it from now on, on record, and told by the configured commands."""

from __future__ import annotations

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.errors import RunbookError
from sretoolkit.journal import Journal, Keys, load_run
from sretoolkit.journal.runs import sign_head
from sretoolkit.runbook.notification import notify
from sretoolkit.secrets import redaction
from sretoolkit.store import Store


def pass_on(store: Store, run: str, to: str, note: str = "", *, config: Config) -> str:
    """Write down that somebody else looks after a run from now on, and tell whoever is configured; returns the run's id.

    It goes on as it was, under the name of the one who began it. Raises `RunbookError` without somebody to pass it to.
    """
    if not to.strip():
        raise RunbookError("nobody is named to pass the run on to", hint="write who is on call next")
    found = load_run(store, run)
    actor = Actor.current(config)
    journal = Journal(store, found.id, actor=actor)
    journal.append("passed-on", {"to": to.strip(), "note": note.strip()})
    if found.state != "running":  # of one that goes on its supervisor signs
        sign_head(journal, Keys.of(config))
    about = {"run": found.id, "runbook": found.runbook, "state": found.state, "by": str(actor)}
    notify(config, redaction.data({**about, "passed_to": to.strip(), "note": note.strip()}))
    return found.id
