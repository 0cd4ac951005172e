"""Graphite: points by render, tags and tree, events; through HTTP alone.

Options of a source of this kind::

    path = "web.{host}.requests.{code}"       # labels of untagged series; a table for several metrics
    host_tag = "host"                         # the tag that names the machine
    rollup = "sum"                            # how storage-aggregation.conf rolls up, for windows that reach that far
    newest = "carbon.agents.*.metricsReceived"   # whose newest point shows how far behind Graphite is

A selector's metric is the tag ``name``, or ``{metric}`` in a path, or a name in the table; its labels are tags or nodes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sretoolkit.clock import Clock
from sretoolkit.errors import ConfigError, QueryError, SourceError
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.entity import Entity
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.source import Capabilities, MetricSource
from sretoolkit.metrics.sources._graphite_health import examine
from sretoolkit.metrics.sources._graphite_render import Renderer, Series
from sretoolkit.metrics.sources._graphite_sli import LOOKBACK, Indicator
from sretoolkit.metrics.sources._graphite_target import compiled, fault, series_of, templates, whole
from sretoolkit.metrics.sources._graphite_tree import machines
from sretoolkit.metrics.windows import Samples, gathered

if TYPE_CHECKING:
    from sretoolkit.metrics.compiled import Compiled
    from sretoolkit.metrics.matcher import Selector
    from sretoolkit.metrics.series import SeriesFrame
    from sretoolkit.metrics.sli import SLI
    from sretoolkit.report import Report

_ROLLUPS = ("", "sum", "average", "max", "last", "min")
_VERSION = re.compile(r"\"?(\d[\w.+-]{0,40})\"?")
_UNTIL = re.compile(r"\n?\(until (\S+)\)$")
_LONGEST = 255  # characters of an event's name


class Graphite(MetricSource):
    """A graphite-web, or what speaks its API."""

    own_options = frozenset({"path", "host_tag", "rollup", "newest"})
    declared = Capabilities(history=True, quantile="premade", group_by=True, regex_filter=True)

    def __init__(self, endpoint: Endpoint, *, clock: Clock | None = None) -> None:
        super().__init__(endpoint, clock=clock)
        given = endpoint.options
        self.paths: str | Mapping[str, str] = given.get("path", {})
        self.templates = templates(self.paths)
        self.host_tag, self.newest = (
            str(given.get("host_tag", "host")), str(given.get("newest", "carbon.agents.*.metricsReceived"))
        )  # fmt: skip
        self.rollup = given.get("rollup", "")
        if self.rollup not in _ROLLUPS:
            hint = f"there are: {', '.join(_ROLLUPS[1:])}"
            raise ConfigError(f"the source {self.name}: rollup is not {self.rollup!r}", hint=hint)
        self.renderer = Renderer(endpoint, self.clock)

    def close(self) -> None:
        """Close the connections."""
        self.renderer.wire.close()

    def range(
        self, query: str, *, window: timedelta, step: timedelta | None = None, end: datetime | None = None
    ) -> SeriesFrame:
        """A target, at each moment the last point of the step before it; Graphite is never asked to put points together.

        Without ``step`` it is never finer than the archive's.
        """
        end = end or self.clock.now()
        grid = Grid.of(window=window, step=step, end=end)
        archive = self._look(query, (grid.first - grid.step) // 1000, grid.last // 1000)
        if step is None and timedelta(milliseconds=grid.step) < archive <= window:
            grid = Grid.of(window=window, step=archive, end=end)
        start, until = (grid.first - grid.step) // 1000, grid.last // 1000
        series = self.renderer.points(query, start, until, query)
        notes = []
        if timedelta(milliseconds=grid.step) < archive:
            notes.append(f"Graphite has a point every {archive.total_seconds():g} s: a finer step shows gaps")
        late = [one for one in series if one.begins > start + max(2 * one.step, grid.step // 1000)]
        if late:
            notes.append(f"Graphite keeps nothing of the window's beginning any more for {len(late)} series")
        named = self._named(series, notes)
        return gathered(grid, named, source=self.name, query=query, complete=not late, warnings=notes)

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesFrame:
        """A target's newest point up to a moment, at most five minutes (or two of the archive's steps) old."""
        grid = Grid.at(at or self.clock.now())
        until = grid.last // 1000
        archive = self._look(query, until - LOOKBACK // timedelta(seconds=1), until)
        back = max(LOOKBACK, 2 * archive) // timedelta(milliseconds=1)
        series = self.renderer.points(query, (grid.first - back) // 1000, until, query)
        notes: list[str] = []
        newest = [
            Samples(one.labels, one.times[-1:] * 0 + grid.first, one.values[-1:]) for one in self._named(series, notes)
        ]
        return gathered(grid, newest, source=self.name, query=query, warnings=notes)

    def native(self, selector: Selector) -> str:
        """The selector as a target; raises `NotExpressible` where no target can carry one of its conditions."""
        target = compiled(selector, self.paths)
        text = whole(target) if target else None
        if text is None:
            raise self.cannot(
                f"the selector {selector} as a target",
                str(selector),
                reason="Graphite's grammar, or a path's nodes, cannot carry one of its conditions",
                nearest="an SLI with this selector: there such conditions are held against the answer",
            )
        return text

    def sli(self, sli: SLI, grid: Grid, *, exact: bool = False) -> Compiled:
        """Added up here from the archive's points, which is exact; see `sretoolkit.metrics.sources._graphite_sli`."""
        return Indicator(self, sli, grid, exact).compiled()

    def events(self, window: Window) -> Sequence[Event]:
        """Graphite's events."""
        start, end = window.start.timestamp(), window.end.timestamp()
        found = self.renderer.json("/events/get_data", params={"from": int(start), "until": int(end) + 1})
        if not isinstance(found, list):
            raise self._odd("/events/get_data")
        try:
            events = [self._event(one) for one in found]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._odd("/events/get_data") from error
        return sorted((one for one in events if one.within(window)), key=lambda one: one.start)

    def annotate(self, event: Event) -> str:
        """Write an event. Graphite's tags have no blanks, commas or quotes: these become "_"; its times are seconds."""
        tags = [re.sub(r"[\s,\"']+", "_", tag) for tag in event.tags if tag.strip()]
        when, what = int(event.start.timestamp()), event.title[:_LONGEST]
        rest = [event.title] if len(event.title) > _LONGEST else []
        data = "\n".join([*rest, *([event.text] if event.text else [])])
        data += f"\n(until {event.end.astimezone(UTC).isoformat()})" if event.end else ""
        body = json.dumps({"what": what, "tags": tags, "data": data, "when": when}).encode()
        self.renderer.ask("POST", "/events/", content=body, headers={"Content-Type": "application/json"})
        found = self.renderer.json("/events/get_data", params={"from": when, "until": when + 1})
        wanted = {"what": what, "tags": tags, "data": data, "when": when}
        mine = [one for one in found if isinstance(one, dict) and wanted.items() <= one.items() and "id" in one]
        return str(max(int(one["id"]) for one in mine)) if mine else ""

    def retract(self, identifier: str) -> None:
        """Graphite's API deletes no event: raises `NotExpressible` that says where a person can."""
        page = f"{self.endpoint.url}/admin/events/event/{quote(identifier, safe='')}/delete/"
        raise self.cannot(
            "retract",
            reason="its API can write and read events, but not delete them",
            nearest=f"an administrator of Graphite deletes it at {page}",
        )

    def discover(self) -> Sequence[Entity]:
        """The machines by the tag ``host_tag``, and by ``{host}`` in the paths of the configuration."""
        return machines(self)

    def version(self) -> str:
        """As ``/version/`` says; "unknown" when it does not."""
        try:
            return self.asked_version()
        except SourceError:
            return "unknown"

    def health(self) -> Report:
        """Version, clock, and how old the newest point is."""
        return examine(self)

    def asked_version(self) -> str:
        """As ``/version/`` says; raises what asking raises."""
        answer = self.renderer.ask("GET", "/version/")
        match = _VERSION.fullmatch(answer.text.strip())
        return match[1] if match else self.renderer.wire.foreign(answer)

    def _look(self, query: str, start: int, end: int) -> timedelta:
        """Refuse what is no target or would bring too much; the longest of the archives' steps."""
        if wrong := fault(query):
            what, place = wrong
            text = f"{self.name}: {what} (character {place + 1}): {query}"
            hint = "Graphite would read the part before it and drop the rest without a word"
            raise QueryError(text, source=self.name, query=query, hint=hint)
        there = self.renderer.steps([query], start, query) or self.renderer.steps([query], end, query)
        self.afford(sum(-(-(end - start) // max(1, step)) for _, step in there), query)
        return timedelta(seconds=max((step for _, step in there), default=0))

    def _named(self, series: Sequence[Series], notes: list[str]) -> list[Samples]:
        """The series with labels from their tags or nodes; equal ones told apart by a number."""
        found: dict[tuple[tuple[str, str], ...], int] = {}
        named = []
        for one in series:
            labels = self._labels(one)
            key = tuple(sorted(labels.items()))
            found[key] = found.get(key, 0) + 1
            if found[key] > 1:
                labels = {**labels, "series": str(found[key])}
            named.append(Samples(labels, one.samples.times, one.samples.values))
        if len(found) < len(series):
            notes.append("several series have one name (alias): the label series numbers them")
        return named

    def _labels(self, one: Series) -> dict[str, str]:
        name, tags = series_of(one.name)
        if tags or ";" in one.name:
            return {"__name__": name, **tags}
        nodes: list[dict[str, str]] = [read for template in self.templates if (read := template.read(name)) is not None]
        return {"__name__": name, **(nodes[0] if nodes else {})}

    def _event(self, found: dict[str, Any]) -> Event:
        text = str(found.get("data") or "")
        until = _UNTIL.search(text)
        try:
            end = datetime.fromisoformat(until[1]) if until else None
        except ValueError:
            until = end = None
        return Event(
            start=datetime.fromtimestamp(float(found["when"]), UTC),
            end=end if end is None or end.tzinfo else end.replace(tzinfo=UTC),
            title=str(found.get("what") or ""),
            text=text[: until.start()] if until else text,
            tags=[str(tag) for tag in found.get("tags") or ()],
            source=self.name,
            id=str(found.get("id", "")),
        )

    def _odd(self, path: str) -> SourceError:
        hint = f"does url lead to Graphite itself? it was asked at {self.endpoint.url}{path}"
        return SourceError(f"{self.name} answered something else than Graphite does", source=self.name, hint=hint)
