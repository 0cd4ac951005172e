"""Indicators in PromQL.

Prometheus 2 looks at [t - w, t], Prometheus 3 and VictoriaMetrics at (t - w, t]. Where each sample counts by itself (a
delta, a gauge), the window is asked for as one millisecond shorter, which is (t - w, t] everywhere for times in whole
seconds. Where a counter's increase is asked, the sample at the start is welcome: it is what the increase is counted from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from sretoolkit.metrics.compiled import Compiled
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.matcher import Matcher, Selector
from sretoolkit.metrics.series import SeriesFrame
from sretoolkit.metrics.sli import SLI

if TYPE_CHECKING:
    from sretoolkit.metrics.sources.prometheus import Prometheus

LOOKBACK = timedelta(minutes=5)  # as long as Prometheus itself takes a sample for current
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_RESERVED = re.compile(r"(?i)inf|nan|bool|offset|on|ignoring|group_left|group_right|by|without|and|or|unless|atan2")
_PORT = "(:[0-9]+)?"
_INCREASE = (
    "increase() extrapolates to the window's edges; Prometheus 3 leaves out the sample at the window's start, from which "
    "Prometheus 2 counts, and VictoriaMetrics counts from the sample before. exact=True computes from the raw samples"
)
_EDGE = "Prometheus 3 and VictoriaMetrics leave out a sample that is exactly 1 ms younger than the window's start"
_BUCKETS = (
    "the buckets bound it: the true value lies in the same bucket, in which a straight line is assumed; in the last one "
    "its lower bound is given"
)


@dataclass(frozen=True)
class Language:
    """PromQL for one indicator."""

    sli: SLI

    @property
    def window(self) -> int:
        """Milliseconds."""
        return self.sli.window // timedelta(milliseconds=1)

    def query(self) -> str:
        """The whole question."""
        sli = self.sli
        if sli.kind == "error_ratio":
            bad, total = self._increase(sli.bad), self._increase(sli.total)
            return f"({bad} or 0 * {total}) / {total}" if sli.bad_is_part else f"{bad} / {total}"
        if sli.kind == "throughput":
            return f"{self._increase(sli.total)} / {self.window / 1000:g}"
        if sli.kind == "latency_quantile":
            return self._quantile()
        if sli.kind == "saturation":
            greatest = f"{self._grouped('max')}(max_over_time({self._gauge(sli.metric)}))"
            last = f"{self._grouped('sum')}(last_over_time({self._gauge(sli.capacity)}))" if sli.capacity else ""
            return f"{greatest} / {last}" if last else greatest
        gauge, sum_by = self._gauge(checked(sli)), self._grouped("sum")
        return f"{sum_by}(sum_over_time({gauge})) / {sum_by}(count_over_time({gauge}))"

    def _increase(self, of: Selector | None) -> str:
        assert of is not None  # the SLI's constructor saw to it
        if self.sli.counter == "delta":
            return f"{self._grouped('sum')}(sum_over_time({self._gauge(of)}))"
        return f"{self._grouped('sum')}(increase({promql(of)}[{_duration(self.window)}]))"

    def _gauge(self, of: Selector | None) -> str:
        assert of is not None
        return f"{promql(of)}[{_duration(self.window - 1)}]"

    def _quantile(self) -> str:
        sli, metric = self.sli, self.sli.metric
        assert metric is not None
        window = _duration(self.window)
        if metric.metric.endswith("_bucket"):
            return (
                f"histogram_quantile({sli.quantile!r}, {self._grouped('sum', 'le')}(rate({promql(metric)}[{window}])))"
            )
        buckets = replace(metric, metric=f"{metric.metric}_bucket")
        native = f"histogram_quantile({sli.quantile!r}, {self._grouped('sum')}(rate({promql(metric)}[{window}])))"
        classic = f"{self._grouped('sum', 'le')}(rate({promql(buckets)}[{window}]))"
        return f"{native} or histogram_quantile({sli.quantile!r}, {classic})"

    def _grouped(self, join: str, *more: str) -> str:
        labels = ", ".join(_label(name) for name in (*self.sli.by, *more))
        return f"{join} by ({labels}) " if labels else join


def compile_sli(server: Prometheus, sli: SLI, grid: Grid, *, exact: bool) -> Compiled:
    """The indicator as one PromQL query; ``exact``: as raw samples, and the arithmetic here."""
    if exact:
        return _exact(server, sli, grid)
    query = Language(sli).query()
    counted = sli.kind in ("error_ratio", "throughput") and sli.counter != "delta"
    estimated = _BUCKETS if sli.kind == "latency_quantile" else _INCREASE if counted else _EDGE
    return Compiled(query, _reason(sli), lambda: _asked(server, sli, grid, query), estimated)


def checked(sli: SLI) -> Selector:
    """What an availability is the mean of: its metric, or whether the entity (of the job ``check``) could be scraped."""
    if sli.metric is not None:
        return sli.metric
    host = Matcher("instance", "=~", f"{escaped(sli.entity)}{_PORT}")
    return Selector("up", (host, Matcher("job", "=", sli.check)) if sli.check else (host,))


def promql(selector: Selector) -> str:
    """A selector as PromQL; a name that is none in PromQL is matched as the label that it is."""
    conditions = [f"{_label(label)}{operator}{quoted(value)}" for label, operator, value in selector.matchers]
    name = selector.metric
    if not _METRIC.fullmatch(name) or _RESERVED.fullmatch(name):
        conditions.insert(0, f"__name__={quoted(name)}")
        name = ""
    return f"{name}{{{', '.join(conditions)}}}" if conditions else name


def quoted(text: str) -> str:
    """A PromQL string: quotes, backslashes and control characters are escaped, all else stands for itself."""
    return '"' + "".join(_character(one) for one in text) + '"'


def escaped(text: str) -> str:
    """A regular expression (RE2) of exactly this text."""
    return re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", text)


def _character(one: str) -> str:
    if one in '"\\':
        return f"\\{one}"
    return f"\\x{ord(one):02x}" if one < " " or one == "\x7f" else one


def _label(name: str) -> str:
    return name if _LABEL.fullmatch(name) else quoted(name)


def _duration(milliseconds: int) -> str:
    for size, unit in ((60_000, "m"), (1000, "s")):
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def _reason(sli: SLI) -> str:
    if sli.kind == "error_ratio":
        zero = "; bad series are among the total ones, so none of them beside a total one is a true 0"
        return "what both counters grew by, summed for each group and divided" + (zero if sli.bad_is_part else "")
    if sli.kind == "throughput":
        return "what the counter grew by, over the window's length"
    if sli.kind == "latency_quantile":
        return "the quantile of all the group's observations, from the native histogram where there is one, else its buckets"
    if sli.kind == "saturation":
        return "the greatest value of any series in the window" + (
            ", as a part of the capacity" if sli.capacity else ""
        )
    if sli.metric is None:
        return "the part of the scrapes that were answered (up is 1 or 0); scrapes that Prometheus missed do not count"
    return "the mean of all samples in the window"


def _asked(server: Prometheus, sli: SLI, grid: Grid, query: str) -> SeriesFrame:
    import numpy as np

    from sretoolkit.metrics.windows import frame_of, group_of

    frame = server.asked(query, grid)
    answered = Grid(int(frame.times[0]), grid.step, len(frame.times))
    columns = np.where(np.isinf(frame.values), np.nan, frame.values) if " / " in query else frame.values
    values = {group_of(labels, sli.by): columns[:, number] for number, labels in enumerate(frame.labels)}
    told = [text for text in frame.warnings if not text.endswith("count as missing")]
    return frame_of(
        sli, answered, values, source=server.name, query=query, complete=frame.complete, warnings=told
    )  # fmt: skip


def _exact(server: Prometheus, sli: SLI, grid: Grid) -> Compiled:
    if sli.kind == "latency_quantile":
        raise server.cannot(
            "an exact latency_quantile",
            sli.name,
            reason="a histogram keeps how many observations fell into each bucket, not the observations",
            nearest="ask without exact: the answer lies in the right bucket",
        )
    sli = replace(sli, metric=checked(sli)) if sli.kind == "availability" else sli
    before = LOOKBACK if sli.kind in ("error_ratio", "throughput") and sli.counter != "delta" else timedelta(0)
    length = _duration((grid.last - grid.first) + (sli.window + before) // timedelta(milliseconds=1))
    wanted = [one for one in (sli.bad, sli.total, sli.metric, sli.capacity) if one is not None]
    native = "\n".join(f"{promql(one)}[{length}] @ {grid.last / 1000:.3f}" for one in wanted)
    reason = f"raw samples (by remote read where the server has it), computed here; {_reason(sli)}"

    def ask() -> SeriesFrame:
        from sretoolkit.metrics.windows import from_samples

        return from_samples(
            sli, grid, server.raw, source=server.name, counter="cumulative", lookback=LOOKBACK
        )  # fmt: skip

    return Compiled(native, reason, ask)
