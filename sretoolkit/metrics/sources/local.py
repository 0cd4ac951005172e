"""Files on this machine: the SQLite file of one's own measurements, CSV and Parquet. No server is needed.

``local+file:///var/lib/measured.db``, or ``url = "file:///..."`` in the configuration; the suffix tells what it is:
``.csv``, ``.csv.gz``, ``.parquet``, anything else is the database. The query is a selector: ``metric{label="value"}``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

from sretoolkit.clock import Clock, format_duration
from sretoolkit.errors import ConfigError, QueryError, SourceError, SourceUnavailable
from sretoolkit.metrics.compiled import Compiled
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.entity import Entity
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.series import Kind, SeriesFrame
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.source import Capabilities, MetricSource
from sretoolkit.metrics.sources._local_database import Database, Foreign
from sretoolkit.metrics.sources._local_table import Table, Unreadable
from sretoolkit.metrics.windows import Samples, from_samples, gathered
from sretoolkit.report import Finding, Report, plain

_LOOKBACK = timedelta(minutes=5)  # an instant is the last sample of this time
_TABLES = (".csv", ".csv.gz", ".parquet")
_HOSTS = ("host", "hostname", "instance", "node")
_OLD = timedelta(hours=1)


class Local(MetricSource):
    """One file. Counters in it are cumulative unless the database says "delta" of a series, or the SLI does."""

    schemes = ("file",)
    declared = Capabilities(history=True, quantile="exact", group_by=True, regex_filter=True, server_window=True)

    def __init__(self, endpoint: Endpoint, *, clock: Clock | None = None) -> None:
        super().__init__(endpoint, clock=clock)
        self.path = Path(unquote(urlsplit(endpoint.url).path))
        self._database = None if self.path.name.endswith(_TABLES) else Database(self.path, timeout=endpoint.timeout)

    def range(
        self, query: str, *, window: timedelta, step: timedelta | None = None, end: datetime | None = None
    ) -> SeriesFrame:
        """The last sample of each step, of the series that the selector accepts."""
        grid = Grid.of(window=window, step=step, end=end, clock=self.clock)
        found = self._select(self._selector(query), grid.first - grid.step, grid.last, query)
        return self._frame(grid, found, query)

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesFrame:
        """The last sample of the five minutes before the moment."""
        at = at or self.clock.now()
        grid = Grid(round(at.timestamp() * 1000), _LOOKBACK // timedelta(milliseconds=1), 1)
        return self._frame(grid, self._select(self._selector(query), grid.first - grid.step, grid.last, query), query)

    def sli(self, sli: SLI, grid: Grid, *, exact: bool = False) -> Compiled:
        """Computed from the samples themselves: always exact."""
        if sli.kind == "availability" and sli.metric is None:
            nearest = "SLI.availability(metric=...) of a metric that is 1 when all is well and else 0"
            raise self.cannot("availability of a check", sli.name, reason="a file holds no checks", nearest=nearest)
        selectors = [selector for selector in (sli.bad, sli.total, sli.metric, sli.capacity) if selector]
        delta = not sli.counter and self._are_deltas(sli.total)

        def ask() -> SeriesFrame:
            def fetch(selector: Selector, start: int, end: int) -> list[Samples]:
                return [samples for samples, _, _ in self._select(selector, start, end, sli.name)]

            counter = "delta" if delta else "cumulative"
            return from_samples(sli, grid, fetch, source=self.name, counter=counter, lookback=_LOOKBACK)  # type: ignore[arg-type]

        native = "\n".join(
            f"every sample of {selector} in the {format_duration(sli.window)} before each moment"
            for selector in selectors
        )
        return Compiled(native, "the samples are at hand, so the indicator is computed from them", ask)

    def events(self, window: Window) -> Sequence[Event]:
        """The markers in the database; a table has none."""
        found: list[Event] = self._read(lambda database: database.events(window), "events")
        return found

    def annotate(self, event: Event) -> str:
        """Write a marker into the database."""
        return str(self._read(lambda database: database.annotate(event), "annotate"))

    def retract(self, identifier: str) -> None:
        """Delete it."""
        self._read(lambda database: database.retract(identifier), "retract")

    def discover(self) -> Sequence[Entity]:
        """The values of the label host (or hostname, instance, node), with the metrics there are of each."""
        services: dict[str, set[str]] = {}
        for metric, labels in self._metrics():
            host = next((labels[name] for name in _HOSTS if labels.get(name)), "")
            if host:
                services.setdefault(host, set()).add(metric)
        return [Entity(name=host, services=sorted(metrics)) for host, metrics in sorted(services.items())]

    def version(self) -> str:
        """Of SQLite, or the kind of table; "unknown" when the file cannot be read."""
        try:
            with self._reading():
                if self._database:
                    self._database.newest()
        except SourceError:
            return "unknown"
        return f"SQLite {sqlite3.sqlite_version}" if self._database else self.path.suffix.removeprefix(".")

    def health(self) -> Report:
        """Whether the file is there, whole, and fed."""
        facts: dict[str, Any] = {"source": self.name, "file": self.path}
        findings = []
        try:
            with self._reading():
                facts["size"] = f"{self.path.stat().st_size:,} bytes"
                damage = self._database.damage() if self._database else ""
                newest = self._newest()
            facts["version"] = self.version()
            if damage:
                findings.append(
                    _finding("critical", "file", f"it is damaged: {plain(damage)}", "restore it from a copy")
                )
            if newest is None:
                findings.append(_finding("medium", "samples", "it holds no samples", "is something writing to it?"))
            elif (age := self.clock.now() - newest) > _OLD:
                summary = f"its newest sample is {format_duration(timedelta(seconds=age.total_seconds() // 1))} old"
                findings.append(_finding("low", "samples", summary, "is something still writing to it?"))
        except SourceError as error:
            findings.append(_finding("critical", self.name, error.message, error.hint))
        return Report(f"Health of {self.name}", findings, facts=facts)

    def _newest(self) -> datetime | None:
        if self._database:
            newest = self._database.newest()
        else:
            newest = max((time for samples in Table(self.path).series().values() for time, _ in samples), default=None)
        return None if newest is None else datetime.fromtimestamp(newest / 1000, UTC)

    def _metrics(self) -> Iterator[tuple[str, dict[str, str]]]:
        with self._reading():
            if self._database:
                found = [(metric, labels) for metric, each in self._database.metrics().items() for labels in each]
            else:
                found = [(metric, dict(pairs)) for metric, pairs in Table(self.path).series()]
        yield from found

    def _are_deltas(self, selector: Selector | None) -> bool:
        """Whether the database says of the series that each value is what came since the one before."""
        if selector is None or self._database is None or not self.path.exists():
            return False
        with self._reading():
            kinds = {kind for _, kind, _ in self._database.select(selector, 0, 0)}
        return kinds == {"delta"}

    def _select(self, selector: Selector, start: int, end: int, query: str) -> list[tuple[Samples, str, str]]:
        with self._reading(query):
            if self._database:
                return list(self._database.select(selector, start, end))
            return [(samples, "gauge", "") for samples in Table(self.path).select(selector, start, end)]

    def _frame(self, grid: Grid, found: Sequence[tuple[Samples, str, str]], query: str) -> SeriesFrame:
        units, kinds = {unit for _, _, unit in found}, {kind for _, kind, _ in found}
        kind: Kind = kinds.pop() if len(kinds) == 1 else "gauge"  # type: ignore[assignment]
        unit = units.pop() if len(units) == 1 else ""
        series = [samples for samples, _, _ in found]
        return gathered(grid, series, source=self.name, query=query, unit=unit, kind=kind)

    def _selector(self, query: str) -> Selector:
        try:
            return Selector.parse(query)
        except ConfigError as error:
            raise QueryError(f"{self.name}: {error.message}", source=self.name, query=query, hint=error.hint) from error

    def _read(self, call: Callable[[Database], Any], what: str) -> Any:
        if self._database is None:
            raise self.cannot(what, reason="a table holds samples only", nearest="use a database file for markers")
        with self._reading():
            return call(self._database)

    @contextmanager
    def _reading(self, query: str = "") -> Iterator[None]:
        """What goes wrong with the file, as what it means."""
        try:
            if not self.path.exists():
                raise FileNotFoundError(2, "there is no such file")
            yield
        except (OSError, sqlite3.Error, Foreign, Unreadable) as error:
            self._failed(error, query)

    def _failed(self, error: Exception, query: str) -> NoReturn:
        said = plain(getattr(error, "strerror", None) or error)
        text = f"{self.name} cannot be read: {said} ({self.path})"
        if isinstance(error, sqlite3.OperationalError) and "locked" in said:
            raise SourceUnavailable(
                text, source=self.name, query=query, hint="something writes to it; try again"
            ) from error
        hint = "check the path, its permissions, and that it is a database of measurements, a .csv or a .parquet"
        raise SourceError(text, source=self.name, query=query, hint=hint) from error


def _finding(severity: Any, subject: str, summary: str, remedy: str) -> Finding:
    return Finding(severity=severity, subject=subject, summary=summary, proof="certain", remedy=remedy)
