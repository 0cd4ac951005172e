"""What differs between the databases. Everything else is the same SQL with ``:name`` parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from sretoolkit.errors import StoreUnavailable


class Dialect:
    """One database: how to connect, begin, lock and read its clock. A plug-in in ``dialects/``."""

    now: ClassVar[str]
    """SQL expression: the store's clock, seconds since the epoch in UTC."""
    types: ClassVar[dict[str, str]]
    """Column types that are spelt differently: ``identity``, ``real`` and ``bytes``."""
    has_table: ClassVar[str]
    """SQL that gives a row when the table ``:name`` exists."""
    shared: ClassVar[bool]
    """Whether another machine can reach the same store, and so undo what this one left."""

    def __init__(self, url: str, *, password: str | None, timeout: float) -> None:
        self.url = url
        self.password = password
        self.timeout = timeout
        self._prepared: dict[str, str] = {}
        self._looks = 0

    def connect(self) -> Any:
        """A new DB-API connection in autocommit mode whose rows are mappings."""
        raise NotImplementedError

    def begin(self, connection: Any) -> None:
        """Begin a transaction that will write."""
        raise NotImplementedError

    def lock(self, connection: Any, name: str) -> None:
        """Inside a transaction: wait until no other one holds ``name``."""
        raise NotImplementedError

    def prepare(self, sql: str) -> str:
        """The SQL as the driver takes it: ``{now}`` and the parameters' names replaced, once a text."""
        if sql not in self._prepared:
            self._prepared[sql] = self.translate(sql.replace("{now}", self.now))
        return self._prepared[sql]

    @classmethod
    def translate(cls, sql: str) -> str:
        """The SQL with this driver's way of naming parameters."""
        raise NotImplementedError

    def failure(self, error: Exception) -> StoreUnavailable | None:
        """The error as `StoreUnavailable` when the database is locked, away or full; None when it is our own fault."""
        raise NotImplementedError

    def backup(self, connection: Any, path: Path) -> None:
        """Copy the whole database into a new file."""
        raise NotImplementedError

    def grow_log(self, connection: Any) -> None:
        """Make what slows the first appends of a run down happen before them, where there is such a thing."""

    def expect_bursts(self, connection: Any) -> None:
        """Let this connection's commits leave the tidying of the log to others', where there is such a thing."""

    def written(self, connection: Any) -> int:
        """A number that changes when this connection writes; a database that cannot tell gives a new one each time."""
        self._looks += 1
        return self._looks

    def damage(self, connection: Any) -> str:
        """What is damaged in the database's own files; "" when nothing is known of that."""
        return ""

    def reserve(self, run: str) -> Path | None:
        """The file that keeps room for a run's closing entries, where the store shares a disk with us."""
        return None
