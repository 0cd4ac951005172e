"""Zabbix 6.0 and later, by its JSON-RPC interface.

``url`` is where its web pages are. The login is an API token (``token``) or a user (``username``, ``password``). A query
selects items: ``system.cpu.util[,idle]{host="h1"}``, ``requests{service="web", code=~"5.."}``; see `_zabbix_items`. Own
options for deploy markers: ``marker = "host/key"`` names a trapper item of type text, and with 6.0 ``trapper`` the server's
``host:port``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

import numpy as np

from sretoolkit.clock import Clock
from sretoolkit.errors import ConfigError, NoData, SourceError
from sretoolkit.metrics.compiled import Compiled
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.entity import Entity
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.series import SeriesFrame
from sretoolkit.metrics.sli import SLI, Counter
from sretoolkit.metrics.source import Capabilities, MetricSource
from sretoolkit.metrics.sources._zabbix_api import API, moment
from sretoolkit.metrics.sources._zabbix_items import HOUR, Item, Items, Read, parse
from sretoolkit.metrics.sources._zabbix_markers import Markers
from sretoolkit.metrics.sources._zabbix_states import States
from sretoolkit.metrics.states import CheckState
from sretoolkit.metrics.windows import Samples, frame_of, from_samples, gathered, group_of
from sretoolkit.report import Finding, Report, Severity

LOOKBACK = timedelta(hours=1)
_SKEW, _SILENT = 5.0, 60.0
_COUNTED = ("error_ratio", "throughput")
_PERCENTILE = "its items are single numbers, and no percentile can be made of them"


class Zabbix(MetricSource):
    """A Zabbix server with its web pages."""

    own_options: ClassVar[frozenset[str]] = frozenset({"marker", "trapper"})
    declared = Capabilities(history=True, quantile="premade")

    def __init__(self, endpoint: Endpoint, *, clock: Clock | None = None) -> None:
        super().__init__(endpoint, clock=clock)
        marker, trapper = (str(endpoint.options.get(name, "")) for name in ("marker", "trapper"))
        if marker and not all(marker.partition("/")):
            raise ConfigError(
                f"the source {self.name}: marker is no item: {marker!r}", hint='write marker = "host/key"'
            )
        if trapper and not trapper.rpartition(":")[2].isdecimal():
            raise ConfigError(f"the source {self.name}: trapper is no address", hint='write trapper = "host:10051"')
        self._api = API(self)
        self._items = Items(self._api)
        self._states = States(self._api)
        self._markers = Markers(self._api, marker, trapper)

    def close(self) -> None:
        """Log out, and close the connections."""
        self._api.close()

    def version(self) -> str:
        """As it says without a login."""
        try:
            return self._api.release()
        except SourceError:
            return "unknown"

    def range(
        self, query: str, *, window: timedelta, step: timedelta | None = None, end: datetime | None = None
    ) -> SeriesFrame:
        """The last value of each step; before what is kept of history, the hours' averages."""
        grid = Grid.of(window=window, step=step, end=end, clock=self.clock)
        return self._gathered(query, grid, grid.first - grid.step)

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesFrame:
        """The last value that is not older than an hour."""
        grid = Grid.at(at or self.clock.now())
        wide = Grid(grid.first, LOOKBACK // timedelta(milliseconds=1), 1)
        return replace(self._gathered(query, wide, wide.first - wide.step), interval=timedelta(milliseconds=grid.step))

    def sli(self, sli: SLI, grid: Grid, *, exact: bool = False) -> Compiled:
        """Sums made here, of the items' values; availability from the problems of a trigger."""
        if sli.kind == "availability" and sli.metric is None:
            return self._availability(sli, grid)
        if sli.kind == "latency_quantile":
            return self._premade(sli, grid)
        selectors = [one for one in (sli.bad, sli.total, sli.metric, sli.capacity) if one is not None]
        reason = "Zabbix adds nothing up over items or time: the values are fetched and counted here, (t - window, t]"
        estimated = (
            "where history is no longer kept: from hourly trends, average times count, for windows of whole hours"
            if sli.kind in _COUNTED else ""
        )  # fmt: skip
        return Compiled(self._native(selectors, sli, grid), reason, lambda: self._measured(sli, grid), estimated)

    def checks(self) -> Sequence[CheckState]:
        """Triggers with their problems, and items that cannot be collected."""
        return self._states.checks()

    def events(self, window: Window) -> Sequence[Event]:
        """Problems, maintenances, and the markers of the item ``marker``."""
        found = list(self._states.events(window))
        found += self._markers.read(window) if self._markers.key else []
        return sorted((one for one in found if one.within(window)), key=lambda one: (one.start, one.title))

    def discover(self) -> Sequence[Entity]:
        """The monitored hosts."""
        return self._states.discover()

    def health(self) -> Report:
        """Version, whether the server behind the pages lives, its clock, and what it cannot collect."""
        facts: dict[str, Any] = {"source": self.name, "url": self.endpoint.url}
        findings: list[Finding] = []
        try:
            facts["version"] = self._api.release()
            facts["hosts"] = int(self._api.read("host.get", {"countOutput": True, "monitored_hosts": True}))
            findings += self._troubles()
        except SourceError as error:
            findings.append(_finding("critical", self.name, error.message, error.hint))
        if self.endpoint.remote.in_clear:
            findings.append(
                _finding("medium", self.name, "the login crosses the network unencrypted (http)", "use https")
            )
        return Report(f"Health of {self.name}", findings, facts=facts)

    def annotate(self, event: Event) -> str:
        """Write a marker into the item that ``marker`` names."""
        if not self._markers.key:
            reason = "Zabbix has no annotations; a marker is kept as a text of an item, and none is named"
            raise self.cannot("annotate", event.title, reason=reason, nearest='the option marker = "host/key"')
        if self._api.version < (7, 0) and not self._markers.trapper:
            reason = "before 7.0 the API takes no values; the server's own port does"
            raise self.cannot("annotate", event.title, reason=reason, nearest='the option trapper = "host:10051"')
        return self._markers.write(event)

    def retract(self, identifier: str) -> None:
        """Say in the same item that the marker is void: a value cannot be deleted, but is no longer shown by `events`."""
        if self._markers.key:
            self._markers.take_back(identifier)

    def acknowledge(self, check: CheckState, comment: str) -> None:
        """All open problems of the trigger, with the comment."""
        self._states.acknowledge(check, comment)

    def unacknowledge(self, check: CheckState) -> None:
        """Take the mark away; the comment stays in the problem's history."""
        self._states.unacknowledge(check)

    def silence(self, check: CheckState, window: Window, comment: str) -> str:
        """A maintenance with data collection: of the host's problems with the trigger's tags, or of the whole host."""
        return self._states.silence(check, window, comment)

    def unsilence(self, identifier: str) -> None:
        """Delete the maintenance."""
        self._states.unsilence(identifier)

    def _gathered(self, query: str, grid: Grid, start: int) -> SeriesFrame:
        items = self._items.selected(parse(self._api, query), query)
        self._known(items, query)
        read = self._items.read(items, start, grid.last, query, lambda row: float(row["value_avg"]))
        units = {item.unit for item in items}
        return gathered(
            grid, read.samples, source=self.name, query=query, unit=units.pop() if len(units) == 1 else "",
            complete=not read.cut, warnings=read.warnings,
        )  # fmt: skip

    def _known(self, items: Sequence[Item], query: str) -> None:
        if not items:
            text = f"{self.name} has no item {query}"
            hint = "is the key right (all of it, or its name without brackets), and may this login see the host?"
            raise NoData(text, source=self.name, query=query, hint=hint)

    def _native(self, selectors: Sequence[Selector], sli: SLI, grid: Grid) -> str:
        width = sli.window // timedelta(milliseconds=1)
        bounds = {"time_from": (grid.first - width) // 1000, "time_till": -(-grid.last // 1000)}
        lines = [f"item.get of {selector}" for selector in selectors]
        return "\n".join([*lines, f"history.get {json.dumps({'history': '<value_type of each item>', **bounds})}"])

    def _measured(self, sli: SLI, grid: Grid) -> SeriesFrame:
        counter: Counter = sli.counter or "delta"
        reads: list[Read] = []
        of_hour: Callable[[dict[str, str]], float] = (
            (lambda row: float(row["value_avg"]) * int(row["num"])) if sli.kind in _COUNTED
            else (lambda row: float(row["value_avg" if sli.kind == "availability" else "value_max"]))
        )  # fmt: skip

        def fetch(selector: Selector, start: int, end: int) -> Sequence[Samples]:
            items = self._items.selected(selector, str(selector))
            if not items:
                return []
            read = self._items.read(items, start, end, str(selector), of_hour)
            reads.append(read)
            if read.cut:
                self._whole_hours(sli, grid, counter)
            return read.samples

        frame = from_samples(sli, grid, fetch, source=self.name, counter=counter, lookback=LOOKBACK)
        warnings = dict.fromkeys(text for read in reads for text in read.warnings)
        complete = frame.complete and not any(read.cut for read in reads)
        return replace(frame, warnings=[*warnings, *frame.warnings], complete=complete)

    def _whole_hours(self, sli: SLI, grid: Grid, counter: str) -> None:
        """Trends say what an hour as a whole was; raises `NotExpressible` for anything else."""
        edges = (grid.first, grid.step if grid.count > 1 else 0, sli.window // timedelta(milliseconds=1))
        if any(edge % (HOUR * 1000) for edge in edges):
            reason = "history is not kept that long, and trends are of whole hours"
            nearest = "a window and moments of whole hours, or a window within the items' history"
            raise self.cannot(f"{sli.kind} over {sli.window}", sli.name, reason=reason, nearest=nearest)
        if counter == "cumulative" and sli.kind in _COUNTED:
            reason = "history is not kept that long, and trends lose where a counter began anew"
            raise self.cannot(sli.kind, sli.name, reason=reason, nearest="a window within the items' history")

    def _premade(self, sli: SLI, grid: Grid) -> Compiled:
        named = {**sli.on.get(self.endpoint.kind, {}), **sli.on.get(self.name, {})}
        if "metric" not in named or sli.metric is None:
            nearest = (
                f'the item that already is the percentile: on.{self.endpoint.kind} = {{ metric = "app.latency.p99" }}'
            )
            raise self.cannot(f"a quantile of {sli.metric}", sli.name, reason=_PERCENTILE, nearest=nearest)
        native = self._native([sli.metric], sli, grid)
        reason = f"the item is said to be the percentile {sli.quantile:g} already: its last value in the window"
        estimated = "the percentile is of whatever interval the item is made of, not of the window"
        return Compiled(native, reason, lambda: self._last(sli, grid), estimated)

    def _last(self, sli: SLI, grid: Grid) -> SeriesFrame:
        assert sli.metric is not None  # a quantile has one
        asked, width = str(sli.metric), sli.window // timedelta(milliseconds=1)
        items = self._items.selected(sli.metric, asked)
        self._known(items, asked)
        groups = [group_of(item.labels, sli.by) for item in items]
        if len(groups) != len(set(groups)):
            reason = f"{len(items)} items match, and a percentile of percentiles means nothing"
            raise self.cannot(f"a quantile of {sli.metric}", sli.name, reason=reason, nearest="select exactly one item")
        read = self._items.read(items, grid.first - width, grid.last, asked, lambda row: float(row["value_max"]))
        if read.cut:
            reason = "history is not kept that long"
            raise self.cannot(f"a quantile of {sli.metric}", sli.name, reason=reason, nearest="a later window")
        windowed = Grid(grid.first, grid.step, grid.count)
        values = {
            group: np.array([_last_of(one, int(at) - width, int(at)) for at in windowed.moments])
            for group, one in zip(groups, read.samples, strict=True)
        }
        return frame_of(sli, grid, values, source=self.name, query=asked)

    def _availability(self, sli: SLI, grid: Grid) -> Compiled:
        if not sli.check:
            reason = "only a trigger says whether something is well, and none is named"
            nearest = 'check = "name of the trigger", or metric = an item of 0 and 1'
            raise self.cannot("availability of a host", sli.name, reason=reason, nearest=nearest)
        labels = {"host": sli.entity, "check": sli.check}
        if unknown := set(sli.by) - set(labels):
            raise self.cannot(
                f"by {min(unknown)}", sli.name, reason="a trigger is told apart by", nearest="host, check"
            )
        width = round(sli.window.total_seconds())
        bounds = {"time_from": grid.first // 1000 - width, "time_till": grid.last // 1000}
        about = json.dumps({"objectids": [f"<trigger {sli.check!r} of {sli.entity!r}>"], "source": 0, **bounds})
        reason = "the trigger's problem and ok events, and the last one before the window, say how long it was well"
        return Compiled(f"event.get {about}", reason, lambda: self._well(sli, grid, width))

    def _well(self, sli: SLI, grid: Grid, width: int) -> SeriesFrame:
        trigger = self._states.trigger(sli.entity, sli.check)
        start, end = grid.first // 1000 - width, grid.last // 1000
        before, changes = self._states.changes(trigger, start, end)
        group = group_of({"host": sli.entity, "check": sli.check}, sli.by)
        values = [_share_ok(before, changes, int(at) // 1000 - width, int(at) // 1000) for at in grid.moments]
        warnings = []
        if before is None:
            warnings.append("no event tells the state at the window's start: the time until the first one is left out")
        if trigger.get("state") == "1":
            warnings.append("the trigger cannot be evaluated at present: its state may be out of date")
        return frame_of(
            sli, grid, {group: np.array(values)}, source=self.name, complete=not warnings, warnings=warnings,
            query=f"{sli.entity}/{sli.check}",
        )  # fmt: skip

    def _troubles(self) -> list[Finding]:
        found = []
        if abs(self._api.skew) > _SKEW:
            text = f"its clock differs from ours by {self._api.skew:+.0f} s"
            found.append(_finding("medium", "clock", text, "compare both with a time server"))
        try:
            nodes = self._api.read("hanode.get", {"output": ["name", "lastaccess", "status"]})
        except SourceError as error:
            found.append(_finding("info", "server", "it does not tell whether its server lives", error.hint))
            nodes = None
        if nodes is not None:
            now = self.clock.now().timestamp() + self._api.skew
            seen = [moment(one["lastaccess"]) for one in nodes if one.get("status") == "3"]
            if not any(at and now - at.timestamp() < _SILENT for at in seen):
                text = "no active server has reported for a minute: nothing is collected or evaluated"
                found.append(_finding("critical", "server", text, "start zabbix_server; look at its log"))
        given = {"countOutput": True, "monitored": True, "filter": {"state": 1}}
        if broken := int(self._api.read("item.get", given)):
            text = f"{broken} items cannot be collected (checks() names them)"
            found.append(_finding("low", "items", text, "mend or disable them"))
        return found


def _last_of(one: Samples, after: int, until: int) -> float:
    low, high = np.searchsorted(one.times, (after, until), side="right")
    return float(one.values[high - 1]) if high > low else np.nan


def _share_ok(before: int | None, changes: Sequence[tuple[int, int]], start: int, end: int) -> float:
    """The part of the known time in (start, end] in which the trigger's value was 0."""
    known = good = 0
    value, since = before, start
    for at, new in [*changes, (end, None)]:
        until = min(max(at, start), end)
        if value is not None and until > since:
            known += until - since
            good += (until - since) * (value == 0)
        if at > end:
            break
        value, since = new, max(until, since)
    return good / known if known else float("nan")


def _finding(severity: Severity, subject: str, summary: str, remedy: str) -> Finding:
    return Finding(severity=severity, subject=subject, summary=summary, proof="certain", remedy=remedy)
