"""SQLite: one file, write-ahead log, every commit on disk before it counts."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from sretoolkit.clock import poll
from sretoolkit.errors import ConfigError, StoreUnavailable
from sretoolkit.store.dialect import Dialect
from sretoolkit.store.migration import steps_from

_UNUSABLE = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CORRUPT,
)

_LOG = 1200 * 1024  # a little more than 1000 pages, after which SQLite begins at its start again
_DAMAGED = (
    "no such table",
    "no such column",
    "already exists",
    "unsupported file format",
    "malformed",
)  # the schema itself is not what we made


class Sqlite(Dialect):
    """``sqlite:////absolute/path.db``; its clock is this machine's."""

    now: ClassVar[str] = "((julianday('now') - 2440587.5) * 86400.0)"
    types: ClassVar[dict[str, str]] = {"identity": "INTEGER PRIMARY KEY AUTOINCREMENT", "real": "REAL", "bytes": "BLOB"}
    has_table: ClassVar[str] = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name"
    shared: ClassVar[bool] = False

    @property
    def path(self) -> Path:
        """The database file."""
        text = self.url.partition("://")[2]
        path = Path(text[1:]).expanduser()
        if not text.startswith("/") or not path.is_absolute():
            raise ConfigError(f"{self.url} names no file", hint="write sqlite:////absolute/path/store.db")
        return path

    def connect(self) -> Any:
        """Open (and create, readable by its owner alone) the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Never open a file that is there already: closing it would drop the locks that SQLite holds on it for the other
        # connections of this process. The next process to close would then take itself for the last one, and delete the
        # log under us, with all that we write to it from then on.
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        connection = sqlite3.connect(self.path, timeout=self.timeout, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.text_factory = _text
        connection.execute("PRAGMA page_size = 1024")  # of a new file; an append writes whole pages to the log
        poll(lambda: self._use_log(connection), timeout=self.timeout)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def begin(self, connection: Any) -> None:
        """Take the one write lock at once, so that a transaction never fails half-way for another's write."""
        connection.execute("BEGIN IMMEDIATE")

    def lock(self, connection: Any, name: str) -> None:
        """Nothing to do: a writer is alone."""

    @classmethod
    def translate(cls, sql: str) -> str:
        """SQLite knows ``:name`` itself."""
        return sql

    def failure(self, error: Exception) -> StoreUnavailable | None:
        """Locked, full, unreadable or not a database."""
        if isinstance(error, OSError):
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            hint = f"free space on {self.path.parent}" if full else "check the folder, or set store.url"
            return StoreUnavailable(f"the store {self.path} cannot be opened: {error}", full=full, hint=hint)
        if isinstance(error, UnicodeDecodeError):  # SQLite's own message, quoting a damaged name
            return StoreUnavailable(
                f"the store {self.path} cannot be used: it is damaged", hint="restore it from a backup"
            )
        if not isinstance(error, sqlite3.DatabaseError):
            return None
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and self._no_room()):
            hint = f"free space on {self.path.parent}"
            return StoreUnavailable(f"no room left for the store {self.path}", full=True, hint=hint)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            hint = "another process is writing; `sretoolkit doctor` shows who has the file open"
            return StoreUnavailable(f"the store {self.path} stayed locked for {self.timeout:g} s", hint=hint)
        damaged = code == sqlite3.SQLITE_ERROR and any(words in str(error) for words in _DAMAGED)
        if code in _UNUSABLE or damaged:
            return StoreUnavailable(
                f"the store {self.path} cannot be used: {error}", hint="check the file, or set store.url"
            )
        return None

    def backup(self, connection: Any, path: Path) -> None:
        """A consistent copy, made while others write."""
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise ConfigError(f"no copy can be written to {path}: {error.strerror}", hint="name a new file") from error
        try:
            connection.execute("VACUUM INTO :path", {"path": str(path)})
        except BaseException:
            path.unlink()
            raise

    def grow_log(self, connection: Any) -> None:
        """Write the log to its full size once: from then on it is used over and over, and an append costs half as much.

        A log that grows costs a change of the file's size and blocks at each commit. What is written are zeros behind
        the last commit, under the write lock; SQLite takes them for the end of the log.
        """
        log = self.path.with_name(f"{self.path.name}-wal")
        if log.stat().st_size >= _LOG:
            return
        self.begin(connection)
        try:
            with log.open("ab") as file:
                file.write(bytes(max(0, _LOG - log.stat().st_size)))
                file.flush()
                os.fsync(file.fileno())
        finally:
            connection.execute("ROLLBACK")

    def expect_bursts(self, connection: Any) -> None:
        """Keep more of the database in memory, and copy the log into it only when that is large.

        Another connection does so meanwhile, beside our writes. With SQLite's own 2 MB a thousand machines that are new cost
        forty reads each.
        """
        connection.execute("PRAGMA wal_autocheckpoint = 20000")
        connection.execute("PRAGMA cache_size = -32768")

    def written(self, connection: Any) -> int:
        """SQLite counts the rows that it changes."""
        return int(connection.total_changes)

    def damage(self, connection: Any) -> str:
        """SQLite's own check of pages and indexes, and a schema that is not ours: an index or a trigger that lies."""
        found = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
        if found != "ok":
            return f"the file {self.path} is damaged: {found}"
        made = sqlite3.connect(":memory:")
        for statement in steps_from(0, self.types):
            made.execute(statement)
        schema = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
        extra = {tuple(row) for row in connection.execute(schema)} ^ set(made.execute(schema))
        made.close()
        return f"the schema of {self.path} was changed: {min(str(row[1]) for row in extra)}" if extra else ""

    def reserve(self, run: str) -> Path | None:
        """Beside the database."""
        return self.path.with_name(f"{self.path.name}.reserve-{run}")

    @staticmethod
    def _use_log(connection: sqlite3.Connection) -> bool:
        """Switch to the write-ahead log; SQLite does not wait by itself when several do this to a new file at once."""
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                return False
            raise
        return True

    def _no_room(self) -> bool:
        room = os.statvfs(self.path.parent)
        return room.f_bavail * room.f_frsize < 64 * 1024


def _text(data: bytes) -> str:
    """Text of the database; bytes that are none (damage, or somebody's edit) are shown, so that verify can name them."""
    return data.decode("utf-8", "backslashreplace")
