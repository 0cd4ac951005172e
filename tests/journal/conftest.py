"""A store with a few finished runs, and ways to tamper with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sretoolkit.actor import Actor
from sretoolkit.journal import Journal, Keys, close_run, open_run
from sretoolkit.store import Store

MakeRun = Callable[..., Journal]


@pytest.fixture
def make_run(store: Store, keys: Keys, actor: Actor) -> MakeRun:
    """Open a run, note as many things as asked, and close it unless told not to."""

    def make(notes: int = 3, *, close: bool = True, state: str = "completed", with_keys: Keys | None = None) -> Journal:
        used = with_keys or keys
        journal = open_run(
            store, used, runbook="demo", runbook_hash="ab" * 32, actor=actor, mode="apply", ticket="INC-1",
            parameters={"host": "web", "share": 5},
        )  # fmt: skip
        for number in range(notes):
            journal.append("note", {"number": number, "what": "done", "who": "änne"}, target="host:web")
        if close:
            close_run(journal, used, state=state, exit_code=0)
        return journal

    return make
