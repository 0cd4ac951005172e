"""The schema, one numbered SQL file a version; a store moves forward by itself and never back."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from sretoolkit.config import mask
from sretoolkit.errors import StoreError

if TYPE_CHECKING:
    from sretoolkit.store.store import Store

SCHEMA = 6


def version_of(store: Store) -> int:
    """The schema version that the database has; 0 for an empty one."""
    if not store.read(store.dialect.has_table, name="meta"):
        return 0
    rows = store.read("SELECT value FROM meta WHERE key = 'schema'")
    if not rows or not str(rows[0].get("value")).isdecimal():
        raise StoreError(f"{mask(store.url)} is some other program's database", hint="set store.url to one of its own")
    return int(rows[0]["value"])


def steps_from(version: int, types: dict[str, str]) -> list[str]:
    """The statements that lead from a version to `SCHEMA`."""
    folder = files("sretoolkit.store") / "migrations"
    statements = []
    for number in range(version + 1, SCHEMA + 1):
        text = (folder / f"{number:04}.sql").read_text(encoding="utf-8")
        for name, spelling in types.items():
            text = text.replace("{" + name + "}", spelling)
        statements += [part.strip() for part in text.split(";\n") if part.strip()]
        statements.append(
            f"INSERT INTO meta (key, value) VALUES ('schema', '{number}') "
            f"ON CONFLICT (key) DO UPDATE SET value = '{number}'"
        )
    return statements
