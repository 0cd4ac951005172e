"""Sensu Go: the newest event of each entity and check, with its last 21 results and the numbers that came with it.

There is no history of numbers: they go to the store that a handler writes to. Queries for numbers are selectors, read
here: ``cpu_idle{entity="web1", check="cpu"}``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from sretoolkit.clock import Clock
from sretoolkit.errors import ConfigError, NoData, NotExpressible, QueryError, SourceError
from sretoolkit.metrics.compiled import Compiled
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.entity import Entity
from sretoolkit.metrics.events import Event, Kept, Window
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.series import SeriesFrame
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.source import Capabilities, MetricSource
from sretoolkit.metrics.sources._sensu_read import (
    HISTORY,
    MARKER,
    Point,
    Result,
    addresses,
    changes,
    check_state,
    history,
    is_marker,
    is_stale,
    labels_of,
    listed,
    missed,
    moment,
    names,
    points,
    section,
)
from sretoolkit.metrics.sources._sensu_session import Session
from sretoolkit.metrics.states import CheckState
from sretoolkit.metrics.windows import frame_of
from sretoolkit.report import Finding, Report, plain

_NOW = timedelta(seconds=5)
_OLD = timedelta(minutes=5)
_KEEPALIVE = "keepalive"
_STORE = "ask the store that its metric handlers write to"


class Sensu(MetricSource):
    """The API of a Sensu Go backend, in one namespace."""

    own_options = frozenset({"namespace", "marker_entity"})
    declared = Capabilities(quantile="none", group_by=False, regex_filter=True)

    def __init__(self, endpoint: Endpoint, *, clock: Clock | None = None) -> None:
        super().__init__(endpoint, clock=clock)
        self._session = Session(endpoint, clock=self.clock)
        self._markers = str(endpoint.options.get("marker_entity", "sretoolkit"))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesFrame:
        """The numbers in the newest events that a selector matches; there is no other moment than now."""
        now = self._only_now(at, query)
        try:
            selector = Selector.parse(query)
        except ConfigError as error:
            raise QueryError(f"{self.name}: {error.message}", source=self.name, query=query, hint=error.hint) from error
        fresh: dict[tuple[tuple[str, str], ...], Point] = {}
        old = 0
        for event in self._events(query):
            limit = max(_OLD.total_seconds(), missed(section(event, "check")))
            for point in points(event, selector.metric):
                key = tuple(sorted(point.labels.items()))
                if not selector.accepts(point.labels) or (key in fresh and fresh[key].time > point.time):
                    continue
                if now.timestamp() - point.time > limit:
                    old += 1
                else:
                    fresh[key] = point
        if not fresh:
            hint = f"are metric and labels right? a range is not kept here: {_STORE}"
            what = f"only old data ({old} numbers)" if old else "no data"
            raise NoData(f"{self.name} has {what} for {query}", source=self.name, query=query, hint=hint)
        grid = Grid.at(now)
        return SeriesFrame(
            times=grid.moments,
            values=np.array([[fresh[key].value for key in sorted(fresh)]], dtype=np.float64),
            labels=[dict(key) for key in sorted(fresh)],
            interval=timedelta(milliseconds=grid.step),
            warnings=[f"{old} numbers are older than three intervals (or five minutes): left out"] if old else [],
            query=query,
        )

    def checks(self) -> Sequence[CheckState]:
        """The state of every check; its results are final at once, a first failure is not tried again."""
        now = self.clock.now()
        found = [check_state(event, now, self.name) for event in self._events() if names(event)[1]]
        return sorted(found, key=lambda check: (check.entity, check.check))

    def events(self, window: Window) -> Sequence[Event]:
        """Changes of state within each check's last 21 results, and markers; ``.lost`` says what is not kept."""
        found, short = [], 0
        for event in self._session.pages(self._session.path("events")):
            if is_marker(event):
                found.append(self._marker(event))
                continue
            results = history(event)
            short += len(results) >= HISTORY and results[0].time > window.start.timestamp()
            found += self._changes(event)
        lost = f"{short} checks had more than {HISTORY} results since {window.start:%Y-%m-%d %H:%M:%S} UTC"
        happened = sorted((one for one in found if one.within(window)), key=lambda one: one.start)
        return Kept(happened, lost=f"{lost}: changes before them are not kept" if short else "")

    def discover(self) -> Sequence[Entity]:
        """The entities of the namespace, with the checks that there are results of."""
        checks: dict[str, set[str]] = {}
        for event in self._events():
            entity, check = names(event)
            checks.setdefault(entity, set()).add(check)
        return [
            self._entity(entity, checks)
            for entity in self._session.pages(self._session.path("entities"))
            if str(section(entity, "metadata").get("name")) != self._markers
        ]

    def version(self) -> str:
        """As ``/version`` tells."""
        try:
            told = self._session.wire.json("GET", "/version")
        except SourceError:
            return "unknown"
        return str(told.get("sensu_backend") or "unknown") if isinstance(told, dict) else "unknown"

    def health(self) -> Report:
        """Version, the cluster's members and stores, and whether our login is taken."""
        facts: dict[str, Any] = {"source": self.name, "url": self.endpoint.url, "namespace": self._session.namespace}
        findings: list[Finding] = []
        try:
            state = self._session.wire.json("GET", "/health")
            facts["version"] = self.version()
            findings += _troubles(state if isinstance(state, dict) else {})
            self._session.ask("GET", self._session.path("events"), params={"limit": 1})
        except SourceError as error:
            findings.append(_finding("critical", self.name, error.message, remedy=error.hint))
        if self.endpoint.remote.in_clear:
            summary = "the login crosses the network unencrypted (http)"
            findings.append(_finding("medium", self.name, summary, remedy="use https"))
        return Report(f"Health of {self.name}", findings, facts=facts)

    def sli(self, sli: SLI, grid: Grid, *, exact: bool = False) -> Compiled:
        """Availability of a check, as far as its last 21 results go back; nothing else is kept."""
        if sli.kind != "availability" or not sli.entity or sli.by:
            reason = "it keeps the newest numbers only, and of each check the last 21 states"
            raise self.cannot(f"an SLI of kind {sli.kind}", sli.name, reason=reason, nearest=_STORE)
        path = self._session.path("events", sli.entity, sli.check or _KEEPALIVE)

        def ask() -> SeriesFrame:
            event = self._session.json(path, query=sli.name)
            if not isinstance(event, dict):
                event = {}
            results = history(event)
            self._covers(sli, event, results, grid)
            width = sli.window / timedelta(milliseconds=1)
            values = np.array([_availability(results, (at - width) / 1000, at / 1000) for at in grid.moments.tolist()])
            return frame_of(sli, grid, {(): values}, source=self.name, query=f"GET {path}")

        reason = "the results in the check's history, each good until the next one"
        return Compiled(f"GET {path}", reason, ask, "what was between two results is not known")

    def silence(self, check: CheckState, window: Window, comment: str) -> str:
        """Silence one check of one entity; refused when there is a silence of it already, for it would be replaced."""
        subscription = f"entity:{check.entity}"
        name = f"{subscription}:{check.check}"
        start, end = (int(at.timestamp()) for at in window)
        body = {
            "metadata": {"name": name, "namespace": self._session.namespace},
            "subscription": subscription,
            "check": check.check,
            "begin": start,
            "expire": max(1, end - start),
            "expire_at": end,
            "expire_on_resolve": False,
            "reason": comment,
        }
        try:
            self._session.ask("POST", self._session.path("silenced"), query=name, json=body)
        except QueryError as error:
            if "exists" not in error.message:
                raise
            hint = "it stays as it is; end it first, or wait for its end"
            raise SourceError(f"{self.name}: {name} is silenced already", source=self.name, hint=hint) from error
        return name

    def unsilence(self, identifier: str) -> None:
        """Delete the silence of that name."""
        self._session.ask("DELETE", self._session.path("silenced", identifier), query=identifier, gone=True)

    def annotate(self, event: Event) -> str:
        """Post a passing event of a proxy entity (option ``marker_entity``), which the backend makes and keeps."""
        stamp = round(event.start.timestamp() * 1000)
        digest = hashlib.sha256(event.title.encode(errors="replace")).hexdigest()[:8]
        name = f"marker-{stamp}-{digest}"
        told = {"title": event.title, "tags": "\n".join(event.tags), "end": event.end.isoformat() if event.end else ""}
        seconds = int(event.start.timestamp())
        body = {
            "entity": {
                "entity_class": "proxy",
                "metadata": {"name": self._markers, "namespace": self._session.namespace},
            },
            "check": {
                "metadata": {
                    "name": name,
                    "namespace": self._session.namespace,
                    "labels": {MARKER: "true"},
                    "annotations": told,
                },
                "status": 0,
                "executed": seconds,
                "issued": seconds,
                "output": event.text,
            },
            "timestamp": seconds,
        }
        self._session.ask("POST", self._session.path("events"), query=event.title, json=body)
        return name

    def retract(self, identifier: str) -> None:
        """Delete the marker; the proxy entity that it was of stays."""
        path = self._session.path("events", self._markers, identifier)
        self._session.ask("DELETE", path, query=identifier, gone=True)

    def _events(self, query: str = "") -> Iterator[Mapping[str, Any]]:
        found = self._session.pages(self._session.path("events"), query=query)
        return (event for event in found if not is_marker(event))

    def _only_now(self, at: datetime | None, query: str) -> datetime:
        now = self.clock.now()
        if at is not None and abs((at if at.tzinfo else at.replace(tzinfo=UTC)) - now) > _NOW:
            raise self.cannot("a moment other than now", query, reason="it keeps the newest only", nearest=_STORE)
        return now

    def _covers(self, sli: SLI, event: Mapping[str, Any], results: Sequence[Result], grid: Grid) -> None:
        if not results:
            hint = "is the check run for that entity?"
            raise NoData(f"{self.name} has no results for {sli.name}", source=self.name, query=sli.name, hint=hint)
        begin = moment((grid.first - sli.window / timedelta(milliseconds=1)) / 1000)
        first = moment(results[0].time)
        checked = moment(results[-1].time)
        assert begin is not None
        if first is None or first > begin:
            reason = f"its results go back to {first}, not to {begin}"
            raise self._beyond(sli, reason, "ask for a shorter window")
        end = moment(grid.last / 1000)
        if end is None or end > self.clock.now() + _NOW or is_stale(section(event, "check"), checked, end):
            raise self._beyond(sli, f"its last result is of {checked}", "is its agent running?")

    def _beyond(self, sli: SLI, reason: str, nearest: str) -> NotExpressible:
        return self.cannot(f"the SLI {sli.name}", sli.name, reason=reason, nearest=nearest)

    def _changes(self, event: Mapping[str, Any]) -> Iterator[Event]:
        entity, check = names(event)
        for time, before, after in changes(event):
            start = moment(time)
            if start:
                title = f"{entity}/{check}: {before} to {after}"
                yield Event(start=start, title=title, tags=[after], source=self.name)

    def _marker(self, event: Mapping[str, Any]) -> Event:
        told = section(event, "check", "metadata", "annotations")
        name = names(event)[1]
        return Event(
            start=moment(section(event, "check").get("executed")) or datetime.fromtimestamp(0, UTC),
            end=_iso(str(told.get("end") or "")),
            title=str(told.get("title") or name),
            text=str(section(event, "check").get("output") or ""),
            tags=[tag for tag in str(told.get("tags") or "").split("\n") if tag],
            source=self.name,
            id=name,
        )

    def _entity(self, entity: Mapping[str, Any], checks: Mapping[str, set[str]]) -> Entity:
        name = str(section(entity, "metadata").get("name") or "")
        groups = [one for one in entity.get("subscriptions") or () if not str(one).startswith("entity:")]
        return Entity(
            name=name,
            address=next(addresses(entity), ""),
            groups=groups,
            labels=labels_of({"entity": entity}),
            services=sorted(checks.get(name, set()) - {"", _KEEPALIVE}),
            source=self.name,
        )


def _availability(results: Sequence[Result], start: float, end: float) -> float:
    """The part of the time from start to end in which the state was ok."""
    good = 0.0
    for place, result in enumerate(results):
        until = results[place + 1].time if place + 1 < len(results) else end
        overlap = min(end, until) - max(start, result.time)
        good += overlap if result.state == "ok" and overlap > 0 else 0.0
    return good / (end - start)


def _troubles(state: Mapping[str, Any]) -> Iterator[Finding]:
    remedy = "look at sensu-backend's log on that member"
    for alarm in state.get("Alarms") or ():
        yield _finding("high", "store", f"the cluster has an alarm: {plain(alarm)}", remedy=remedy)
    for member in listed(state.get("ClusterHealth")):
        if not member.get("Healthy"):
            why = plain(member.get("Err") or "no reason given")
            yield _finding("high", plain(member.get("Name")), "a member of the cluster is not healthy", why, remedy)
    for store in listed(state.get("PostgresHealth")):
        if not store.get("Healthy"):
            summary = "its PostgreSQL is not healthy: events may not be kept"
            yield _finding("high", plain(store.get("Name")), summary, remedy="look at that database")


def _iso(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _finding(severity: Any, subject: str, summary: str, evidence: str = "", remedy: str = "") -> Finding:
    return Finding(
        severity=severity, subject=subject, summary=summary, evidence=evidence, proof="certain", remedy=remedy
    )
