"""InfluxDB through InfluxQL, the language that its versions 1, 2 and 3 share (``/query``; in 2 a DBRP mapping is needed).

A query is a selector, ``measurement.field{tag="value"}`` (without a field: ``value``), or InfluxQL of one's own that
holds ``$timeFilter``, and ``$interval`` where it groups by time. Counters are cumulative unless the SLI says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from sretoolkit.clock import Clock
from sretoolkit.errors import ConfigError, NoData, QueryError, SourceError
from sretoolkit.http import Answer
from sretoolkit.metrics.compiled import Compiled
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.entity import Entity
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.matcher import Matcher, Selector
from sretoolkit.metrics.series import SeriesFrame
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.source import Capabilities, MetricSource
from sretoolkit.metrics.windows import Samples, from_samples, gathered
from sretoolkit.metrics.wire import Wire
from sretoolkit.report import Finding, Report, Severity

_LOOKBACK = timedelta(minutes=5)  # an instant is the last sample of this time
_SKEW = timedelta(seconds=5)
_HOSTS = ("host", "hostname", "instance", "node")


class Influxdb(MetricSource):
    """One database. Own options: ``database`` (needed to ask for metrics) and ``retention_policy``.

    A ``token`` is sent as ``Authorization: Token``, which versions 2 and 3 take; version 1 takes username and password.
    """

    own_options = frozenset({"database", "retention_policy"})
    declared = Capabilities(history=True, quantile="exact", group_by=True, regex_filter=True, server_window=False)

    def __init__(self, endpoint: Endpoint, *, clock: Clock | None = None) -> None:
        super().__init__(endpoint, clock=clock)
        signed = replace(endpoint, remote=replace(endpoint.remote, scheme="Token"))
        self._wire = Wire(signed, product="InfluxDB", said=_said, clock=self.clock)

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def range(
        self, query: str, *, window: timedelta, step: timedelta | None = None, end: datetime | None = None
    ) -> SeriesFrame:
        """The last sample of each step of the series that a selector or an InfluxQL query gives."""
        grid = Grid.of(window=window, step=step, end=end, clock=self.clock)
        return self._frame(grid, query)

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesFrame:
        """The last sample of the five minutes before the moment."""
        moment = at or self.clock.now()
        return self._frame(Grid(round(moment.timestamp() * 1000), _LOOKBACK // timedelta(milliseconds=1), 1), query)

    def sli(self, sli: SLI, grid: Grid, *, exact: bool = False) -> Compiled:
        """Computed here, from the raw samples."""
        if sli.kind == "availability" and sli.metric is None:
            nearest = "SLI.availability(metric=...) of a field that is 1 when all is well and else 0"
            raise self.cannot("availability of a check", sli.name, reason="it keeps no checks", nearest=nearest)
        width = sli.window // timedelta(milliseconds=1)
        selectors = [one for one in (sli.bad, sli.total, sli.metric, sli.capacity) if one]
        native = "\n".join(self._native(one, grid.first - width, grid.last) for one in selectors)

        def fetch(selector: Selector, start: int, end: int) -> list[Samples]:
            return self._samples(self._native(selector, start, end), sli.name)

        def ask() -> SeriesFrame:
            return from_samples(sli, grid, fetch, source=self.name, counter="cumulative", lookback=_LOOKBACK)

        why = (
            "InfluxQL's own windows begin at whole intervals since 1970 and its derivatives know no restart of a counter: "
            "the raw samples are asked for (cumulative counters also those shortly before) and reckoned here"
        )
        return Compiled(native, why, ask)

    def discover(self) -> Sequence[Entity]:
        """The values of the tag host (or hostname, instance, node), with the measurements there are of each."""
        found: dict[str, set[str]] = {}
        for tag in _HOSTS:
            for series in self._ask(f'SHOW TAG VALUES WITH KEY = "{tag}"', "discover"):
                for row in series.get("values", []):
                    found.setdefault(str(row[series["columns"].index("value")]), set()).add(str(series["name"]))
        return [Entity(name=host, services=sorted(names)) for host, names in sorted(found.items())]

    def version(self) -> str:
        """As the header of ``/ping`` says."""
        try:
            headers = self._wire.ask("GET", "/ping").headers
        except SourceError:
            return "unknown"
        return headers.get("X-Influxdb-Version") or headers.get("x-influxdb-version") or "unknown"

    def health(self) -> Report:
        """Version, clock, whether the database is there and may be read."""
        facts: dict[str, Any] = {"source": self.name, "url": self.endpoint.url}
        findings: list[Finding] = []
        try:
            answer = self._wire.ask("GET", "/ping")
            facts["version"] = answer.headers.get("X-Influxdb-Version", "unknown")
            findings += self._clock(answer)
            findings += self._database(facts)
        except SourceError as error:
            findings.append(_finding("critical", self.name, error.message, error.hint))
        if self.endpoint.remote.in_clear:
            findings.append(
                _finding("medium", self.name, "the login crosses the network unencrypted (http)", "use https")
            )
        return Report(f"Health of {self.name}", findings, facts=facts)

    def _clock(self, answer: Answer) -> Iterator[Finding]:
        try:
            skew = parsedate_to_datetime(answer.headers.get("Date", "")).astimezone(UTC) - self.clock.now()
        except ValueError:
            return
        if abs(skew) > _SKEW:
            word = "ahead of" if skew > timedelta(0) else "behind"
            summary = (
                f"its clock is {abs(skew).total_seconds():.0f} s {word} ours: a window that ends now is not its now"
            )
            yield _finding("medium", "clock", summary, "compare both with a time server; until then give an end")

    def _database(self, facts: dict[str, Any]) -> Iterator[Finding]:
        database = self.endpoint.options.get("database")
        if not database:
            yield _finding("low", "database", "none is configured: metrics cannot be asked for", 'set database = "..."')
            return
        found = [
            row[0] for series in self._ask("SHOW DATABASES", "health", bare=True) for row in series.get("values", [])
        ]
        facts["database"] = database
        if database not in found:
            remedy = f"it has: {', '.join(map(str, found)) or 'none that we may see'}"
            yield _finding("critical", "database", f"there is no database {database!r}", remedy)

    def _frame(self, grid: Grid, query: str) -> SeriesFrame:
        start, end = grid.first - grid.step, grid.last
        if query.lstrip()[:6].upper() == "SELECT":
            native = self._filled(query, start, end, grid.step)
        else:
            native = self._native(self._selector(query), start, end)
        self.afford(grid.count, query)
        return gathered(grid, self._samples(native, query), source=self.name, query=query)

    def _filled(self, query: str, start: int, end: int, step: int) -> str:
        if "$timeFilter" not in query:
            hint = 'write ... WHERE $timeFilter ... GROUP BY time($interval), *; or a selector: measurement.field{tag="value"}'
            raise QueryError(
                f"{self.name}: the query has no $timeFilter: {query}", source=self.name, query=query, hint=hint
            )
        return query.replace("$timeFilter", _between(start, end)).replace("$interval", f"{step}ms")

    def _selector(self, query: str) -> Selector:
        try:
            return Selector.parse(query)
        except ConfigError as error:
            raise QueryError(f"{self.name}: {error.message}", source=self.name, query=query, hint=error.hint) from error

    def _native(self, selector: Selector, start: int, end: int) -> str:
        measurement, dot, field = selector.metric.rpartition(".")
        names = (measurement, field) if dot else (field, "value")
        policy = self.endpoint.options.get("retention_policy")
        table = f"{identifier(str(policy))}.{identifier(names[0])}" if policy else identifier(names[0])
        conditions = [_between(start, end), *map(condition, selector.matchers)]
        return f"SELECT {identifier(names[1])} FROM {table} WHERE {' AND '.join(conditions)} GROUP BY *"

    def _samples(self, native: str, query: str) -> list[Samples]:
        found = []
        for series in self._ask(native, query):
            columns, tags = series["columns"][1:], series.get("tags") or {}
            labels = {name: str(value) for name, value in tags.items() if value != ""}
            for place, column in enumerate(columns, start=1):
                rows = [(row[0], _number(row[place])) for row in series.get("values", [])]
                named = labels if len(columns) == 1 else {**labels, "field": str(column)}
                kept = [(time, value) for time, value in rows if value is not None]
                found.append(Samples.of(named, (time for time, _ in kept), (value for _, value in kept)))
        return found

    def _ask(self, native: str, query: str, *, bare: bool = False) -> list[Mapping[str, Any]]:
        database = str(self.endpoint.options.get("database", ""))
        if not database and not bare:
            hint = f'set database = "..." in [sources.{self.name}]'
            raise SourceError(f"{self.name}: no database is configured", source=self.name, query=query, hint=hint)
        form = {"q": native, "epoch": "ms", **({} if bare else {"db": database})}
        body = self._wire.json("POST", "/query", query=query, form=form, repeatable=True)
        results = body.get("results") if isinstance(body, dict) else None
        if not isinstance(results, list):
            raise SourceError(
                f"{self.name} answered without results", source=self.name, query=query, hint="is it an InfluxDB?"
            )
        for result in results:
            if "error" in result:
                kind = NoData if "not found" in result["error"] and "database" not in result["error"] else QueryError
                raise kind(
                    f"{self.name}: {result['error']}", source=self.name, query=query, hint=f"mend the query: {native}"
                )
            if result.get("partial") or any(series.get("partial") for series in result.get("series", [])):
                what = f"{self.name} cut the answer off (max-row-limit)"
                raise SourceError(what, source=self.name, query=query, hint="ask for a shorter window or fewer series")
        return [series for result in results for series in result.get("series", [])]


def identifier(name: str) -> str:
    """A name between double quotes."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def literal(value: str) -> str:
    """A text between single quotes."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def condition(matcher: Matcher) -> str:
    """A condition on a tag; a tag that is not there is an empty text, as everywhere."""
    if matcher.is_regex:
        pattern = re.sub(r"(?<!\\)((?:\\\\)*)/", r"\1\\/", matcher.value)
        return f"{identifier(matcher.label)} {matcher.operator} /^(?:{pattern})$/"
    return f"{identifier(matcher.label)} {matcher.operator} {literal(matcher.value)}"


def _between(start: int, end: int) -> str:
    return f"time > {start}ms AND time <= {end}ms"


def _number(value: Any) -> float | None:
    """A field that is no number (a text, a null) is no sample."""
    return float(value) if isinstance(value, int | float) else None


def _said(answer: Answer) -> str:
    try:
        body = answer.json()
    except ValueError:
        return ""
    return str(body.get("error") or body.get("message") or "") if isinstance(body, dict) else ""


def _finding(severity: Severity, subject: str, summary: str, remedy: str) -> Finding:
    return Finding(severity=severity, subject=subject, summary=summary, proof="certain", remedy=remedy)
