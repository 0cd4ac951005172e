"""Raw samples: by remote read, else VictoriaMetrics' export, else a query for a range of samples."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sretoolkit.errors import HTTPError, QueryError, SourceError, SourceUnavailable, TooCostly
from sretoolkit.http.client import Answer, Sink
from sretoolkit.metrics.matcher import Matcher, Selector
from sretoolkit.metrics.sources import _prometheus_protobuf as protobuf
from sretoolkit.metrics.sources._prometheus_body import uncollected
from sretoolkit.metrics.sources._prometheus_chunks import decoded
from sretoolkit.metrics.sources._prometheus_sli import promql
from sretoolkit.metrics.windows import Samples

if TYPE_CHECKING:
    from sretoolkit.metrics.sources.prometheus import Prometheus

_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Read-Version": "0.1.0",
}
# 403: a proxy, such as Grafana's, that lets queries pass alone
_LACKING = frozenset({400, 403, 404, 405, 406, 415, 422, 501})
_AT_ONCE = 8192  # chunks; more would only take more memory
_LONGEST_FRAME = 1 << 28
_GLOBAL = re.compile(r"^global:\n(?:[ #].*\n|\n)*", re.M)
Ways = Callable[["Raw", Selector, int, int], "list[Samples] | None"]


class Raw:
    """How one server gives its raw samples; found out at the first question."""

    def __init__(self, server: Prometheus) -> None:
        self.server = server
        self.wire = server.wire
        self._external: protobuf.Labels | None = None
        self._ways: list[Ways] = [Raw._remote_read, Raw._export, Raw._selected]

    def fetch(self, selector: Selector, start: int, end: int) -> list[Samples]:
        """The samples in (start, end] (milliseconds) of all series that there are; raises as `MetricSource.range` does."""
        while True:
            found = self._ways[0](self, selector, start, end)
            if found is not None:
                return [one for one in found if len(one.times)]
            del self._ways[0]

    def _remote_read(self, selector: Selector, start: int, end: int) -> list[Samples] | None:
        query = promql(selector)
        added = self._external_labels()
        if added is None:
            return None
        if self._are_own(added, selector, start, end):
            return self._selected(selector, start, end)
        intake = _Intake(self.server, query, start, end, added)
        body = protobuf.request(selector, start + 1, end, (protobuf.STREAMED, protobuf.SAMPLES))
        try:
            answer = self._sent("/api/v1/read", query, content=body, headers=_HEADERS, into=intake)
            return None if answer is None or intake.is_foreign else intake.finish()
        except (ValueError, TypeError) as error:
            raise self._broken(query, error) from error

    def _external_labels(self) -> protobuf.Labels | None:
        """The labels that remote read, other than a query, adds to every series; None where the server does not tell."""
        if self._external is None:
            answer = self._sent("/api/v1/status/config", "", method="GET")
            try:
                config = answer.json()["data"]["yaml"] if answer else None
            except (ValueError, KeyError, TypeError):
                config = None
            if not isinstance(config, str):
                return None
            import yaml

            section = _GLOBAL.search(config)
            found = yaml.safe_load(section[0])["global"] if section else None
            labels = (found or {}).get("external_labels") or {}
            self._external = tuple((str(name), str(value)) for name, value in labels.items())
        return self._external

    def _are_own(self, added: protobuf.Labels, selector: Selector, start: int, end: int) -> bool:
        """Whether what remote read adds may be what was asked for, or what series have themselves: then it cannot be told."""
        names = {name for name, _ in added}
        if any(matcher.label in names for matcher in selector.matchers):
            return True
        for name, value in added:
            own = promql(selector.where(Matcher(name, "=", value)))
            if len(self.server.at(f"count(last_over_time({own}[{end - start}ms]))", end)):
                return True
        return False

    def _export(self, selector: Selector, start: int, end: int) -> list[Samples] | None:
        query = promql(selector)
        form = {"match[]": query, "start": _seconds(start + 1), "end": _seconds(end), "reduce_mem_usage": "1"}
        answer = self._sent("/api/v1/export", query, form=form)
        if answer is None or not answer.content.startswith((b'{"metric":', b"")) or b"<html" in answer.content[:80]:
            return None
        found: dict[protobuf.Labels, list[tuple[list[int], list[float]]]] = {}
        try:
            with uncollected():
                for line in answer.content.splitlines():
                    series = json.loads(line)
                    labels = tuple(sorted(series["metric"].items()))
                    found.setdefault(labels, []).append((series["timestamps"], list(map(_number, series["values"]))))
        except (ValueError, KeyError, TypeError) as error:
            raise self._broken(query, error) from error
        return [
            Samples.of(
                dict(labels), (t for times, _ in parts for t in times), (v for _, values in parts for v in values)
            )
            for labels, parts in found.items()
        ]

    def _selected(self, selector: Selector, start: int, end: int) -> list[Samples]:
        query = f"{promql(selector)}[{end - start}ms]"
        found = []
        for piece in self.server.at(query, end):
            inside = (piece.times > start) & (piece.times <= end)
            found.append(Samples.of(dict(piece.labels), piece.times[inside], piece.values[inside]))
        return found

    def _sent(self, path: str, query: str, *, method: str = "POST", **options: object) -> Answer | None:
        """A good answer; None when the server has no such page."""
        try:
            answer = self.wire.http.send(method, path, repeatable=True, **options)  # type: ignore[arg-type]
        except HTTPError as error:
            self.wire.failed(error, query)
        if answer.status in _LACKING:
            return None
        if not answer.ok:
            self.wire.refused(answer, query)
        return answer

    def _broken(self, query: str, error: Exception) -> SourceError:
        name = self.server.name
        text = f"{name} sent raw samples that cannot be read: {error}"
        return SourceUnavailable(text, source=name, query=query, hint="try again; is there a proxy in between?")


class _Intake:
    """Takes an answer of remote read in: frames of compressed chunks as they come, or samples at the end."""

    def __init__(self, server: Prometheus, query: str, start: int, end: int, added: protobuf.Labels) -> None:
        self.server, self.query, self.start, self.end = server, query, start, end
        self._added = frozenset(added)
        self._begin("")

    def _begin(self, kind: str) -> None:
        self.is_streamed = kind.startswith("application/x-streamed-protobuf")
        self.is_foreign = not self.is_streamed and kind != "application/x-protobuf"
        self._rest, self._count = bytearray(), 0
        self._labels: list[protobuf.Labels] = []
        self._chunks: list[bytes] = []
        self._parts: dict[protobuf.Labels, list[Samples]] = {}

    def __call__(self, answer: Answer) -> Sink:
        self._begin(answer.kind)
        return self._take

    def finish(self) -> list[Samples]:
        """All series; raises `ValueError` when the answer is cut off or none."""
        if self.is_streamed:
            if self._rest:
                raise ValueError("it breaks off in the middle")
            self._decode()
        else:
            for series in protobuf.sampled(bytes(self._rest)):
                if series is None:
                    raise self._histograms()
                self._keep(series.labels, series.times, series.values)
        return [
            _joined({name: value for name, value in labels if (name, value) not in self._added}, parts)
            for labels, parts in self._parts.items()
        ]

    def _take(self, piece: bytes) -> None:
        self._rest += piece
        while self.is_streamed and (frame := self._frame()) is not None:
            for labels, chunks in protobuf.streamed(memoryview(frame)):
                if any(chunk.kind != protobuf.XOR for chunk in chunks):
                    raise self._histograms()
                self._labels += [labels] * len(chunks)
                self._chunks += [chunk.content for chunk in chunks]
            if len(self._chunks) >= _AT_ONCE:
                self._decode()

    def _frame(self) -> bytes | None:
        try:
            size, at = protobuf.varint(self._rest, 0)
        except IndexError:
            return None
        if size > _LONGEST_FRAME:
            raise self._unreadable()
        begin, end = at + 4, at + 4 + size  # a checksum stands in front
        if len(self._rest) < end:
            return None
        frame = bytes(self._rest[begin:end])
        del self._rest[:end]
        return frame

    def _decode(self) -> None:
        if not self._chunks:
            return
        times, values, counts = decoded(self._chunks)
        ends = np.cumsum(counts).tolist()
        first = 0
        for number, end in enumerate(ends):
            if number + 1 == len(ends) or self._labels[number] != self._labels[number + 1]:
                self._keep(self._labels[number], times[first:end], values[first:end])
                first = end
        self._labels, self._chunks = [], []

    def _keep(self, labels: protobuf.Labels, times: np.ndarray, values: np.ndarray) -> None:
        keep = (times > self.start) & (times <= self.end) & ~np.isnan(values)  # also the marks of a series' end
        if not keep.all():
            times, values = times[keep], values[keep]
        self._parts.setdefault(labels, []).append(Samples({}, times, values))
        self._count += len(times)
        most = self.server.endpoint.most_samples
        if self._count > most:
            name, hint = (
                self.server.name,
                "select fewer series, or a shorter window; or raise most_samples of the source",
            )
            text = f"{name}: more than {most:,} raw samples of {self.query}"
            raise TooCostly(text, source=name, query=self.query, hint=hint)

    def _histograms(self) -> SourceError:
        name, hint = self.server.name, "ask without exact: histogram_count(...) and histogram_sum(...) give numbers"
        text = f"{name}: {self.query} holds native histograms, not numbers"
        return QueryError(text, source=name, query=self.query, hint=hint)

    def _unreadable(self) -> SourceError:
        name = self.server.name
        text = f"{name} sent raw samples that cannot be read: a frame without end"
        return SourceUnavailable(text, source=name, query=self.query, hint="try again; is there a proxy in between?")


def _joined(labels: dict[str, str], parts: Sequence[Samples]) -> Samples:
    if len(parts) == 1:
        times, values = parts[0].times, parts[0].values
    else:
        times, values = (np.concatenate([getattr(one, name) for one in parts]) for name in ("times", "values"))
    return Samples(labels, times, values) if (np.diff(times) > 0).all() else Samples.of(labels, times, values)


def _number(given: float | str | None) -> float:
    """As VictoriaMetrics' export writes it: what is no number in JSON is text, NaN is null."""
    return float("nan") if given is None else float(given)


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"
