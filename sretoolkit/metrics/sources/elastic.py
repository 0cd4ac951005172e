"""Elasticsearch and OpenSearch: one code for both, through HTTP alone.

Options of a source of this kind::

    index = "logs-*,metrics-*"        # which indices are asked
    time_field = "@timestamp"
    documents = ["requests"]          # metrics that are counted by documents; "*" always is
    host_field = "host.name"          # whose values are machines; without it the usual ones are tried
    events_index = "deploys"          # where markers are read and written
    scheme = "ApiKey"                 # the word before the token, if it is not Bearer

A selector's metric is a field of numbers (``requests`` is summed, ``latency`` has quantiles), or ``*`` or a name among
``documents``, and then each document is one. Its labels are fields by their whole names: ``host.name``, ``service``;
text with a keyword beside it (``service.keyword``) is found by its plain name.

A query for `range` is a line of Lucene's syntax (``level:error AND service:web``: how many documents in each step), or
the JSON of a search; a ``date_histogram`` in it without an interval has the step's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sretoolkit.clock import Clock
from sretoolkit.errors import ConfigError, HTTPError, QueryError, SourceError
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.entity import Entity
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.source import Capabilities, MetricSource
from sretoolkit.metrics.sources._elastic_fields import DOCUMENTS, Fields
from sretoolkit.metrics.sources._elastic_health import examine
from sretoolkit.metrics.sources._elastic_hosts import machines
from sretoolkit.metrics.sources._elastic_native import Question
from sretoolkit.metrics.sources._elastic_search import Remarks, Search
from sretoolkit.metrics.sources._elastic_sli import Indicator

if TYPE_CHECKING:
    from sretoolkit.metrics.compiled import Compiled
    from sretoolkit.metrics.matcher import Selector
    from sretoolkit.metrics.series import SeriesFrame
    from sretoolkit.metrics.sli import SLI
    from sretoolkit.report import Report

MOST_POINTS = 10_000  # buckets in one answer, well below what a server refuses
EVENTS = "sretoolkit-events"
_MINUTE = 60_000
_TEXTS = ("index", "time_field", "host_field", "events_index", "scheme")


class Elastic(MetricSource):
    """A cluster of Elasticsearch or OpenSearch."""

    own_options = frozenset({*_TEXTS, "documents"})
    declared = Capabilities(history=True, quantile="exact", group_by=True, regex_filter=True, server_window=True)

    def __init__(self, endpoint: Endpoint, *, clock: Clock | None = None) -> None:
        super().__init__(endpoint, clock=clock)
        given = endpoint.options
        for key in _TEXTS:
            if not isinstance(given.get(key, ""), str):
                raise ConfigError(f"the source {self.name}: {key} must be text, not {given[key]!r}")
        counted = given.get("documents", [])
        if not isinstance(counted, list) or not all(isinstance(name, str) for name in counted):
            hint = 'write documents = ["requests"]'
            raise ConfigError(f"the source {self.name}: documents must be a list of metrics", hint=hint)
        self.indices = given.get("index") or "*"
        self.index = quote(self.indices, safe="*,-:")
        self.time_field = given.get("time_field") or "@timestamp"
        self.host_field = given.get("host_field", "")
        self.events_index = given.get("events_index") or EVENTS
        self.search = Search(endpoint, self.clock, given.get("scheme", ""))
        self._documents = {DOCUMENTS, *counted}

    def close(self) -> None:
        """Close the connections."""
        self.search.wire.close()

    def counts(self, metric: str) -> bool:
        """Whether a metric is counted by documents, and is no field."""
        return metric in self._documents

    def between(self, start: int, end: int) -> dict[str, Any]:
        """The documents of (start, end] (milliseconds)."""
        return {"range": {self.time_field: {"gt": start, "lte": end, "format": "epoch_millis"}}}

    def range(
        self, query: str, *, window: timedelta, step: timedelta | None = None, end: datetime | None = None
    ) -> SeriesFrame:
        """How many documents match in each step, or what the JSON's aggregations say; see the module.

        A step without any document is a gap; one in which others came and none matched is 0.
        """
        grid = Grid.of(window=window, step=step, end=end, clock=self.clock)
        question = Question(self, query)
        if question.aggs and not question.histograms:
            raise question.without_time()
        if question.own and step is None and timedelta(milliseconds=question.own) <= window:
            step = timedelta(milliseconds=question.own)
            grid = Grid.of(window=window, step=step, end=end, clock=self.clock)
        return self._answered(question, grid)

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesFrame:
        """The same for the one minute up to a moment."""
        moment = Grid.at(at or self.clock.now())
        return self._answered(Question(self, query), Grid(moment.first, _MINUTE, 1))

    def _answered(self, question: Question, grid: Grid) -> SeriesFrame:
        frame = question.frame(grid, MOST_POINTS)
        if question.nothing():
            raise question.no_match(grid)
        return frame

    def native(self, selector: Selector) -> str:
        """The selector as the JSON of a search: how many documents match, or the statistics of its field in each step."""
        fields, name = Fields(self), str(selector)
        body: dict[str, Any] = {"query": fields.query(selector, name)}
        if not self.counts(selector.metric):
            stats = {selector.metric: {"stats": {"field": fields.number(selector.metric, name)}}}
            body["aggs"] = {"steps": {"date_histogram": {"field": self.time_field}, "aggs": stats}}
        return json.dumps(body, ensure_ascii=False)

    def sli(self, sli: SLI, grid: Grid, *, exact: bool = False) -> Compiled:
        """Counted by the cluster, put together here; see `sretoolkit.metrics.sources._elastic_sli`."""
        return Indicator(self, sli, grid, exact).compiled()

    def events(self, window: Window) -> Sequence[Event]:
        """The documents of ``events_index``: ``title`` (or ``message``), ``tags``, and ``event.end`` where there is one."""
        start, end = (round(moment.timestamp() * 1000) for moment in window)
        later = {"bool": {"should": [_at("@timestamp", "gte", start), _at("event.end", "gte", start)]}}
        filters = [_at("@timestamp", "lte", end), later]
        remarks = Remarks()
        index = quote(self.events_index, safe="*,-:")
        try:
            hits = list(self.search.documents(index, filters, "@timestamp", remarks, ""))
        except QueryError as error:
            if self.events_index == EVENTS and "no such index" in error.message:
                return []  # the default one, which the first marker will make
            raise
        if not remarks.complete:
            text = f"{self.name} gave only a part of its events: {'; '.join(remarks.warnings)}"
            raise SourceError(text, source=self.name, hint="look at the cluster's health")
        found = [event for hit in hits if (event := self._event(hit)) and event.within(window)]
        return sorted(found, key=lambda event: event.start)

    def annotate(self, event: Event) -> str:
        """Write a document to ``events_index``, and wait until it can be found."""
        kind = {"kind": "event", "start": _iso(event.start), **({"end": _iso(event.end)} if event.end else {})}
        body = {
            "@timestamp": _iso(event.start), "title": event.title, "message": event.text, "tags": list(event.tags),
            "event": kind,
        }  # fmt: skip
        path = f"/{quote(self.events_index, safe='-')}/_doc"
        found = self.search.json("POST", path, json=body, params={"refresh": "wait_for"})
        if not found.get("_id"):
            self.search.odd(path, "")
        return f"{found.get('_index', self.events_index)}/{found['_id']}"

    def retract(self, identifier: str) -> None:
        """Delete a document that `annotate` wrote."""
        index, _, name = identifier.partition("/")
        if not index or not name:
            hint = "an id is what annotate gave: INDEX/ID"
            raise QueryError(f"{self.name}: {identifier!r} is no marker's id", source=self.name, hint=hint)
        path = f"/{quote(index, safe='-')}/_doc/{quote(name, safe='')}"
        wire = self.search.wire
        try:
            answer = wire.http.send("DELETE", path, params={"refresh": "wait_for"}, repeatable=True)
        except HTTPError as error:
            wire.failed(error, "")
        if answer.status != 404 and not answer.ok:
            wire.refused(answer, "")

    def discover(self) -> Sequence[Entity]:
        """The machines that wrote documents in the last day."""
        return machines(self)

    def version(self) -> str:
        """As ``/`` says; "unknown" when it does not."""
        try:
            return self.asked_version()
        except SourceError:
            return "unknown"

    def health(self) -> Report:
        """Version, product, the cluster's colour, indices that take no writes, and a clock that differs."""
        return examine(self)

    def asked_version(self) -> str:
        """As ``/`` says; raises what asking raises."""
        return str(self.search.about["version"].get("number", "unknown"))

    def _event(self, hit: dict[str, Any]) -> Event | None:
        given = hit.get("_source") or {}
        nested = given.get("event")
        spans = nested if isinstance(nested, dict) else {}
        start = _moment(given.get("@timestamp"))
        if start is None and hit.get("sort"):
            start = datetime.fromtimestamp(hit["sort"][0] / 1000, UTC)
        if start is None:
            return None
        message = str(given.get("message") or "")
        title = str(given.get("title") or spans.get("action") or message.partition("\n")[0])
        tags = given.get("tags") or ()
        return Event(
            start=start,
            end=_moment(spans.get("end")),
            title=title,
            text=message if message != title else "",
            tags=[str(tag) for tag in (tags if isinstance(tags, list) else [tags])],
            source=self.name,
            id=f"{hit.get('_index', '')}/{hit.get('_id', '')}",
        )


def _at(name: str, operator: str, moment: int) -> dict[str, Any]:
    return {"range": {name: {operator: moment, "format": "epoch_millis"}}}


def _iso(moment: datetime) -> str:
    """UTC, to the millisecond, which is all that a date field keeps."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="milliseconds")


def _moment(given: Any) -> datetime | None:
    """A time as documents have it: ISO text or milliseconds."""
    try:
        if isinstance(given, int | float) and not isinstance(given, bool):
            return datetime.fromtimestamp(given / 1000, UTC)
        found = datetime.fromisoformat(str(given)) if given else None
    except (ValueError, OverflowError, OSError):
        return None
    return found.replace(tzinfo=UTC) if found and not found.tzinfo else found and found.astimezone(UTC)
