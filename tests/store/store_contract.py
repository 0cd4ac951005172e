"""What every database behind the store must do; a test class of each dialect inherits it and gives a ``url`` fixture."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from multiprocessing.synchronize import Barrier

import pytest

from sretoolkit.actor import Actor
from sretoolkit.clock import poll
from sretoolkit.errors import StoreError, StoreTooNew, StoreUnavailable
from sretoolkit.journal import Journal, Keys, Run, close_run, find_runs, open_run, search, verify_store
from sretoolkit.store import Store, migration
from sretoolkit.store.migration import SCHEMA, version_of

SPAWN = multiprocessing.get_context("spawn")
ADD = "INSERT INTO touched (run, target) VALUES (:run, :target)"
RUN = (
    "INSERT INTO runs (id, runbook, parameters, actor, origin, process, mode, state, ticket, progress, error, started, "
    "ended, heartbeat, bound) VALUES (:id, 'demo', '{}', :actor, 'cli', "
    """'{"host": "h", "boot": "", "pid": 1, "started": "1"}', 'apply', 'completed', '', '{}', '', :at, :at, :at, 1)"""
)
TOUCHED = "INSERT INTO touched (run, target, started) SELECT id, :target, started FROM runs WHERE id = :run"
COUNT = "SELECT count(*) AS n FROM touched"
EACH = 15


def _count(store: Store) -> int:
    return int(store.read(COUNT)[0]["n"])


def add_with_the_others(url: str, number: int, barrier: Barrier) -> None:
    """Open the new store at the same moment as the others, and write to it."""
    barrier.wait(60)
    with Store(url, timeout=60) as store:
        store.write(ADD, run=str(number), target="x")


def append_with_the_others(url: str, run: str, number: int, barrier: Barrier) -> None:
    """Append to a run at the same moment as the others."""
    with Store(url, timeout=60) as store:
        journal = Journal(store, run, actor=Actor(f"writer-{number}"))
        barrier.wait(60)
        for count in range(EACH):
            journal.append("note", {"writer": number, "count": count})


def all_at_once(target: Callable[..., None], arguments: list[tuple[object, ...]]) -> list[int | None]:
    """Run one process for each of these arguments, released together; gives their exit codes."""
    barrier = SPAWN.Barrier(len(arguments))
    processes = [SPAWN.Process(target=target, args=(*each, barrier)) for each in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
    return [process.exitcode for process in processes]


class StoreContract:
    """Inherit it as ``class TestX(StoreContract)`` beside a fixture ``url`` of a database that is empty."""

    @pytest.fixture
    def store(self, url: str) -> Iterator[Store]:
        """The store."""
        with Store(url) as opened:
            yield opened

    def test_a_transaction_is_all_or_nothing(self, store: Store) -> None:
        """DESIGN "The store": what fails half-way leaves nothing, and the store works on."""
        with pytest.raises(ZeroDivisionError), store.transaction() as transaction:
            transaction.execute(ADD, run="1", target="x")
            raise ZeroDivisionError
        assert 0 == _count(store)
        with store.transaction() as transaction:
            transaction.execute(ADD, run="1", target="x")
            assert 1 == transaction.execute(COUNT)[0]["n"]
        assert 1 == _count(store)

    def test_a_statement_that_fails_takes_the_transaction_with_it(self, store: Store) -> None:
        """A duplicate key is our own fault and comes as the driver's error; nothing of the transaction stays."""
        with pytest.raises(Exception, match=r"(?i)unique") as caught, store.transaction() as transaction:
            transaction.execute(ADD, run="1", target="x")
            transaction.execute(ADD, run="1", target="x")
        assert not isinstance(caught.value, StoreError)
        assert 0 == _count(store)

    def test_what_is_committed_others_see_and_what_is_not_they_do_not(self, store: Store, url: str) -> None:
        """Another connection reads whole transactions only."""
        with Store(url) as other:
            with store.transaction() as transaction:
                transaction.execute(ADD, run="1", target="x")
                assert 0 == _count(other)
            assert 1 == _count(other)

    def test_a_transaction_inside_another_is_refused(self, store: Store) -> None:
        """The inner one would commit the outer one; both are undone, and the store works on."""
        with pytest.raises(StoreError, match="inside another one"), store.transaction() as transaction:
            transaction.execute(ADD, run="1", target="x")
            store.write(ADD, run="2", target="x")
        assert (0, 1) == (_count(store), store.write(ADD, run="3", target="x"))

    def test_bytes_come_back_as_they_were(self, store: Store) -> None:
        """Every byte, and none at all: the files of records."""
        add = "INSERT INTO record_files (run, name, sha256, body) VALUES (:run, 'page', '', :body)"
        bodies = {"1": bytes(range(256)), "2": b"", "3": b"%s :name \\x00"}
        for run, body in bodies.items():
            store.write(add, run=run, body=body)
        assert bodies == {row["run"]: row["body"] for row in store.read("SELECT run, body FROM record_files")}

    def test_changed_rows_are_counted(self, store: Store) -> None:
        """A compare-and-swap needs to know how many rows it changed."""
        assert [1, 1, 2, 0] == [
            store.write(ADD, run="1", target="x"),
            store.write(ADD, run="2", target="x"),
            store.write("UPDATE touched SET target = 'y'"),
            store.write("UPDATE touched SET target = 'z' WHERE run = :run", run="none"),
        ]

    def test_no_update_of_many_threads_is_lost(self, store: Store) -> None:
        """Reading and writing back under a named lock is safe from any thread; each has a connection of its own."""
        store.write("INSERT INTO meta (key, value) VALUES ('counter', '0')")

        def add_one(_: int) -> None:
            with store.transaction() as transaction:
                transaction.lock("counter")
                value = int(transaction.execute("SELECT value FROM meta WHERE key = 'counter'")[0]["value"])
                transaction.execute("UPDATE meta SET value = :value WHERE key = 'counter'", value=str(value + 1))

        with ThreadPoolExecutor(6) as threads:
            list(threads.map(add_one, range(60)))
        assert "60" == store.read("SELECT value FROM meta WHERE key = 'counter'")[0]["value"]

    def test_connections_of_ended_threads_are_closed(self, store: Store) -> None:
        """A process that starts a thread a plan must not run out of connections."""
        for _ in range(30):
            thread = threading.Thread(target=_count, args=(store,))
            thread.start()
            thread.join()
        assert len(store._connections) <= 2

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fork beside threads, from Python 3.12 on
    def test_after_a_fork_both_go_on(self, store: Store) -> None:
        """A child opens a connection of its own and leaves its parent's alone."""
        store.write(ADD, run="before", target="x")
        child = os.fork()
        if child == 0:
            try:
                store.write(ADD, run="child", target="x")
                store.close()
                os._exit(0)
            finally:
                os._exit(1)
        store.write(ADD, run="parent", target="x")
        assert (child, 0) == os.waitpid(child, 0)
        assert ["before", "child", "parent"] == [
            row["run"] for row in store.read("SELECT run FROM touched ORDER BY run")
        ]

    def test_a_lock_that_is_not_had_in_time_says_so(self, store: Store, url: str) -> None:
        """DESIGN "Fault: store locked": StoreUnavailable, retryable, with a hint; and afterwards all is well."""
        with Store(url, timeout=0.2) as other:
            _count(other)
            with store.transaction() as transaction:
                transaction.lock("name")
                with pytest.raises(StoreUnavailable) as caught, other.transaction() as second:
                    second.lock("name")
            assert (True, True, False) == (caught.value.retryable, bool(caught.value.hint), caught.value.full)
            with other.transaction() as second:
                second.lock("name")

    def test_an_empty_database_is_brought_to_this_schema(self, url: str) -> None:
        """DESIGN "The store": it carries a schema version and migrates itself forward on first use."""
        with Store(url, migrate=False) as bare:
            assert 0 == version_of(bare)
        with Store(url) as store:
            assert (SCHEMA, 0) == (version_of(store), _count(store))

    def test_many_processes_may_be_the_first(self, url: str) -> None:
        """DESIGN "The store": a migration is done once, whoever comes at the same moment."""
        assert [0] * 4 == all_at_once(add_with_the_others, [(url, number) for number in range(4)])
        with Store(url) as store:
            assert (4, SCHEMA) == (_count(store), version_of(store))

    def test_many_threads_may_be_the_first(self, url: str) -> None:
        """DESIGN "The store": no thread sees a store that is half made."""
        with Store(url) as store, ThreadPoolExecutor(8) as threads:
            assert [0] * 8 == list(threads.map(lambda _: _count(store), range(8)))

    def test_a_migration_that_could_not_be_done_is_done_the_next_time(self, url: str) -> None:
        """DESIGN "The store": after a failure nothing is used that was not migrated."""
        with Store(url, migrate=False) as holder, Store(url, timeout=0.2) as store:
            with holder.transaction() as transaction:
                transaction.lock("sretoolkit-schema")
                with pytest.raises(StoreUnavailable):
                    _count(store)
            assert 0 == _count(store)

    def test_a_newer_schema_is_refused_each_time(self, store: Store, url: str) -> None:
        """DESIGN "The store": an older client refuses a newer store with a clear word, and goes on refusing."""
        store.write("UPDATE meta SET value = '999' WHERE key = 'schema'")
        with Store(url) as older:
            for _ in range(2):
                with pytest.raises(StoreTooNew, match=rf"has schema 999, this sretoolkit knows {SCHEMA}") as caught:
                    _count(older)
                assert "upgrade sretoolkit" == caught.value.hint
            with ThreadPoolExecutor(1) as thread, pytest.raises(StoreTooNew):
                thread.submit(_count, older).result()
            with pytest.raises(StoreTooNew):
                older.write(ADD, run="1", target="x")
        assert 0 == _count(store)

    def test_what_was_touched_before_has_its_time_afterwards(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A store of schema 5 goes on: its runs are still found by what they touched, newest first."""
        with Store(url) as old, monkeypatch.context() as earlier:
            earlier.setattr(migration, "SCHEMA", 5)
            for number in (1, 2):
                old.write(
                    RUN, id=f"r{number}", actor='{"user": "ann", "identity": "", "via": "local"}', at=1.5e9 + number
                )
                old.write(ADD, run=f"r{number}", target="host:web")
            assert version_of(old) == 5
        with Store(url) as store:
            assert [run.id for run in find_runs(store, target="web", since=1.0)] == ["r2", "r1"]

    @pytest.mark.parametrize("most", [100, 2])
    def test_runs_are_found_by_part_of_a_name_page_by_page(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, most: int
    ) -> None:
        """Few names or many, alone or with other filters: what a look at every run would find, none twice, none left out."""
        monkeypatch.setattr(search, "_MOST", most)
        dice = random.Random(7)
        people = ("ann", "Anna", "bob", "o'neil", "100%_sure")
        hosts = ("host:web1", "host:web2", "host:WEB3", "host:db", "host:_%")
        made: dict[str, tuple[str, set[str], str]] = {}
        for number in range(60):
            run, who, state = f"r{number:03}", dice.choice(people), dice.choice(("completed", "failed"))
            touched = set(dice.sample(hosts, dice.randrange(4)))
            actor = json.dumps({"user": who, "identity": "", "via": "local"})
            store.write(RUN.replace("'completed'", f"'{state}'"), id=run, actor=actor, at=1.5e9 + number // 3)
            for target in touched:
                store.write(TOUCHED, run=run, target=target)
            made[run] = (who, touched, state)
        for who, target, state in product(
            ("", "ann", "NN", "%", "via", "x"), ("", "web", "host:", "_%", "db", "x"), ("", "failed")
        ):
            expected = [
                run for run in sorted(made, reverse=True)
                if who.casefold() in made[run][0].casefold() and state in ("", made[run][2])
                and (not target or any(target.casefold() in name.casefold() for name in made[run][1]))
            ]  # fmt: skip
            found: list[Run] = []
            while page := find_runs(
                store, actor=who, target=target, state=state, limit=7,
                before=(found[-1].started, found[-1].id) if found else None,
            ):  # fmt: skip
                found += page
            assert [run.id for run in found] == expected, (who, target, state)

    def test_another_programs_database_is_refused(self, url: str) -> None:
        """A database that has a table `meta` without our schema version is somebody else's."""
        with Store(url, migrate=False) as bare:
            bare.write("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        with Store(url) as store, pytest.raises(StoreError, match="some other program's database"):
            _count(store)

    def test_the_stores_clock_is_utc_and_goes_on(self, store: Store) -> None:
        """DESIGN "A lease": one clock for all, seconds since the epoch, to a few milliseconds."""
        began = store.now()
        assert abs(time.time() - began) < 5
        later = poll(lambda: (now := store.now()) > began and now, timeout=5, interval=0)
        assert 0 < (later or 0) - began < 0.1

    def test_any_text_can_be_kept(self, store: Store) -> None:
        """Umlauts and emoji stay; NUL and half characters, which databases refuse, are kept as escapes."""
        texts = {
            "ü€🚨": "ü€🚨",
            "a\0b": "a\\x00b",
            "p\udcff": "p\\udcff",
            ":name {now} %s %(x)s '": ":name {now} %s %(x)s '",
        }
        for text, kept in texts.items():
            store.write("DELETE FROM touched")
            store.write(ADD, run="1", target=text)
            assert kept == store.read("SELECT target FROM touched")[0]["target"]

    def test_a_closed_store_opens_again(self, store: Store) -> None:
        """Closing is no end: the next use opens a connection."""
        store.write(ADD, run="1", target="x")
        store.close()
        assert 1 == _count(store)

    def test_eight_processes_append_to_eight_runs(self, store: Store, url: str, keys: Keys) -> None:
        """DESIGN "The journal": eight writers, a run each: nothing is lost and every chain is whole."""
        journals = [open_run(store, keys, runbook="test", actor=Actor("alice"), mode="apply") for _ in range(8)]
        assert [0] * 8 == all_at_once(append_with_the_others, [(url, one.run, n) for n, one in enumerate(journals)])
        for number, journal in enumerate(journals):
            counts = [
                entry.payload["count"] for entry in journal.entries(kind="note") if entry.payload["writer"] == number
            ]
            assert list(range(EACH)) == counts
            close_run(journal, keys, state="completed", exit_code=0)
        assert ["whole"] * 9 == [proof.state for proof in verify_store(store, keys)]

    def test_eight_processes_append_to_one_run(self, store: Store, url: str, keys: Keys) -> None:
        """DESIGN "The journal": eight writers to one run: nothing is lost, the chain is whole, each in its own order."""
        journal = open_run(store, keys, runbook="test", actor=Actor("alice"), mode="apply")
        assert [0] * 8 == all_at_once(append_with_the_others, [(url, journal.run, number) for number in range(8)])
        close_run(journal, keys, state="completed", exit_code=0)
        notes = [entry.payload for entry in journal.entries(kind="note")]
        written = {writer: [note["count"] for note in notes if note["writer"] == writer] for writer in range(8)}
        assert {writer: list(range(EACH)) for writer in range(8)} == written
        assert ["whole", "whole"] == [proof.state for proof in verify_store(store, keys)]
