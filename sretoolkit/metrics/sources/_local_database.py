"""The SQLite file of local measurements: its tables, reading and writing.

``series`` (id, metric, labels as sorted JSON, kind, unit), ``samples`` (series, time in milliseconds UTC, value) and
``events`` (id, start, end, title, text, tags as JSON). The file says which version of these tables it holds.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.windows import Samples

VERSION = 1
_APPLICATION = 0x53524554  # "SRET", in the file's header
_TABLES = """
CREATE TABLE IF NOT EXISTS series (
  id INTEGER PRIMARY KEY, metric TEXT NOT NULL, labels TEXT NOT NULL, kind TEXT NOT NULL, unit TEXT NOT NULL,
  UNIQUE (metric, labels)
) STRICT;
CREATE TABLE IF NOT EXISTS samples (
  series INTEGER NOT NULL REFERENCES series, time INTEGER NOT NULL, value REAL NOT NULL, PRIMARY KEY (series, time)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
  id INTEGER PRIMARY KEY, start INTEGER NOT NULL, end INTEGER, title TEXT NOT NULL, text TEXT NOT NULL, tags TEXT NOT NULL
) STRICT;
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Foreign(Exception):
    """The file is no such database, or of another version."""


class Database:
    """One file; every use opens it anew, so that it can be read while something else writes."""

    def __init__(self, path: Path, *, timeout: timedelta) -> None:
        self.path = path
        self.timeout = timeout.total_seconds()

    def create(self) -> None:
        """Make the file with its tables; fine when it is there already. Raises `Foreign`."""
        with self._opened("rwc") as connection:
            if connection.execute("PRAGMA application_id").fetchone()[0] == 0:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_TABLES)
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
            _check(connection)

    def append(
        self,
        metric: str,
        labels: Mapping[str, str],
        samples: Iterable[tuple[int, float]],
        *,
        kind: str = "gauge",
        unit: str = "",
    ) -> None:
        """Add samples (milliseconds, value) of one series; a time that is there already is overwritten."""
        with self._opened("rw") as connection:
            key = (metric, json.dumps(dict(labels), sort_keys=True, ensure_ascii=False))
            connection.execute(
                "INSERT INTO series (metric, labels, kind, unit) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (*key, kind, unit),
            )
            (number,) = connection.execute("SELECT id FROM series WHERE metric = ? AND labels = ?", key).fetchone()
            rows = ((number, time, value) for time, value in samples)
            connection.executemany("INSERT OR REPLACE INTO samples VALUES (?, ?, ?)", rows)

    def select(self, selector: Selector, start: int, end: int) -> Iterator[tuple[Samples, str, str]]:
        """The series that a selector accepts, with kind and unit, and their samples in (start, end]."""
        with self._opened("ro") as connection:
            rows = connection.execute(
                "SELECT id, labels, kind, unit FROM series WHERE metric = ? ORDER BY labels", (selector.metric,)
            )
            for number, text, kind, unit in rows.fetchall():
                labels = json.loads(text)
                if selector.accepts(labels):
                    found = connection.execute(
                        "SELECT time, value FROM samples WHERE series = ? AND time > ? AND time <= ? ORDER BY time",
                        (number, start, end),
                    ).fetchall()
                    times = np.array([row[0] for row in found], dtype=np.int64)
                    yield Samples(labels, times, np.array([row[1] for row in found], dtype=np.float64)), kind, unit

    def metrics(self) -> dict[str, list[dict[str, str]]]:
        """Every metric with the labels of its series."""
        found: dict[str, list[dict[str, str]]] = {}
        with self._opened("ro") as connection:
            for metric, labels in connection.execute("SELECT metric, labels FROM series ORDER BY metric, labels"):
                found.setdefault(metric, []).append(json.loads(labels))
        return found

    def newest(self) -> int | None:
        """The time of the newest sample; None without any."""
        with self._opened("ro") as connection:
            newest: int | None = connection.execute("SELECT max(time) FROM samples").fetchone()[0]
            return newest

    def damage(self) -> str:
        """What SQLite finds wrong with the file; "" when nothing is."""
        with self._opened("ro") as connection:
            said = [str(row[0]) for row in connection.execute("PRAGMA quick_check")]
        return "" if said == ["ok"] else "; ".join(said)

    def events(self, window: Window) -> list[Event]:
        """The events of a window, oldest first."""
        with self._opened("ro") as connection:
            rows = connection.execute(
                "SELECT id, start, end, title, text, tags FROM events"
                " WHERE start <= ? AND coalesce(end, start) >= ? ORDER BY start",
                (_milliseconds(window.end), _milliseconds(window.start)),
            ).fetchall()
        return [
            Event(
                start=_time(start),
                end=None if end is None else _time(end),
                title=title,
                text=text,
                tags=tuple(json.loads(tags)),
                id=str(number),
            )
            for number, start, end, title, text, tags in rows
        ]

    def annotate(self, event: Event) -> str:
        """Write an event; returns its id."""
        end = None if event.end is None else _milliseconds(event.end)
        row = (
            _milliseconds(event.start),
            end,
            event.title,
            event.text,
            json.dumps(list(event.tags), ensure_ascii=False),
        )
        with self._opened("rw") as connection:
            done = connection.execute("INSERT INTO events (start, end, title, text, tags) VALUES (?, ?, ?, ?, ?)", row)
            return str(done.lastrowid)

    def retract(self, identifier: str) -> None:
        """Delete an event; fine when it is gone."""
        with self._opened("rw") as connection:
            connection.execute("DELETE FROM events WHERE id = ?", (identifier,))

    @contextmanager
    def _opened(self, mode: str) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, timeout=self.timeout)
        try:
            if mode != "rwc":
                _check(connection)
            with connection:
                yield connection
        finally:
            connection.close()


def _check(connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise Foreign("it is a database of something else")
    if version != VERSION:
        raise Foreign(f"its tables are of version {version}, this sretoolkit reads version {VERSION}")


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _time(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)
