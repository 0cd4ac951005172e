"""The journal of a run: what an entry holds, how a run opens, suspends, goes on and closes."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.actor import Actor, boot_id
from sretoolkit.clock import FakeClock
from sretoolkit.errors import JournalError, StoreUnavailable
from sretoolkit.journal import Journal, Keys, close_run, find_runs, load_run, open_run, verify_run
from sretoolkit.journal.entry import canonical
from sretoolkit.journal.runs import beat, reopen_run, sign_head
from sretoolkit.secrets import MASK, redaction
from sretoolkit.store import Store

MakeRun = Callable[..., Journal]


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets that a test adds are forgotten after it."""
    monkeypatch.setattr(redaction, "_forms", frozenset())


def test_an_entry_says_who_where_when_and_what(store: Store, keys: Keys) -> None:
    """DESIGN "Journal": run, seq, time, actor, host, kind, target, payload, previous hash, hash; and the pid."""
    clock = FakeClock(datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC))
    journal = open_run(store, keys, runbook="demo", actor=Actor("alice", "a@x"), mode="apply", clock=clock)
    first = journal.head()
    entry = journal.append("note", {"what": "seen"}, target="host:web")
    content = dict(entry.content)
    assert 0 <= content.pop("elapsed") < 60
    expected = {
        "format": 1, "run": journal.run, "seq": 2, "time": "2026-05-04T03:02:01.000000+00:00",
        "actor": {"user": "alice", "identity": "a@x", "via": "local"}, "host": platform.node(), "pid": os.getpid(),
        "kind": "note", "target": "host:web", "payload": {"what": "seen"}, "previous": first.hash,
    }  # fmt: skip
    assert expected == content
    assert canonical(entry.content) == entry.body
    assert [first, entry] == list(journal)


def test_a_run_opens_with_all_that_it_was_given(store: Store, keys: Keys, actor: Actor) -> None:
    """DESIGN "How a run works": runbook hash, parameters, actor, trigger; chained to the run before."""
    before = open_run(store, keys, runbook="first", actor=actor, mode="plan")
    journal = open_run(
        store, keys, runbook="demo", runbook_hash="ff", parameters={"a": 1}, actor=actor, mode="apply", origin="cli",
        ticket="INC-1", undoes=before.run, demands={"approval": True}, path="/books/demo.ipynb",
    )  # fmt: skip
    payload = journal.head().payload
    assert ("demo", "ff", {"a": 1}, "cli", "INC-1", before.run, {"approval": True}) == tuple(
        payload[name] for name in ("runbook", "runbook_hash", "parameters", "origin", "ticket", "undoes", "demands")
    )
    assert (2, before.run, before.head().hash) == (payload["number"], payload["after"], journal.head().previous)


def test_nothing_that_was_revealed_is_written(store: Store, keys: Keys, own_home: Path, forgetful: None) -> None:
    """DESIGN "Secrets": not in a payload, a key, a target, a parameter, a ticket, an error, anywhere in the files."""
    redaction.add("hunter2-canary")
    journal = open_run(
        store, keys, runbook="hunter2-canary", actor=Actor("alice"), mode="apply", ticket="hunter2-canary",
        parameters={"x": "hunter2-canary"},
    )  # fmt: skip
    journal.append("note", {"hunter2-canary": ["hunter2-canary", {"y": "a hunter2-canary"}]}, target="hunter2-canary")
    close_run(journal, keys, state="failed", exit_code=1, error="hunter2-canary")
    store.close()
    assert [] == [path.name for path in own_home.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
    assert MASK == load_run(store, journal.run).ticket
    assert "whole" == verify_run(store, keys, journal.run).state


@dataclass
class Thing:
    """Something that JSON has no word for."""

    name: str = "thing"


def test_evidence_that_is_no_json_does_not_stop_the_record(make_run: MakeRun) -> None:
    """A NaN, a date, a set or an object in a payload is written as text: an entry is never lost for its form."""
    journal = make_run(close=False)
    payload = {
        "nan": float("nan"),
        "inf": float("-inf"),
        "day": date(2026, 1, 2),
        "set": {1},
        5: Thing(),
        "half": "\udcff",
    }
    assert {
        "nan": "nan",
        "inf": "-inf",
        "day": "2026-01-02",
        "set": [1],
        "5": "Thing(name='thing')",
        "half": "\udcff",
    } == (
        journal.append("note", payload).payload  # type: ignore[arg-type]
    )


def test_any_text_in_an_error_closes_the_run(store: Store, keys: Keys, make_run: MakeRun) -> None:
    """An error with NUL or half a character in it (a file name) must not keep a run open."""
    journal = make_run(close=False)
    close_run(journal, keys, state="failed", exit_code=1, error="a\0b\udcff ü")
    assert ("failed", "a\\x00b\\udcff ü", "whole") == (
        load_run(store, journal.run).state, load_run(store, journal.run).error, verify_run(store, keys, journal.run).state,
    )  # fmt: skip


def test_nothing_is_appended_to_a_run_that_is_not_there(store: Store, actor: Actor) -> None:
    """A chain begins by opening a run and in no other way."""
    with pytest.raises(JournalError, match="there is no run nowhere"):
        Journal(store, "nowhere", actor=actor).append("note")
    with pytest.raises(JournalError, match="there is no run nowhere"):
        Journal(store, "nowhere", actor=actor).head()


def test_an_append_that_comes_too_late_chains_to_the_newer_head(store: Store, keys: Keys, make_run: MakeRun) -> None:
    """DESIGN "The journal": two that write to one run get a place each, whoever of them saw an older head."""
    journal = make_run(close=False)
    other = Journal(store, journal.run, actor=Actor("bob"))
    journal.append("mine")
    other.append("theirs")
    journal.append("mine", then=lambda transaction: transaction.execute("SELECT 1"))
    other.append("theirs")

    assert ["mine", "theirs", "mine", "theirs"] == [entry.kind for entry in journal.entries()[-4:]]
    assert verify_run(store, keys, journal.run).ok


def test_a_failed_append_leaves_nothing(store: Store, make_run: MakeRun) -> None:
    """What belongs to an entry is written in the same transaction, or neither is."""
    journal = make_run(close=False)
    head = journal.head()
    with pytest.raises(ZeroDivisionError):
        journal.append("note", then=lambda _: 1 // 0)
    assert head == journal.head()


def refusing(message: str, *, full: bool = False) -> Callable[..., int]:
    """A store's write that always fails so."""

    def write(sql: str, /, **parameters: Any) -> int:
        raise StoreUnavailable(message, full=full)

    return write


def test_a_full_disk_uses_the_room_that_was_kept(
    store: Store, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN "The journal": the reserve is given up once, for the closing entries; after that the disk is full."""
    journal = make_run(close=False)
    write, reserve = store.write, store.dialect.reserve(journal.run)
    assert reserve is not None

    def full_until_there_is_room(sql: str, /, **parameters: Any) -> int:
        if reserve.exists():
            raise StoreUnavailable("no room", full=True)
        return write(sql, **parameters)

    monkeypatch.setattr(store, "write", full_until_there_is_room)
    assert ("late", True) == (journal.append("late").kind, journal.tight)
    monkeypatch.setattr(store, "write", refusing("no room", full=True))
    with pytest.raises(StoreUnavailable, match="no room"):
        journal.append("too late")


def test_a_store_that_is_only_locked_keeps_the_reserve(
    store: Store, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting for a lock is no reason to give the room away."""
    journal = make_run(close=False)
    monkeypatch.setattr(store, "write", refusing("locked"))
    with pytest.raises(StoreUnavailable, match="locked"):
        journal.append("note")
    assert store.dialect.reserve(journal.run).exists()  # type: ignore[union-attr]


def test_a_tampered_first_entry_does_not_stop_the_run(store: Store, make_run: MakeRun) -> None:
    """A run that is being changed goes on and ends on record, whatever somebody did to its beginning."""
    run = make_run(close=False).run
    store.write("UPDATE entries SET body = 'x' WHERE run = :run AND seq = 1", run=run)
    entry = Journal(store, run, actor=Actor("bob")).append("note")
    assert (5, None) == (entry.seq, entry.content["elapsed"])


def test_a_suspended_run_is_signed_and_not_ended(store: Store, keys: Keys, make_run: MakeRun) -> None:
    """DESIGN "Approval": a run that awaits its approval is suspended with the same care, and goes on in the same journal."""
    journal = make_run(close=False)
    close_run(journal, keys, state="awaiting_approval", exit_code=4)
    run = load_run(store, journal.run)
    assert ("awaiting_approval", None, False, "run-suspended", "whole") == (
        run.state, run.ended, run.closed, journal.head().kind, verify_run(store, keys, run.id).state,
    )  # fmt: skip
    reopen_run(journal, run, why="approved")
    assert ("running", "unsigned") == (load_run(store, run.id).state, verify_run(store, keys, run.id).state)
    close_run(journal, keys, state="completed", exit_code=0)
    assert ("completed", "whole") == (load_run(store, run.id).state, verify_run(store, keys, run.id).state)


def test_a_run_whose_process_is_gone_is_lost(store: Store, make_run: MakeRun) -> None:
    """DESIGN "Who runs what": a run that should be running and has no process is shown as lost."""
    run = make_run(close=False).run
    assert "running" == load_run(store, run).state
    gone = json.dumps({"host": platform.node(), "boot": boot_id(), "pid": 1, "started": "no such time"})
    store.write("UPDATE runs SET process = :process WHERE id = :run", run=run, process=gone)
    assert ("lost", [run], []) == (
        load_run(store, run).state,
        [found.id for found in find_runs(store, state="lost")],
        find_runs(store, state="running"),
    )


def test_a_run_elsewhere_is_lost_after_silence(store: Store, make_run: MakeRun) -> None:
    """Of another machine's process nothing is known but its heartbeat."""
    run = make_run(close=False).run
    away = json.dumps({"host": "elsewhere", "boot": "b", "pid": 1, "started": "1"})
    store.write("UPDATE runs SET process = :process WHERE id = :run", run=run, process=away)
    assert "running" == load_run(store, run).state
    store.write("UPDATE runs SET heartbeat = heartbeat - 60")
    assert "lost" == load_run(store, run).state
    beat(store, run, {"cell": 3})
    assert ("running", {"cell": 3}) == (load_run(store, run).state, load_run(store, run).progress)


def test_runs_are_found_by_part_and_by_last(store: Store, make_run: MakeRun) -> None:
    """An unambiguous part is enough; nothing, an ambiguous part and an unknown one are refused."""
    first = make_run().run
    assert [first] * 3 == [load_run(store, part).id for part in (first, first[-6:], "last")]
    second = make_run().run
    assert second == load_run(store, "last").id
    for part, why in {"": "no run", "2": "more than one", "zzz": "no run"}.items():
        with pytest.raises(JournalError, match=why):
            load_run(store, part)


def test_runs_are_filtered(store: Store, keys: Keys, make_run: MakeRun) -> None:
    """`sretoolkit runs` filters by runbook, actor, state, ticket, target and time; newest first."""
    first, second = make_run().run, make_run(state="failed").run
    third = open_run(store, keys, runbook="other", actor=Actor("bob"), mode="plan").run
    store.write("INSERT INTO touched (run, target) VALUES (:run, 'host:web')", run=first)
    asked = [
        {},
        {"runbook": "demo"},
        {"actor": "bob"},
        {"state": "failed"},
        {"ticket": "INC-1"},
        {"target": "web"},
        {"limit": 1},
    ]
    expected = [[third, second, first], [second, first], [third], [second], [second, first], [first], [third]]
    assert expected == [[run.id for run in find_runs(store, **filters)] for filters in asked]  # type: ignore[arg-type]
    assert [] == find_runs(store, since=store.now() + 60)


def test_a_head_is_signed_once(store: Store, keys: Keys, make_run: MakeRun) -> None:
    """Signing the same head again adds nothing; a new entry is unsigned until the next signature."""
    journal = make_run(close=False)
    assert 4 == journal.unsigned()
    sign_head(journal, keys)
    sign_head(journal, keys)
    assert (1, 0) == (len(store.read("SELECT * FROM signatures")), journal.unsigned())
    journal.append("note")
    assert 1 == journal.unsigned()
