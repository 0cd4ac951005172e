"""Questions in the cluster's own terms: a line of Lucene's query syntax, or the JSON body of a search."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sretoolkit.clock import parse_duration
from sretoolkit.errors import ConfigError, NoData, QueryError
from sretoolkit.metrics.sources._elastic_fields import shown
from sretoolkit.metrics.sources._elastic_search import Remarks
from sretoolkit.metrics.windows import Samples, gathered

if TYPE_CHECKING:
    from sretoolkit.metrics.grid import Grid
    from sretoolkit.metrics.series import SeriesFrame
    from sretoolkit.metrics.sources.elastic import Elastic

_NEST = ("aggs", "aggregations")
_HISTOGRAM = "date_histogram"
_LENGTHS = ("fixed_interval", "interval", "calendar_interval")
_STATS = frozenset({"count", "min", "max", "avg", "sum", "std_deviation", "variance"})
_Labels = tuple[tuple[str, str], ...]


@dataclass
class Question:
    """One question and what came of it."""

    source: Elastic
    query: str
    remarks: Remarks = field(default_factory=Remarks)
    found: dict[_Labels, tuple[list[int], list[float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.body: dict[str, Any] | None = self._parsed() if self.query.lstrip().startswith("{") else None
        self.aggs: dict[str, Any] = (
            next((self.body[name] for name in _NEST if name in self.body), {}) if self.body else {}
        )
        if not isinstance(self.aggs, dict):
            raise self._wrong("its aggregations are no objects")
        self.own: int | None = None
        if self.aggs:
            try:
                self.histograms = list(_histograms(self.aggs))
            except (TypeError, AttributeError) as error:
                raise self._wrong("its aggregations are no objects") from error
            lengths = {self._length(one) for one in self.histograms}
            self.own = next(iter(lengths), None)
            if len(lengths) > 1:
                raise self._wrong("its date histograms have different intervals")

    def frame(self, grid: Grid, most: int) -> SeriesFrame:
        """The answer on the moments of a grid, each for the step before it."""
        self.source.afford(grid.count, self.query)
        pieces = [grid] if self.aggs and self.own else list(grid.chunks(most))
        for piece in pieces:
            if self.aggs:
                self._aggregated(piece)
            else:
                self._counted(piece)
        series = [Samples.of(dict(labels), *sampled) for labels, sampled in self.found.items()]
        frame = gathered(
            grid, series, source=self.source.name, query=self.query, kind="gauge" if self.aggs else "delta",
            complete=self.remarks.complete, warnings=list(self.remarks.warnings),
        )  # fmt: skip
        return replace(frame, closed="left") if self.own else frame

    def _counted(self, grid: Grid) -> None:
        """How many documents match in each step; 0 only where the indices have other documents."""
        wanted = (self.body or {}).get("query") if self.body else {"query_string": {"query": self.query}}
        matching: dict[str, Any] = {"match": {"filter": wanted or {"match_all": {}}}}
        step = {
            _HISTOGRAM: {**self._steps(grid), "field": self.source.time_field, "min_doc_count": 1},
            "aggs": matching,
        }
        between = self.source.between(grid.first - grid.step, grid.last)
        rest = {key: value for key, value in (self.body or {}).items() if key not in ("query", *_NEST)}
        body = {**rest, "size": 0, "track_total_hits": False, "query": between, "aggs": {"steps": step}}
        answer = self.source.search.ask(self.source.index, body, self.remarks, self.query)
        for bucket in answer.get("aggregations", {}).get("steps", {}).get("buckets", []):
            self._sample({}, int(bucket["key"]) + grid.step - 1, bucket["match"]["doc_count"])

    def nothing(self) -> bool:
        """Whether documents were counted and none of them matched."""
        return not self.aggs and not any(value for _, values in self.found.values() for value in values)

    def _aggregated(self, grid: Grid) -> None:
        assert self.body is not None
        for one in self.histograms:
            if not self.own:
                one.update(self._steps(grid))
                one.setdefault("min_doc_count", 1)
        early = 1 if self.own else 0  # the first of the query's own buckets holds its start
        between = self.source.between(grid.first - grid.step - early, grid.last)
        query = self.body.get("query")
        rest = {key: value for key, value in self.body.items() if key not in ("query", "size", *_NEST)}
        filters = [between, *([query] if query else [])]
        body = {**rest, "size": 0, "query": {"bool": {"filter": filters}}, "aggs": self.aggs}
        answer = self.source.search.ask(self.source.index, body, self.remarks, self.query)
        try:
            self._walk(self.aggs, answer.get("aggregations") or {}, {}, None if self.histograms else grid.last, grid)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._wrong("its answer has a shape that is not understood") from error

    def _steps(self, grid: Grid) -> dict[str, Any]:
        """Buckets that are the steps (t - step, t] of a grid."""
        offset = (grid.first + 1) % grid.step
        return {"fixed_interval": f"{grid.step}ms", "offset": f"+{offset}ms"}

    def _walk(
        self, aggs: Mapping[str, Any], answer: Mapping[str, Any], labels: dict[str, str], at: int | None, grid: Grid
    ) -> None:
        for name, definition in aggs.items():
            inner: Mapping[str, Any] = next((definition[word] for word in _NEST if word in definition), {})
            found = answer.get(name) or {}
            self._remark(name, found)
            if "buckets" in found:
                for bucket, more, moment in self._buckets(name, definition, found, at, grid):
                    self._bucket(name, inner, bucket, {**labels, **more}, moment, grid)
            elif "doc_count" in found:
                self._bucket(name, inner, found, labels, at, grid)
            elif at is not None:
                self._metric(name, found, labels, at)

    def _buckets(
        self, name: str, definition: Mapping[str, Any], found: Mapping[str, Any], at: int | None, grid: Grid
    ) -> Iterator[tuple[Mapping[str, Any], dict[str, str], int | None]]:
        listed = found["buckets"]
        if isinstance(listed, dict):
            listed = [{**bucket, "key": key} for key, bucket in listed.items()]
        for bucket in listed:
            if not bucket.get("doc_count"):
                continue  # an empty bucket's sum would be a 0 that nobody measured
            if _HISTOGRAM in definition:
                start, length = int(bucket["key"]), self.own or grid.step
                if self.own and not (start > grid.first - grid.step - 1 and start + length <= grid.last + 1):
                    continue  # the window cuts it
                yield bucket, {}, start + length - (0 if self.own else 1)
            elif isinstance(bucket["key"], dict):
                yield bucket, {label: shown(value) for label, value in bucket["key"].items()}, at
            else:
                yield bucket, {name: str(bucket.get("key_as_string", shown(bucket["key"])))}, at

    def _bucket(
        self, name: str, inner: Mapping[str, Any], bucket: Mapping[str, Any], labels: dict[str, str], at: int | None,
        grid: Grid,
    ) -> None:  # fmt: skip
        if inner:
            self._walk(inner, bucket, labels, at, grid)
        elif at is not None:
            self._sample({"__name__": "doc_count", **labels}, at, bucket["doc_count"])

    def _metric(self, name: str, found: Mapping[str, Any], labels: dict[str, str], at: int) -> None:
        labels = {"__name__": name, **labels}
        if "value" in found:
            self._sample(labels, at, found["value"])
        elif "values" in found:
            listed = found["values"]
            pairs = listed.items() if isinstance(listed, dict) else [(one["key"], one["value"]) for one in listed]
            for key, value in pairs:
                if not str(key).endswith("_as_string"):
                    self._sample({**labels, "percentile": str(key)}, at, value)
        else:
            for stat in sorted(_STATS & found.keys()):
                self._sample({**labels, "stat": stat}, at, found[stat])

    def _sample(self, labels: dict[str, str], at: int, value: float | None) -> None:
        if value is not None:
            times, values = self.found.setdefault(tuple(sorted(labels.items())), ([], []))
            times.append(at)
            values.append(float(value))

    def _remark(self, name: str, found: Mapping[str, Any]) -> None:
        if left := found.get("sum_other_doc_count"):
            self.remarks.lacking(f"{left} documents are in groups beyond the size of {name}")
        if error := found.get("doc_count_error_upper_bound"):
            self.remarks.warnings[f"counts of {name} may be off by {error}"] = None
        if found.get("after_key") and len(found.get("buckets", ())) > 1:
            self.remarks.lacking(f"{name} may have more groups than one page")

    def _parsed(self) -> dict[str, Any]:
        try:
            body = json.loads(self.query)
        except (ValueError, RecursionError) as error:
            raise self._wrong(f"it is no JSON: {error}") from error
        return body if isinstance(body, dict) else {}

    def _length(self, histogram: Mapping[str, Any]) -> int | None:
        given = next((histogram[word] for word in _LENGTHS if word in histogram), None)
        if given is None:
            return None
        if "calendar_interval" in histogram:
            raise self._wrong("a calendar's intervals are of different lengths: use fixed_interval, or leave it out")
        try:
            return parse_duration(str(given)) // timedelta(milliseconds=1)
        except ConfigError as error:
            raise self._wrong(f"its interval {given!r} is no duration") from error

    def without_time(self) -> QueryError:
        """The error for aggregations that have no time in them."""
        return self._wrong("there is no date_histogram in its aggregations, so that it has no range")

    def _wrong(self, what: str) -> QueryError:
        text = f"{self.source.name}: {what}: {self.query}"
        hint = 'for example {"aggs": {"t": {"date_histogram": {"field": "@timestamp"}}}}; its interval is the step then'
        return QueryError(text, source=self.source.name, query=self.query, hint=hint)

    def no_match(self, grid: Grid) -> NoData:
        """The error for documents of which none matched: a misspelt field looks just so."""
        text = f"{self.source.name} has documents, but none that match {self.query} ({grid})"
        hint = "is each field called so? a field that no index has matches nothing, without a word from the server"
        return NoData(text, source=self.source.name, query=self.query, hint=hint)


def _histograms(aggs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for definition in aggs.values():
        if _HISTOGRAM in definition:
            yield definition[_HISTOGRAM]
        for word in _NEST:
            yield from _histograms(definition.get(word) or {})
