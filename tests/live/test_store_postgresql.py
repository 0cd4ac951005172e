"""The store on a real PostgreSQL: the same contract, the same leases, and what a server can do to us."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sretoolkit.actor import Actor
from sretoolkit.errors import ConfigError, StoreUnavailable
from sretoolkit.journal import Keys, close_run, open_run, verify_store
from sretoolkit.store import Store
from tests.stack.postgres import Postgres
from tests.store.store_contract import StoreContract
from tests.test_lease import *  # noqa: F403  (every lease test again, over this store)

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One server for all tests of this module."""
    with Postgres() as started:
        yield started


@pytest.fixture
def url(server: Postgres) -> str:
    """An empty database of the test's own."""
    name = f"t{uuid.uuid4().hex}"
    plain = server.url.replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.url.removesuffix(server.database) + name


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A store on it."""
    with Store(url) as opened:
        yield opened


class TestPostgresql(StoreContract):
    """PostgreSQL."""


def test_another_machine_reaches_it(store: Store) -> None:
    """DESIGN "The journal": with PostgreSQL there is roll-back from another machine, and the store says so."""
    assert store.shared


def test_a_server_that_is_away_is_said_and_its_return_is_noticed(
    server: Postgres, store: Store, url: str, keys: Keys, actor: Actor
) -> None:
    """Cut connections are StoreUnavailable with a hint; the same store works when the server is back, nothing is lost."""
    journal = open_run(store, keys, runbook="test", actor=actor, mode="apply")
    journal.append("note", {"count": 1})
    server.stop()
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="does not answer") as caught:
                journal.append("note", {"count": 2})
            assert ("check server and store.url", True) == (caught.value.hint, caught.value.retryable)
    finally:
        server.start()
    journal.append("note", {"count": 3})
    close_run(journal, keys, state="completed", exit_code=0)
    assert [1, 3] == [entry.payload["count"] for entry in journal.entries(kind="note")]
    assert ["whole", "whole"] == [proof.state for proof in verify_store(store, keys)]


def test_a_connection_that_the_server_kills_is_replaced(store: Store, url: str) -> None:
    """An administrator's kill costs one call, not the store."""
    pid = store.read("SELECT pg_backend_pid() AS pid")[0]["pid"]
    with Store(url) as other:
        other.read("SELECT pg_terminate_backend(:pid::int)", pid=pid)
    with pytest.raises(StoreUnavailable):
        store.now()
    assert pid != store.read("SELECT pg_backend_pid() AS pid")[0]["pid"]


def test_the_password_is_in_no_message(server: Postgres) -> None:
    """A wrong address is said without what stands in it."""
    url = f"postgresql+psycopg://sre:hunter2@127.0.0.1:1/{server.database}"
    with Store(url, password="hunter3", timeout=1) as store, pytest.raises(StoreUnavailable) as caught:
        store.now()
    assert ("sre:***@127.0.0.1" in str(caught.value), "hunter" in str(caught.value)) == (True, False)


def test_a_copy_is_made_by_the_servers_own_tools(store: Store, own_home: Path) -> None:
    """The store does not pretend: the hint is the command."""
    with pytest.raises(ConfigError, match="copied by its own tools") as caught:
        store.backup(own_home / "copy")
    assert "pg_dump -Fc" in caught.value.hint
