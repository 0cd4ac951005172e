"""The one database: SQLite by default, PostgreSQL for a team, chosen by the URL alone."""

from sretoolkit.store.dialect import Dialect
from sretoolkit.store.store import Store, open_store

__all__ = ["Dialect", "Store", "open_store"]
