"""The store on SQLite: the contract, and what a file can suffer."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, StoreUnavailable, UnknownPlugin
from sretoolkit.journal import Keys, close_run, open_run
from sretoolkit.store import Store, open_store
from sretoolkit.store.store import RESERVE
from tests.conftest import REPOSITORY
from tests.store.store_contract import StoreContract


class TestSqlite(StoreContract):
    """SQLite."""

    @pytest.fixture
    def url(self, own_home: Path) -> str:
        """A file that is not there yet, in a folder that is not there yet."""
        return f"sqlite:///{own_home}/deep/er/store.db"


def test_the_file_is_the_owners_alone(store: Store, own_home: Path) -> None:
    """The database, its log and its folder are readable by their owner only."""
    store.now()
    files = sorted(own_home.glob("store.db*"))
    assert ["store.db", "store.db-shm", "store.db-wal"] == [path.name for path in files]
    assert [0o600] * 3 == [path.stat().st_mode & 0o777 for path in files]


def test_every_commit_is_on_disk_before_it_counts(store: Store) -> None:
    """DESIGN "Journal": written and fsynced; WAL with synchronous=FULL on every connection."""
    assert ["wal", 2, 1] == [
        next(iter(store.read(f"PRAGMA {name}")[0].values())) for name in ("journal_mode", "synchronous", "foreign_keys")
    ]
    assert not store.shared


@pytest.mark.parametrize(
    "url", ["sqlite:///store.db", "sqlite:///:memory:", "sqlite://", "sqlite:///", "sqlite://store.db"]
)
def test_a_url_must_name_an_absolute_file(url: str) -> None:
    """A relative one would be another store in every folder, one in memory another one in every thread."""
    with Store(url) as store, pytest.raises(ConfigError, match="names no file"):
        store.now()


def test_a_url_of_no_known_kind_is_refused_without_its_password() -> None:
    """Neither message shows what stands between user and host."""
    with pytest.raises(UnknownPlugin, match="no dialect named 'postgres'; there are: postgresql, sqlite"):
        Store("postgres://sre:hunter2@db/x")
    with pytest.raises(ConfigError, match="is no database URL"):
        Store("/var/lib/store.db")


def test_the_configuration_names_the_store(config: Config, own_home: Path) -> None:
    """URL and time limit come from the configuration."""
    config = Config({**config.values, **Config.of(store={"timeout": "3s"}).values})
    with open_store(config) as store:
        assert (f"sqlite:///{own_home}/store.db", 3.0) == (store.url, store.dialect.timeout)


def test_a_file_that_is_no_database_is_said(own_home: Path) -> None:
    """DESIGN "Errors": what, where and what next, instead of the driver's error."""
    (own_home / "store.db").write_text("hello, " * 1000)
    with (
        Store(f"sqlite:///{own_home}/store.db") as store,
        pytest.raises(StoreUnavailable, match="cannot be used") as caught,
    ):
        store.now()
    assert "check the file, or set store.url" == caught.value.hint


def test_a_folder_that_cannot_be_made_is_said(own_home: Path) -> None:
    """A file stands where the folder should be."""
    (own_home / "file").write_text("")
    with (
        Store(f"sqlite:///{own_home}/file/store.db") as store,
        pytest.raises(StoreUnavailable, match="cannot be opened"),
    ):
        store.now()


def test_a_locked_file_says_who_to_look_for(store: Store, own_home: Path) -> None:
    """DESIGN "Fault: store locked": after the time limit the error names file, time and what to do."""
    store.now()
    holder = sqlite3.connect(own_home / "store.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with (
        Store(store.url, timeout=0.1) as other,
        pytest.raises(StoreUnavailable, match=r"stayed locked for 0.1 s") as caught,
    ):
        other.write("DELETE FROM touched")
    assert "`sretoolkit doctor`" in caught.value.hint
    holder.close()


def test_a_backup_is_whole_private_and_made_in_use(store: Store, own_home: Path) -> None:
    """The copy has what was committed and nothing of a transaction that is under way."""
    store.write("INSERT INTO touched (run, target) VALUES ('1', 'x')")
    copy = own_home / "copy.db"
    with Store(store.url) as other, other.transaction() as transaction:
        transaction.execute("INSERT INTO touched (run, target) VALUES ('2', 'x')")
        store.backup(copy)
    assert 0o600 == copy.stat().st_mode & 0o777
    with Store(f"sqlite:///{copy}") as restored:
        assert ["1"] == [row["run"] for row in restored.read("SELECT run FROM touched")]


def test_a_backup_overwrites_nothing(store: Store, own_home: Path) -> None:
    """An existing file and a missing folder are refused, and nothing is left behind."""
    (own_home / "there").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        store.backup(own_home / "there")
    with pytest.raises(ConfigError, match="no copy can be written"):
        store.backup(own_home / "no" / "folder.db")
    assert ("mine", False) == ((own_home / "there").read_text(), (own_home / "no").exists())


def test_room_for_the_end_of_a_run_is_kept_while_it_runs(store: Store, keys: Keys, own_home: Path) -> None:
    """DESIGN "The journal": space for the closing entries is reserved when a run opens, and given back when it ends."""
    journal = open_run(store, keys, runbook="test", actor=Actor("alice"), mode="apply")
    kept = own_home / f"store.db.reserve-{journal.run}"
    assert RESERVE == kept.stat().st_size <= kept.stat().st_blocks * 512
    assert kept.read_bytes().count(0) < RESERVE / 100, "zeros take no room on a file system that compresses"
    close_run(journal, keys, state="completed", exit_code=0)
    assert [] == list(own_home.glob("*reserve*"))


def test_no_run_is_opened_without_room_for_its_end(store: Store, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """DESIGN "The journal": a full disk is found out before anything is changed, and no half reserve is left."""
    store.now()

    def full(_: int) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable, match="No space left") as caught:
        open_run(store, keys, runbook="test", actor=Actor("alice"), mode="apply")
    assert caught.value.full
    path = store.dialect.path  # type: ignore[attr-defined]
    assert ([], []) == (store.read("SELECT id FROM runs"), list(path.parent.glob("*reserve*")))


def test_bytes_that_are_no_text_are_shown_not_raised(store: Store) -> None:
    """Damage, or an edit, in a text of the database is readable, so that verify can name its place."""
    store.write("INSERT INTO touched (run, target) VALUES ('1', CAST(x'61ff62' AS TEXT))")
    assert "a\\xffb" == store.read("SELECT target FROM touched")[0]["target"]


def test_what_is_written_stays_when_other_connections_and_processes_come_and_go(store: Store) -> None:
    """A second connection of this process must not drop the first one's locks: another process would delete the log."""
    program = f"from sretoolkit.store import Store\nwith Store({store.url!r}) as other: other.read('SELECT 1')"
    store.write(
        "INSERT INTO controls (run, verb, subject, actor, reason, at) VALUES ('r', 'stop', '', 'a', 'first', 0)"
    )
    with Store(store.url) as second:
        second.read("SELECT 1")
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True, timeout=60)
    store.write("INSERT INTO controls (run, verb, subject, actor, reason, at) VALUES ('r', 'stop', '', 'a', 'last', 0)")
    path = store.url.partition("://")[2]
    listed = f"import sqlite3; print(sqlite3.connect({path!r}).execute('SELECT reason FROM controls').fetchall())"
    done = subprocess.run([sys.executable, "-c", listed], check=True, capture_output=True, text=True, timeout=60)

    assert "[('first',), ('last',)]" == done.stdout.strip()
