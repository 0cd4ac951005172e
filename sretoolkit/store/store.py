"""The store: connections, transactions and its own clock over one database URL.

Plain SQL over the DB-API, because importing an SQL toolkit costs more than the whole of ``sretoolkit runs`` may take.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from sretoolkit.config import Config, mask
from sretoolkit.errors import ConfigError, StoreError, StoreTooNew
from sretoolkit.plugins import Plugins
from sretoolkit.secrets import Secret
from sretoolkit.store.dialect import Dialect

Row = Mapping[str, Any]
RESERVE = 1024 * 1024
DIALECTS: Plugins[Dialect] = Plugins("sretoolkit.store.dialects", Dialect)


class Transaction:
    """What one may do inside `Store.transaction`: execute, and lock a name."""

    def __init__(self, dialect: Dialect, connection: Any) -> None:
        self._dialect = dialect
        self._connection = connection

    def execute(self, sql: str, /, **parameters: Any) -> list[Row]:
        """Run one statement; ``{now}`` in it is the store's clock. Returns its rows as mappings."""
        cursor = self._connection.execute(self._dialect.prepare(sql), _storable(parameters))
        return [dict(row) for row in cursor.fetchall()] if cursor.description else []

    def changed(self, sql: str, /, **parameters: Any) -> int:
        """Run one statement; returns how many rows it changed."""
        return int(self._connection.execute(self._dialect.prepare(sql), _storable(parameters)).rowcount)

    def lock(self, name: str) -> None:
        """Wait until no other transaction holds this name."""
        self._dialect.lock(self._connection, name)

    def now(self) -> float:
        """The store's clock: seconds since the epoch, UTC."""
        return float(self.execute("SELECT {now} AS now")[0]["now"])


class Begun(Transaction):
    """A transaction that goes on until it is told to end: in any thread, as long as one at a time uses it."""

    def __init__(self, store: Store, connection: Any) -> None:
        super().__init__(store.dialect, connection)
        self._store = store
        self._before = store.dialect.written(connection)

    @property
    def wrote(self) -> bool:
        """Whether anything was changed, so that a commit has to wait for the disk."""
        return self._dialect.written(self._connection) != self._before

    def commit(self) -> None:
        """Make it durable; raises `StoreUnavailable`, and nothing was changed, when that cannot be."""
        try:
            self._connection.execute("COMMIT")
        except Exception as error:
            self.roll_back()
            self._store._raise(error)
        self._store._busy.discard(id(self._connection))

    def roll_back(self) -> None:
        """Take it back."""
        self._store._roll_back(self._connection)
        self._store._busy.discard(id(self._connection))


class Store:
    """One database, used from any thread (a connection each) and after a fork (a new one)."""

    def __init__(self, url: str, *, password: str | None = None, timeout: float = 10.0, migrate: bool = True) -> None:
        """Connect lazily; raises `ConfigError` for a URL of no known kind."""
        scheme = url.partition("://")[0].partition("+")[0]
        if "://" not in url:
            raise ConfigError(
                f"{mask(url)!r} is no database URL", hint="write sqlite:////path or postgresql+psycopg://..."
            )
        self.url = url
        self.dialect = DIALECTS[scheme](url, password=password, timeout=timeout)
        self._local = threading.local()
        self._connections: list[tuple[int, threading.Thread, Any]] = []
        self._busy: set[int] = set()
        self._migrate = migrate
        self._lock = threading.Lock()
        self._upgrading = threading.Lock()

    @property
    def shared(self) -> bool:
        """Whether other machines reach this store."""
        return self.dialect.shared

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All or nothing, durable when it returns. Raises `StoreUnavailable` when the database cannot do it now.

        One inside another is refused: it could not be undone with the outer one.
        """
        begun = self.begin()
        try:
            yield begun
        except BaseException as error:
            begun.roll_back()
            if isinstance(error, Exception):
                self._raise(error)
            raise
        begun.commit()

    def begin(self) -> Begun:
        """A transaction whose `commit` or `roll_back` is the caller's to call; raises what `transaction` raises."""
        connection = self._connection()
        if id(connection) in self._busy:
            raise StoreError("a transaction was begun inside another one")
        try:
            self.dialect.begin(connection)
        except Exception as error:
            self._raise(error)
        self._busy.add(id(connection))
        return Begun(self, connection)

    def read(self, sql: str, /, **parameters: Any) -> list[Row]:
        """The rows of one reading statement."""
        try:
            return Transaction(self.dialect, self._connection()).execute(sql, **parameters)
        except Exception as error:
            self._raise(error)

    def write(self, sql: str, /, **parameters: Any) -> int:
        """One writing statement, a transaction of its own in one exchange; returns how many rows it changed."""
        connection = self._connection()
        if id(connection) in self._busy:
            raise StoreError("a statement of its own was begun inside another one, a transaction")
        try:
            return Transaction(self.dialect, connection).changed(sql, **parameters)
        except Exception as error:
            self._raise(error)

    def now(self) -> float:
        """The store's clock: seconds since the epoch, UTC."""
        return float(self.read("SELECT {now} AS now")[0]["now"])

    def reserve(self, run: str) -> None:
        """Keep room on the disk for the closing entries of a run; raises `StoreUnavailable` when there is none."""
        self._connection()  # makes the folder, on first use
        path = self.dialect.reserve(run)
        if path is None:
            return
        try:
            with path.open("wb") as file:
                file.write(os.urandom(RESERVE))  # zeros take no room on a file system that compresses
                os.fsync(file.fileno())
            self.dialect.grow_log(self._connection())
        except Exception as error:
            path.unlink(missing_ok=True)
            self._raise(error)

    def release_reserve(self, run: str) -> bool:
        """Give that room back; True when there was some."""
        path = self.dialect.reserve(run)
        try:
            if path is not None:
                path.unlink()
                return True
        except FileNotFoundError:
            pass
        return False

    def backup(self, path: Path) -> None:
        """Copy the database into a new file while it is in use; raises `ConfigError` where the server has its own way."""
        if path.exists():
            raise ConfigError(f"{path} exists already", hint="name a new file")
        try:
            self.dialect.backup(self._connection(), path)
        except Exception as error:
            self._raise(error)

    def expect_bursts(self) -> None:
        """This thread will write much at once: its commits leave to other connections what can be done later."""
        self.dialect.expect_bursts(self._connection())

    def damage(self) -> str:
        """What the database itself finds to be damaged in its files; "" when nothing is, or when a server sees to that."""
        try:
            return self.dialect.damage(self._connection())
        except Exception as error:
            self._raise(error)

    def close(self) -> None:
        """Close every connection that this process opened."""
        with self._lock:
            for pid, _thread, connection in self._connections:
                if pid == os.getpid():
                    connection.close()
            self._connections.clear()
            self._local = threading.local()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _connection(self) -> Any:
        if getattr(self._local, "pid", None) != os.getpid():
            self._connect()
        if self._migrate and not getattr(self._local, "upgrading", False):
            self._upgrade_once()
        return self._local.connection

    def _connect(self) -> None:
        """Open this thread's connection, and close those of threads that have ended."""
        try:
            connection = self.dialect.connect()
        except Exception as error:
            self._raise(error)
        me = os.getpid()
        self._local.connection, self._local.pid = connection, me
        with self._lock:
            left = [item for item in self._connections if item[0] == me and not item[1].is_alive()]
            kept = [item for item in self._connections if item not in left]
            self._connections = [*kept, (me, threading.current_thread(), connection)]
        for _pid, _thread, old in left:
            old.close()

    def _upgrade_once(self) -> None:
        """Upgrade before the first use; other threads wait, and one that comes after a failure tries (and fails) again."""
        with self._upgrading:
            if self._migrate:
                self._local.upgrading = True
                try:
                    self._upgrade()
                finally:
                    self._local.upgrading = False
                self._migrate = False

    def _upgrade(self) -> None:
        """Bring the schema to this version; refuse one that is newer than we know."""
        from sretoolkit.store.migration import SCHEMA, steps_from, version_of

        found = version_of(self)
        if found > SCHEMA:
            raise StoreTooNew(
                f"the store {mask(self.url)} has schema {found}, this sretoolkit knows {SCHEMA}",
                hint="upgrade sretoolkit",
            )
        if found < SCHEMA:
            with self.transaction() as transaction:
                transaction.lock("sretoolkit-schema")
                for statement in steps_from(version_of(self), self.dialect.types):
                    transaction.execute(statement)

    def _roll_back(self, connection: Any) -> None:
        try:
            connection.execute("ROLLBACK")
        except Exception:
            self._forget(connection)

    def _forget(self, connection: Any) -> None:
        self._local.pid = None
        with self._lock:
            self._connections = [item for item in self._connections if item[2] is not connection]
        try:
            connection.close()
        except Exception:  # the connection is broken already; there is nothing left to do with it
            return

    def _raise(self, error: Exception) -> NoReturn:
        if isinstance(error, StoreError):
            raise error
        failure = self.dialect.failure(error)
        if failure is None:
            raise error
        connection = getattr(self._local, "connection", None)
        if connection is not None and getattr(connection, "closed", False):
            self._forget(connection)
        raise failure from error


def storable(text: str) -> str:
    """A text that every database takes: NUL, and half characters (of names that are not UTF-8), are written as escapes."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _storable(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: storable(value) if isinstance(value, str) else value for name, value in parameters.items()}


def open_store(config: Config | None = None) -> Store:
    """The store that the configuration names."""
    config = config or Config.load()
    reference = config["store.password"]
    password = Secret(reference).reveal() if reference else None
    return Store(config["store.url"], password=password, timeout=config.seconds("store.timeout"))
