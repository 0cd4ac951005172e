"""SQLite: one file, write-ahead log, every commit on disk before it counts."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any, ClassVar

from sretoolkit.clock import poll
from sretoolkit.errors import ConfigError, StoreUnavailable
from sretoolkit.store.dialect import Dialect


class Sqlite(Dialect):
    """``sqlite:////absolute/path.db``; its clock is this machine's."""

    now: ClassVar[str] = "((julianday('now') - 2440587.5) * 86400.0)"
    types: ClassVar[dict[str, str]] = {"identity": "INTEGER PRIMARY KEY AUTOINCREMENT", "real": "REAL"}
    has_table: ClassVar[str] = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name"
    shared: ClassVar[bool] = False

    @property
    def path(self) -> Path:
        """The database file."""
        text = self.url.partition("://")[2]
        if not text.startswith("/") or not text[1:]:
            raise ConfigError(f"{self.url} names no file", hint="write sqlite:////absolute/path/store.db")
        return Path(text[1:]).expanduser()

    def connect(self) -> Any:
        """Open (and create, readable by its owner alone) the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(self.path, timeout=self.timeout, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
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
            return StoreUnavailable(f"the store {self.path} cannot be opened: {error}", hint="check the folder, or set store.url")
        if not isinstance(error, sqlite3.DatabaseError):
            return None
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and self._no_room()):
            return StoreUnavailable(f"no room left for the store {self.path}", full=True, hint=f"free space on {self.path.parent}")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            hint = "another process is writing; `sretoolkit doctor` shows who has the file open"
            return StoreUnavailable(f"the store {self.path} stayed locked for {self.timeout:g} s", hint=hint)
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return StoreUnavailable(f"the store {self.path} cannot be used: {error}", hint="check the file, or set store.url")
        return None

    def backup(self, connection: Any, path: Path) -> None:
        """A consistent copy, made while others write."""
        connection.execute("VACUUM INTO :path", {"path": str(path)})
        path.chmod(0o600)

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
