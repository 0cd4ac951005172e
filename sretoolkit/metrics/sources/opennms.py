"""OpenNMS (Horizon and Meridian): measurements of resources, alarms, outages, events and nodes, through its REST API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from sretoolkit.clock import Clock
from sretoolkit.errors import NoData, QueryError, SourceError
from sretoolkit.metrics.compiled import Compiled
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.entity import Entity
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.series import SeriesFrame
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.source import Capabilities, MetricSource
from sretoolkit.metrics.sources._opennms_measurements import Question, fault, of_selectors, question
from sretoolkit.metrics.sources._opennms_rest import OPEN, Rest, fiql, fiql_time, moment, node_of, service_of
from sretoolkit.metrics.states import CheckState, State
from sretoolkit.metrics.windows import Samples, frame_of, from_samples
from sretoolkit.report import Finding, Report, plain

_STATES: dict[str, State] = {
    "CRITICAL": "critical",
    "MAJOR": "critical",
    "MINOR": "warning",
    "WARNING": "warning",
    "INDETERMINATE": "unknown",
    "NORMAL": "ok",
    "CLEARED": "ok",
}
_RECENT = timedelta(minutes=15)  # three collections of OpenNMS' usual five minutes
_UEI = "uei.opennms.org/"
_RATES = (
    "OpenNMS keeps averages over its steps (rates, for counters), drawn to even times by the store; "
    "the window counts as the steps that end in it"
)


class OpenNMS(MetricSource):
    """The REST API of an OpenNMS server; ``url`` with or without its path (``/opennms``)."""

    declared = Capabilities(history=True, quantile="none", group_by=False, regex_filter=False, server_window=False)

    def __init__(self, endpoint: Endpoint, *, clock: Clock | None = None) -> None:
        super().__init__(endpoint, clock=clock)
        self._rest = Rest(endpoint, clock=self.clock)

    def close(self) -> None:
        """Close the connections."""
        self._rest.wire.close()

    def range(
        self, query: str, *, window: timedelta, step: timedelta | None = None, end: datetime | None = None
    ) -> SeriesFrame:
        """The measurements, at the times and the step that the server keeps them in."""
        grid = Grid.of(window=window, step=step, end=end, clock=self.clock)
        asked = self._question(query)
        self.afford(grid.count * max(1, len(asked.sources)), query)
        return asked.frame(asked.ask(self._rest, grid), grid, self.name)

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesFrame:
        """The newest measurement of the quarter of an hour up to a moment."""
        moment_asked = Grid.at(at or self.clock.now())
        grid = Grid.of(window=_RECENT, step=_RECENT / 3, end=at or self.clock.now())
        asked = self._question(query)
        frame = asked.frame(asked.ask(self._rest, grid), grid, self.name)
        newest = np.array([[column[~np.isnan(column)][-1] for column in frame.values.T]])
        times, interval = moment_asked.moments, timedelta(milliseconds=moment_asked.step)
        return replace(frame, times=times, values=newest, interval=interval, warnings=[])

    def checks(self) -> Sequence[CheckState]:
        """The alarms; a cleared one is ok."""
        now = self.clock.now()
        found = [self._alarm(alarm, now) for alarm in self._rest.pages("/api/v2/alarms", "alarm")]
        return sorted(found, key=lambda check: (check.entity, check.check, check.id))

    def events(self, window: Window) -> Sequence[Event]:
        """The events of the window, and the outages that touch it."""
        start, end = (fiql_time(at) for at in window)
        asked = f"event.eventTime=ge={start};event.eventTime=le={end}"
        found = [self._event(event) for event in self._rest.pages("/api/v2/events", "event", fiql=asked)]
        touching = f"(outage.ifRegainedService=ge={start},{OPEN});outage.ifLostService=le={end}"
        outages = self._rest.pages("/api/v2/outages", "outage", fiql=touching)
        found += [self._outage(outage) for outage in outages if not outage.get("perspective")]
        return sorted((one for one in found if one.within(window)), key=lambda one: one.start)

    def discover(self) -> Sequence[Entity]:
        """The nodes, each with its primary address."""
        addresses: dict[str, str] = {}
        for interface in self._rest.pages("/api/v2/ipinterfaces", "ipInterface"):
            node, address = str(interface.get("nodeId")), str(interface.get("ipAddress") or "")
            if interface.get("snmpPrimary") == "P" or node not in addresses:
                addresses[node] = address
        return [self._node(node, addresses) for node in self._rest.pages("/api/v2/nodes", "node")]

    def version(self) -> str:
        """As ``/rest/info`` tells."""
        try:
            told = self._rest.json("GET", "/rest/info")
        except SourceError:
            return "unknown"
        return str(told.get("displayVersion") or "unknown") if isinstance(told, dict) else "unknown"

    def health(self) -> Report:
        """Version, and daemons that do not run: without Pollerd no outage is seen, without Collectd nothing is measured."""
        facts: dict[str, Any] = {"source": self.name, "url": self.endpoint.url}
        findings: list[Finding] = []
        try:
            told = self._rest.json("GET", "/rest/info")
            told = told if isinstance(told, dict) else {}
            facts["version"] = str(told.get("displayVersion") or "unknown")
            services = told.get("services")
            services = services if isinstance(services, dict) else {}
            stopped = sorted(str(name) for name, state in services.items() if str(state).lower() != "running")
            facts["daemons"] = f"{len(services) - len(stopped)} of {len(services)} running"
            if stopped:
                summary, remedy = "it does not run: what it watches is not seen", "look at output of opennms status"
                findings += [_finding("high", plain(name), summary, remedy) for name in stopped]
        except SourceError as error:
            findings.append(_finding("critical", self.name, error.message, error.hint))
        if self.endpoint.remote.in_clear:
            findings.append(
                _finding("medium", self.name, "the login crosses the network unencrypted (http)", "use https")
            )
        return Report(f"Health of {self.name}", findings, facts=facts)

    def acknowledge(self, check: CheckState, comment: str) -> None:
        """Acknowledge an alarm, as the user of the login; OpenNMS keeps no comment with it."""
        self._acknowledge(check, "ack")

    def unacknowledge(self, check: CheckState) -> None:
        """Take that back."""
        self._acknowledge(check, "unack")

    def sli(self, sli: SLI, grid: Grid, *, exact: bool = False) -> Compiled:
        """From measurements of single resources, or from outages: the availability of a node or of its service."""
        if sli.kind == "availability" and sli.metric is None:
            return self._availability(sli, grid)
        if sli.kind == "latency_quantile":
            reason = "it keeps averages, least and greatest values, from which no quantile of a window follows"
            raise self.cannot("latency_quantile", sli.name, reason=reason, nearest="the greatest value: saturation")
        if exact:
            reason = "it keeps averages over steps, not the samples"
            raise self.cannot(f"an exact {sli.kind}", sli.name, reason=reason, nearest="ask without exact")
        wanted = [one for one in (sli.bad, sli.total, sli.metric, sli.capacity) if one is not None]
        if sli.by:
            raise self.cannot(f"the SLI {sli.name} by {sli.by[0]}", sli.name, reason="resources have no labels",
                              nearest="an SLI for each resource, without by")  # fmt: skip
        for one in wanted:
            if why := fault(one):
                nearest = f"name it: on.opennms = {{ ... = '{one.metric}{{resource=\"node[1].nodeSnmp[]\"}}' }}"
                raise self.cannot(f"the SLI {sli.name}", sli.name, reason=why, nearest=nearest)
        if sli.counter == "cumulative":
            raise self.cannot(f"the SLI {sli.name}", sli.name, reason="it keeps counters as rates",
                              nearest="leave counter away")  # fmt: skip
        return self._measured(sli, grid, list(dict.fromkeys(wanted)))

    def _question(self, query: str) -> Question:
        """The query; one that names no resource is refused with some that the server has."""
        try:
            return question(query, self.name)
        except QueryError as error:
            if "names no resource" not in error.message:
                raise
            told = self._rest.json("GET", "/rest/resources", query=query, params={"depth": 0})
            found = told.get("resource") if isinstance(told, dict) else None
            there = [plain(one.get("id")) for one in found or () if isinstance(one, dict)]
            hint = f"{error.hint}; it has {len(there)}, such as {', '.join(there[:3])}" if there else error.hint
            raise QueryError(error.message, source=self.name, query=query, hint=hint) from error

    def _measured(self, sli: SLI, grid: Grid, wanted: Sequence[Selector]) -> Compiled:
        """Rates times steps are what a counter grew by; gauges are as they are."""
        counted = sli.kind in ("error_ratio", "throughput")
        aggregation = "MAX" if sli.kind == "saturation" else "AVERAGE"
        width = sli.window // timedelta(milliseconds=1)
        span = Grid(grid.first - width, 1, grid.last - grid.first + width + 1)  # the step 1: as fine as it is kept
        asked = of_selectors(sli.name, wanted, aggregation=aggregation)
        native = "\n".join(f"POST /rest/measurements {one}" for one in asked.sources)

        def ask() -> SeriesFrame:
            measured = asked.ask(self._rest, span)
            factor = measured.step / 1000 if counted else 1.0
            if measured.step > width:
                reason = f"that far back it keeps steps of {measured.step / 1000:g} s only"
                raise self.cannot(f"the SLI {sli.name}", sli.name, reason=reason, nearest="a longer window")
            columns = {one: measured.columns.get(f"s{number}") for number, one in enumerate(wanted)}

            def fetch(selector: Selector, start: int, end: int) -> Sequence[Samples]:
                values = columns[selector]
                if values is None:
                    return []
                inside = (measured.times > start) & (measured.times <= end) & ~np.isnan(values)
                return [Samples({}, measured.times[inside], values[inside] * factor)]

            delta = replace(sli, counter="delta", bad=sli.bad, total=sli.total)
            return from_samples(delta, grid, fetch, source=self.name, counter="delta", lookback=timedelta(0))

        reason = "rates times the step, added up over the window" if counted else "the measurements of the window"
        return Compiled(native, reason, ask, _RATES)

    def _availability(self, sli: SLI, grid: Grid) -> Compiled:
        width = sli.window / timedelta(milliseconds=1)
        begin, end = ((grid.first - width) / 1000, grid.last / 1000)
        until = fiql_time(datetime.fromtimestamp(end, UTC))
        native = (
            f"GET /api/v2/nodes?_s=node.label=={fiql(sli.entity)}\n"
            f"GET /api/v2/outages?_s=node.id==...;outage.ifLostService=le={until}"
        )
        if sli.by:
            raise self.cannot(f"the SLI {sli.name} by {sli.by[0]}", sli.name, reason="outages have no labels",
                              nearest="an SLI for each service, without by")  # fmt: skip

        def ask() -> SeriesFrame:
            node = self._node_id(sli, begin)
            asked = f"node.id=={node};outage.ifLostService=le={until}"
            outages = self._rest.pages("/api/v2/outages", "outage", fiql=asked, query=sli.name)
            spans = [
                _span(outage, end)
                for outage in outages
                if not outage.get("perspective") and sli.check in ("", service_of(outage))
            ]
            values = np.array(
                [1 - _covered(spans, at / 1000 - width / 1000, at / 1000) for at in grid.moments.tolist()]
            )
            return frame_of(sli, grid, {(): values}, source=self.name, query=native)

        what = f"its service {sli.check}" if sli.check else "any of its services"
        reason = f"the part of the window in which no outage of {what} was open"
        return Compiled(native, reason, ask, "an outage begins with the poll that failed, not with the failure")

    def _node_id(self, sli: SLI, begin: float) -> int:
        """The one node of that label which has been watched for the whole window; no outage proves nothing otherwise."""
        nodes = self._rest.pages("/api/v2/nodes", "node", fiql=f"node.label=={fiql(sli.entity)}", query=sli.name)
        found = [node for node in nodes if node.get("label") == sli.entity]
        hint = "node labels are as discover() and OpenNMS' pages show them"
        if len(found) != 1 or not str(found[0].get("id")).isdecimal():
            what = f"{len(found)} nodes are called {sli.entity!r}" if found else f"no node is called {sli.entity!r}"
            raise NoData(f"{self.name}: {what}", source=self.name, query=sli.name, hint=hint)
        node = int(found[0]["id"])
        created = moment(found[0].get("createTime"))
        if created and created.timestamp() > begin:
            reason = f"the node is known since {created} only"
            raise self.cannot(f"the SLI {sli.name}", sli.name, reason=reason, nearest="ask for a shorter window")
        services = self._rest.pages("/api/v2/ifservices", "service", fiql=f"node.id=={node}", query=sli.name)
        watched = {service_of(one) for one in services if one.get("status") == "A"}
        if not watched or (sli.check and sli.check not in watched):
            there = ", ".join(sorted(watched)) or "none"
            text = f"{self.name} does not watch {sli.check or 'any service'} on {sli.entity}"
            raise NoData(text, source=self.name, query=sli.name, hint=f"watched there: {there}")
        return node

    def _acknowledge(self, check: CheckState, action: str) -> None:
        if not check.id.isdecimal():
            hint = "take the check from checks(): its id is the alarm's"
            text = f"{self.name}: {check.entity}/{check.check} is no alarm of OpenNMS"
            raise SourceError(text, source=self.name, hint=hint)
        self._rest.send("/rest/acks", {"alarmId": check.id, "action": action}, query=check.id)

    def _alarm(self, alarm: Mapping[str, Any], now: datetime) -> CheckState:
        uei = str(alarm.get("uei") or "")
        service = service_of(alarm)
        name = uei.removeprefix(_UEI)
        labels = {"uei": uei, "service": service, **_texts(alarm, "location", "ipAddress", "reductionKey", "nodeId")}
        until = moment(alarm.get("suppressedUntil"))
        first = moment(alarm.get("firstEventTime"))
        return CheckState(
            entity=node_of(alarm),
            check=f"{name} {service}".strip(),
            state=_STATES.get(str(alarm.get("severity")), "unknown"),
            since=first if alarm.get("count") == 1 else None,
            checked_at=moment(alarm.get("lastEventTime")),
            output=str(alarm.get("logMessage") or alarm.get("logMsg") or "").strip(),
            acknowledged=bool(alarm.get("ackUser")),
            in_downtime=until is not None and until > now,
            labels={key: value for key, value in labels.items() if value},
            id=str(alarm.get("id") or ""),
            source=self.name,
        )

    def _event(self, event: Mapping[str, Any]) -> Event:
        uei, node = str(event.get("uei") or ""), node_of(event)
        title = str(event.get("label") or uei.removeprefix(_UEI))
        return Event(
            start=moment(event.get("time")) or datetime.fromtimestamp(0, UTC),
            title=f"{node}: {title}" if node else title,
            text=str(event.get("logMessage") or event.get("logMsg") or "").strip(),
            tags=[str(event.get("severity") or "").lower()] if event.get("severity") else [],
            source=self.name,
            id=str(event.get("id") or ""),
        )

    def _outage(self, outage: Mapping[str, Any]) -> Event:
        title = f"{node_of(outage) or outage.get('ipAddress')}: {service_of(outage) or 'a service'} down"
        return Event(
            start=moment(outage.get("ifLostService")) or datetime.fromtimestamp(0, UTC),
            end=moment(outage.get("ifRegainedService")),
            title=title,
            tags=["outage"],
            source=self.name,
            id=f"outage {outage.get('id')}",
        )

    def _node(self, node: Mapping[str, Any], addresses: Mapping[str, str]) -> Entity:
        categories = node.get("categories")
        groups = [str(one.get("name")) for one in categories if isinstance(one, dict)] if categories else []
        return Entity(
            name=str(node.get("label") or ""),
            address=addresses.get(str(node.get("id")), ""),
            groups=groups,
            labels=_texts(node, "id", "location", "foreignSource", "foreignId"),
            source=self.name,
        )


def _texts(given: Mapping[str, Any], *names: str) -> dict[str, str]:
    return {name: str(given[name]) for name in names if given.get(name)}


def _span(outage: Mapping[str, Any], end: float) -> tuple[float, float]:
    lost, regained = (moment(outage.get(name)) for name in ("ifLostService", "ifRegainedService"))
    return lost.timestamp() if lost else 0.0, regained.timestamp() if regained else end


def _covered(spans: Sequence[tuple[float, float]], start: float, end: float) -> float:
    """The part of the time from start to end that any of the spans covers."""
    covered, reached = 0.0, start
    for begin, until in sorted(spans):
        low, high = max(begin, reached), min(until, end)
        if high > low:
            covered += high - low
            reached = high
    return covered / (end - start)


def _finding(severity: Any, subject: str, summary: str, remedy: str) -> Finding:
    return Finding(severity=severity, subject=subject, summary=summary, proof="certain", remedy=remedy)
