"""Indicators on Elasticsearch and OpenSearch: counted by the cluster in buckets, put together here.

A window (t - window, t] is whole buckets: a date histogram whose buckets are as long as the greatest common divisor of
window and step, moved by one millisecond, since a bucket holds its start and not its end. So windows that overlap are
exact sums of the same buckets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sretoolkit.clock import format_duration
from sretoolkit.errors import NotExpressible, TooCostly
from sretoolkit.metrics.compiled import Compiled
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.sources._elastic_fields import Fields, shown
from sretoolkit.metrics.sources._elastic_search import MOST_BUCKETS, Remarks, oneline
from sretoolkit.metrics.windows import Group, Samples, Values, frame_of, from_samples, ratio

if TYPE_CHECKING:
    from sretoolkit.metrics.grid import Grid
    from sretoolkit.metrics.series import SeriesFrame
    from sretoolkit.metrics.sli import SLI
    from sretoolkit.metrics.sources.elastic import Elastic

_PAGE = 1_000
_FILTERS = 500
_MOST_PIECES = 200
_TDIGEST = "percentiles are estimated on the server (TDigest): near the ends they are close, and exact for few values"
_EXACT = "the raw values, fetched and computed here"
_SUMS = "sums over buckets that a window is made of; groups by a composite aggregation, which drops none"
_PERCENTILES = "one filter for each window, and the cluster's percentiles of the raw values in it"


@dataclass
class Indicator:
    """One SLI on one cluster."""

    source: Elastic
    sli: SLI
    grid: Grid
    exact: bool

    def __post_init__(self) -> None:
        self.fields = Fields(self.source)
        self.width = self.sli.window // timedelta(milliseconds=1)
        self.bucket = self.width if self.grid.count == 1 else math.gcd(self.width, self.grid.step)

    def compiled(self) -> Compiled:
        """What would be asked; raises `NotExpressible` for what documents cannot tell."""
        self._refuse()
        sli = self.sli
        names = [*sli.by, *(one.label for selector in self.selectors.values() for one in selector.matchers)]
        self.fields.learn([*names, *(one.metric for one in self.selectors.values())], sli.name)
        if sli.kind == "latency_quantile" and self.exact:
            body = self._whole_body()
            return Compiled(oneline("POST", f"/{self.source.index}/_search", body), _EXACT, self._ask_raw)
        quantile = sli.kind == "latency_quantile"
        body = self._body(self.grid)
        reason = _PERCENTILES if quantile else _SUMS
        line = oneline("POST", f"/{self.source.index}/_search", body)
        return Compiled(line, reason, self._ask, _TDIGEST if quantile else "")

    @cached_property
    def selectors(self) -> dict[str, Selector]:
        """What is counted, by a name of ours."""
        sli = self.sli
        given = {"total": sli.total, "bad": sli.bad, "metric": sli.metric}
        return {name: selector for name, selector in given.items() if selector is not None}

    def _refuse(self) -> None:
        sli = self.sli
        if sli.kind == "availability" and sli.metric is None:
            raise self._cannot(
                "the cluster keeps documents, not the states of checks",
                'give the SLI a field that is 1 when all is well and else 0: on.elastic = { metric = "..." }',
            )
        if sli.capacity is not None:
            raise self._cannot(
                "which of the documents are the last ones of each thing that has a capacity, documents do not say",
                "a field that is the ratio already; or saturation without capacity",
            )
        if sli.counter == "cumulative" and sli.kind in ("error_ratio", "throughput"):
            raise self._cannot(
                "which documents are of one counter, so that they can be differenced, documents do not say",
                "index what each interval counted (a delta), or a document for each request",
            )
        if sli.kind not in ("error_ratio", "throughput") and self._is_count(self.selectors["metric"]):
            raise self._cannot("documents have no value", "name a field of numbers as the metric")

    def _is_count(self, selector: Selector) -> bool:
        return self.source.counts(selector.metric)

    # what is asked

    def _body(self, grid: Grid) -> dict[str, Any]:
        """The search for the moments of a grid: the first page where there are groups."""
        body: dict[str, Any] = {"size": 0, "track_total_hits": False, "query": self._where(grid)}
        if not self.sli.by:
            return {**body, "aggs": self._windows(grid)}
        composite = self._composite(grid)
        return {**body, "aggs": {"groups": {"composite": composite, "aggs": self._windows(grid)}}}

    def _composite(self, grid: Grid) -> dict[str, Any]:
        size = max(1, min(_PAGE, MOST_BUCKETS // (self._each(grid) + 1)))
        return {
            "size": size,
            "sources": [self._group_source(number, label) for number, label in enumerate(self.sli.by)],
        }

    def _group_source(self, number: int, label: str) -> dict[str, Any]:
        found, _ = self.fields.label(label, self.sli.name)
        return {str(number): {"terms": {"field": found, "missing_bucket": True}}}

    def _where(self, grid: Grid) -> dict[str, Any]:
        between = self.source.between(grid.first - self.width, grid.last)
        wanted = [self._selected(one) for one in self.selectors.values()]
        either = wanted[0] if len(wanted) == 1 else {"bool": {"should": wanted, "minimum_should_match": 1}}
        return {"bool": {"filter": [between, either]}}

    def _selected(self, selector: Selector) -> dict[str, Any]:
        return self.fields.query(selector, self.sli.name)

    def _each(self, grid: Grid) -> int:
        """The buckets of one group."""
        if self.sli.kind == "latency_quantile":
            return grid.count
        return (grid.last - grid.first + self.width) // self.bucket + 1

    def _windows(self, grid: Grid) -> dict[str, Any]:
        if self.sli.kind == "latency_quantile":
            percent = round(self.sli.quantile * 100, 10)
            field = self.fields.number(self.selectors["metric"].metric, self.sli.name)
            filters = {
                str(at): self.source.between(moment - self.width, moment)
                for at, moment in enumerate(grid.moments.tolist())
            }
            counted = {"value": {"percentiles": {"field": field, "percents": [percent], "keyed": False}}}
            return {"windows": {"filters": {"filters": filters}, "aggs": counted}}
        offset = (grid.first + 1) % self.bucket
        histogram = {"field": self.source.time_field, "fixed_interval": f"{self.bucket}ms", "min_doc_count": 1}
        histogram |= {"offset": f"+{offset}ms"} if offset else {}
        parts = {name: self._part(selector) for name, selector in self.selectors.items()}
        return {"windows": {"date_histogram": histogram, "aggs": parts}}

    def _part(self, selector: Selector) -> dict[str, Any]:
        part: dict[str, Any] = {"filter": self._selected(selector)}
        if self._is_count(selector):
            return part
        field = {"field": self.fields.number(selector.metric, self.sli.name)}
        counted = "max" if self.sli.kind == "saturation" else "sum"
        return {**part, "aggs": {"value": {counted: field}, "count": {"value_count": field}}}

    # what comes back

    def _ask(self) -> SeriesFrame:
        remarks = Remarks()
        pieces = self._pieces()
        found: dict[Group, Values] = {}
        for number, piece in enumerate(pieces):
            start = sum(one.count for one in pieces[:number])
            for group, values in self._values(piece, remarks).items():
                known = found.setdefault(group, np.full(self.grid.count, np.nan))
                known[start : start + piece.count] = values
        return self._frame(found, remarks)

    def _pieces(self) -> list[Grid]:
        """The grid in parts of which a group has no more buckets than the cluster makes at once."""
        if self.sli.kind == "latency_quantile":
            return list(self.grid.chunks(_FILTERS))
        room = (MOST_BUCKETS - 1) * self.bucket - self.width
        if room < 0 or room // self.grid.step + 1 < self.grid.count // _MOST_PIECES:
            told = format_duration(timedelta(milliseconds=self.bucket))
            text = f"{self.source.name}: windows of {format_duration(self.sli.window)} share only buckets of {told}"
            hint = "take a step that divides the window, or that the window divides"
            raise TooCostly(text, source=self.source.name, query=self.sli.name, hint=hint)
        return list(self.grid.chunks(room // self.grid.step + 1))

    def _values(self, grid: Grid, remarks: Remarks) -> dict[Group, Values]:
        body, name = self._body(grid), self.sli.name
        self.source.afford(self._each(grid), name)
        if not self.sli.by:
            found = self.source.search.ask(self.source.index, body, remarks, name)
            return self._put_together(grid, {(): found.get("aggregations", {}).get("windows", {}).get("buckets", {})})
        kept: dict[Group, Any] = {}
        plain = {key: value for key, value in body.items() if key != "aggs"}
        composite, aggs = self._composite(grid), self._windows(grid)
        for bucket in self.source.search.groups(self.source.index, plain, composite, aggs, remarks, name):
            group = tuple(shown(bucket["key"][str(number)]) for number in range(len(self.sli.by)))
            windows = bucket["windows"]["buckets"]
            if group in kept and isinstance(windows, dict):
                raise self._cannot("a label is empty in some documents and missing in others", "measure it exactly")
            kept[group] = [*kept[group], *windows] if group in kept else windows  # an empty label is a missing one
            self.source.afford(len(kept) * self._each(grid), name)
        return self._put_together(grid, kept)

    def _put_together(self, grid: Grid, groups: dict[Group, Any]) -> dict[Group, Values]:
        if self.sli.kind == "latency_quantile":
            return {group: _percentiles(found, grid.count) for group, found in groups.items()}
        parts = {
            name: {group: self._sums(name, found, grid) for group, found in groups.items()} for name in self.selectors
        }
        kind = self.sli.kind
        if kind == "error_ratio":
            total = _there({group: both[0] for group, both in parts["total"].items()})
            return ratio(
                {group: both[0] for group, both in parts["bad"].items()}, total, absent_is_zero=self.sli.bad_is_part
            )
        if kind == "throughput":
            seconds = self.sli.window.total_seconds()
            return {group: both[0] / seconds for group, both in parts["total"].items()}
        if kind == "availability":
            with np.errstate(invalid="ignore", divide="ignore"):
                return {group: sums / counts for group, (sums, counts) in parts["metric"].items()}
        return {group: both[0] for group, both in parts["metric"].items()}

    def _sums(self, name: str, buckets: list[dict[str, Any]], grid: Grid) -> tuple[Values, Values]:
        """Value and count of one part in each window; NaN where nothing was counted."""
        first = grid.first - self.width + 1
        slots = self._each(grid)
        values, counts = np.zeros(slots), np.zeros(slots)
        if self.sli.kind == "saturation":
            values[:] = -np.inf
        for bucket in buckets:
            slot = (int(bucket["key"]) - first) // self.bucket
            part = bucket[name]
            counted = part["count"]["value"] if "count" in part else part["doc_count"]
            if 0 <= slot < slots and counted:
                value = part["value"]["value"] if "value" in part else part["doc_count"]
                values[slot] = max(values[slot], value) if self.sli.kind == "saturation" else values[slot] + value
                counts[slot] += counted
        steps = self.grid.step // self.bucket if self.grid.count > 1 else 1
        low = np.arange(grid.count) * steps
        high = low + self.width // self.bucket
        seen = _between(counts, low, high, np.add)
        found = _between(values, low, high, np.maximum if self.sli.kind == "saturation" else np.add)
        return np.where(seen > 0, found, np.nan), seen

    def _frame(self, found: dict[Group, Values], remarks: Remarks) -> SeriesFrame:
        return frame_of(
            self.sli, self.grid, _there(found), source=self.source.name, query=self.compiled().native,
            complete=remarks.complete, warnings=list(remarks.warnings),
        )  # fmt: skip

    # the exact quantile

    def _whole_body(self) -> dict[str, Any]:
        start = self.grid.first - self.width
        between = self.source.between(start, self.grid.last)
        return {"query": {"bool": {"filter": [between, self._selected(self.selectors["metric"])]}}, "size": _PAGE}

    def _ask_raw(self) -> SeriesFrame:
        remarks, name = Remarks(), self.sli.name
        filters = self._whole_body()["query"]["bool"]["filter"]
        metric = self.fields.number(self.selectors["metric"].metric, name)
        filters = [*filters, {"exists": {"field": metric}}]
        labels = {label: self.fields.label(label, name)[0] for label in self.sli.by}
        times: dict[Group, list[int]] = {}
        values: dict[Group, list[float]] = {}
        more = {"_source": False, "docvalue_fields": [metric, *labels.values()]}
        hits = self.source.search.documents(
            self.source.index, filters, self.source.time_field, remarks, name, more=more
        )
        for count, hit in enumerate(hits, 1):
            self.source.afford(count, name)
            fields = hit.get("fields") or {}
            group = tuple(shown((fields.get(field) or [None])[0]) for field in labels.values())
            for value in fields.get(metric) or ():
                times.setdefault(group, []).append(int(hit["sort"][0]))
                values.setdefault(group, []).append(float(value))
        series = [
            Samples(
                dict(zip(self.sli.by, group, strict=True)), np.array(times[group], np.int64), np.array(values[group])
            )
            for group in times
        ]
        frame = from_samples(
            self.sli, self.grid, lambda *_: series, source=self.source.name, counter="delta", lookback=timedelta(0)
        )
        warnings = [*remarks.warnings, *frame.warnings]
        return replace(frame, complete=remarks.complete, warnings=warnings, query=self.compiled().native)

    def _cannot(self, reason: str, nearest: str) -> NotExpressible:
        what = f"{self.sli.kind} {self.sli.name} over {format_duration(self.sli.window)}"
        return self.source.cannot(what, self.sli.name, reason=reason, nearest=nearest)


def _between(values: Values, low: NDArray[np.int64], high: NDArray[np.int64], join: Callable[..., Any]) -> Values:
    """Each window's slots joined one window at a time, so that nothing of a neighbour is left in the rounding."""
    found = [join.reduce(values[a:b]) for a, b in zip(low, high, strict=True)]  # type: ignore[attr-defined]
    return np.array(found, dtype=np.float64)


def _percentiles(found: dict[str, Any], count: int) -> Values:
    values = np.full(count, np.nan)
    for place in range(count):
        listed = ((found.get(str(place)) or {}).get("value") or {}).get("values") or []
        value = listed[0].get("value") if listed else None
        values[place] = np.nan if value is None else float(value)
    return values


def _there(found: dict[Group, Values]) -> dict[Group, Values]:
    """The groups that have a value at all."""
    return {group: values for group, values in found.items() if not np.isnan(values).all()}
