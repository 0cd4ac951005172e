"""PostgreSQL: for a team; another machine can take over, recover and undo."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

from sretoolkit.errors import ConfigError, StoreUnavailable
from sretoolkit.store.dialect import Dialect

_PARAMETER = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)")


class Postgresql(Dialect):
    """``postgresql+psycopg://user@host/database``; its clock is the server's."""

    now: ClassVar[str] = "extract(epoch from clock_timestamp())::float8"
    types: ClassVar[dict[str, str]] = {
        "identity": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "real": "DOUBLE PRECISION",
        "bytes": "BYTEA",
    }
    has_table: ClassVar[str] = (
        "SELECT 1 FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = :name"
    )
    shared: ClassVar[bool] = True

    def connect(self) -> Any:
        """Connect with a time limit; a dead server is noticed by keepalives."""
        try:
            import psycopg
            from psycopg.rows import dict_row
        except ImportError as error:
            raise ConfigError("a PostgreSQL store needs the extra: pip install 'sretoolkit[postgres]'") from error
        options: dict[str, Any] = {"password": self.password} if self.password else {}
        return psycopg.connect(
            re.sub(r"^postgresql\+\w+", "postgresql", self.url),
            autocommit=True,
            row_factory=dict_row,
            connect_timeout=max(2, round(self.timeout)),
            keepalives_idle=10,
            options=f"-c lock_timeout={round(self.timeout * 1000)}",
            **options,
        )

    def begin(self, connection: Any) -> None:
        """Begin; what must not run at once is locked by name."""
        connection.execute("BEGIN")

    def lock(self, connection: Any, name: str) -> None:
        """An advisory lock that ends with the transaction."""
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%(name)s, 0))", {"name": name})

    @classmethod
    def translate(cls, sql: str) -> str:
        """``:name`` becomes ``%(name)s``."""
        return _PARAMETER.sub(r"%(\1)s", sql)

    def failure(self, error: Exception) -> StoreUnavailable | None:
        """The server is away, full, or a lock was not had in time."""
        import psycopg

        if isinstance(error, psycopg.errors.DiskFull):
            return StoreUnavailable(
                f"the database server has no room left: {error}", full=True, hint="free space there"
            )
        if isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected):
            return StoreUnavailable(f"a lock in the store was not had in {self.timeout:g} s", hint="try again")
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            from sretoolkit.config import mask

            return StoreUnavailable(
                f"the store {mask(self.url)} does not answer: {error}", hint="check server and store.url"
            )
        return None

    def backup(self, connection: Any, path: Path) -> None:
        """PostgreSQL has its own tools for that."""
        raise ConfigError("a PostgreSQL store is copied by its own tools", hint=f"pg_dump -Fc -f {path} DATABASE")
