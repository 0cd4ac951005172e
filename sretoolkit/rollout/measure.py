"""Measuring a candidate beside the old version, by any source of `sretoolkit.metrics`: bad requests and all, or a gauge.

In ``sretoolkit.toml``, among the ``measures`` of a rollout::

    {name = "errors", source = "prod", bad = 'http_requests_total{code=~"5.."}', total = "http_requests_total",
     by = "pod", candidate = "web-canary-.*"}
    {name = "slow", source = "prod", good = 'http_seconds_bucket{le="0.3"}', total = "http_seconds_count",
     by = "pod", candidate = 'track="canary"', worth = 1.6}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, get_type_hints

import numpy as np

from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, NoData, SREToolkitError
from sretoolkit.metrics.asking import everywhere
from sretoolkit.metrics.matcher import Matcher, Selector
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.source import MetricSource
from sretoolkit.plan.step import decode, encode
from sretoolkit.rollout.evidence import Counts, Evidence, Gauges, Kind, Matrix
from sretoolkit.rollout.judge import Criterion, Worse

if TYPE_CHECKING:
    from sretoolkit.metrics.series import SeriesFrame

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One metric on both sides, as plain data.

    Counts: ``total`` selects all requests, and ``bad`` the bad ones or ``good`` those that were not (a latency bucket). A
    gauge: ``metric``. ``by`` is the label that tells instances apart. ``candidate`` tells the new version: a regular
    expression of that label's value, or conditions on labels (``track="canary"``); ``baseline`` the old one in the same
    way, "" = all others. ``interval`` is the time of one value, ``history`` how far back the old version is looked at. The
    rest is what is asked of it, as in `Criterion`. Raises `ConfigError` for parts that do not fit.
    """

    name: str
    source: str
    by: str
    candidate: str
    baseline: str = ""
    total: str = ""
    bad: str = ""
    good: str = ""
    metric: str = ""
    interval: timedelta = timedelta(minutes=1)
    history: timedelta = _HOUR
    worse: Worse = "up"
    tolerated: float = 1.0
    worth: float = 2.0
    critical: bool = True
    informational: bool = False
    group: str = ""
    weight: float = 1.0

    def __post_init__(self) -> None:
        parts = {name for name in ("total", "bad", "good", "metric") if getattr(self, name)}
        if parts not in ({"total", "bad"}, {"total", "good"}, {"metric"}):
            hint = "counts need total and one of bad or good; a gauge needs metric alone"
            raise ConfigError(
                f"the measure {self.name} has {', '.join(sorted(parts)) or 'nothing to measure'}", hint=hint
            )
        if self.interval < timedelta(seconds=1) or self.history < timedelta(0):
            raise ConfigError(f"the measure {self.name}: the interval is at least 1s, the history at least 0s")
        if not self.by or not self.candidate:
            hint = 'such as by = "pod", candidate = "web-canary-.*"'
            raise ConfigError(f"the measure {self.name} does not say which instances are the candidate", hint=hint)
        for selector in parts:
            Selector.parse(getattr(self, selector))
        self._told(self.candidate)
        self._told(self.baseline or ".*")
        _ = self.criterion

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """From plain data; raises `ConfigError` for a part that is missing, unknown or does not fit."""
        known = {item.name for item in fields(cls)}
        name = str(given.get("name", "without a name"))
        if unknown := sorted(given.keys() - known):
            raise ConfigError(
                f"the measure {name} has no part {unknown[0]!r}", hint=f"there are: {', '.join(sorted(known))}"
            )
        if missing := sorted({"name", "source", "by", "candidate"} - given.keys()):
            raise ConfigError(
                f"the measure {name} has no {missing[0]!r}", hint="name, source, by and candidate are needed"
            )
        hints = get_type_hints(cls)
        try:
            return cls(**{key: decode(hints[key], value) for key, value in given.items()})
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"the measure {name} does not fit: {error}", hint="see the documentation of Measure"
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Every part that is not its default, as plain data."""
        return {
            item.name: encode(getattr(self, item.name))
            for item in fields(self)
            if getattr(self, item.name) != item.default
        }

    @property
    def kind(self) -> Kind:
        """Whether it counts or reads a gauge."""
        return "gauge" if self.metric else "counts"

    @property
    def criterion(self) -> Criterion:
        """What is asked of it."""
        return Criterion(
            name=self.name, kind=self.kind, worse=self.worse, tolerated=self.tolerated, worth=self.worth,
            critical=self.critical, informational=self.informational, group=self.group, weight=self.weight,
        )  # fmt: skip

    def measured(self, source: MetricSource, *, since: datetime, until: datetime) -> Evidence:
        """Both sides from ``since`` to ``until`` in whole intervals, and the history before; raises as `MetricSource.range`.

        Without any whole interval yet, or without data, there are no columns: a judge calls that no data, never good.
        """
        now = max(0, int((until - since) / self.interval))
        past = int(self.history / self.interval)
        end, columns = since + now * self.interval, now + past
        if not columns:
            return self._nothing("not one interval is over yet")
        names: list[tuple[Mapping[str, str], str]] = []
        if self.kind == "gauge":
            values, names = self._matrix(source, self.metric, columns, end, gauge=True)
            return self._sides(names, past, lambda rows: Gauges(rows[0]), values)
        total, names = self._matrix(source, self.total, columns, end)
        bad = self._bad(source, names, total, columns, end)
        return self._sides(names, past, lambda rows: Counts(rows[0], rows[1]), total, bad)

    def _bad(
        self,
        source: MetricSource,
        names: Sequence[tuple[Mapping[str, str], str]],
        total: Matrix,
        columns: int,
        end: datetime,
    ) -> Matrix:
        """The bad ones, row by row as the totals. Where all are known and no bad series exists, none was bad."""
        selector = self.bad or self.good
        try:
            found, rows = self._matrix(source, selector, columns, end)
        except NoData:
            found, rows = np.empty((0, columns)), []
        places = {name: row for row, (_, name) in enumerate(rows)}
        part = SLI.error_ratio(self.name, bad=selector, total=self.total).bad_is_part
        matched = np.full(total.shape, np.nan)
        for row, (_, name) in enumerate(names):
            if name in places:
                matched[row] = found[places[name]]
        if part:  # no such series beside a total one is a true 0
            matched = np.where(np.isnan(matched), np.where(np.isnan(total), np.nan, 0.0), matched)
        bad = matched if self.bad else total - matched
        clipped: Matrix = np.clip(bad, 0.0, np.where(np.isnan(total), np.inf, total))
        return np.where(np.isnan(bad), np.nan, clipped)

    def _matrix(
        self, source: MetricSource, selector: str, columns: int, end: datetime, *, gauge: bool = False
    ) -> tuple[Matrix, list[tuple[Mapping[str, str], str]]]:
        """One row a series of this selector: its increase in each interval, or its value; and each row's labels and name."""
        by = tuple(dict.fromkeys([self.by, *self._labels]))
        make = SLI.saturation if gauge else SLI.throughput
        what = {"metric": selector} if gauge else {"total": selector}
        sli = make(self.name, by=by, window=self.interval, **what)
        length = self.interval * columns
        frame: SeriesFrame = sli.range(
            source, window=length - self.interval or self.interval, step=self.interval, end=end
        )
        seconds = 1.0 if gauge else self.interval.total_seconds()
        values = frame.values[-columns:].T * seconds
        if values.shape[1] < columns:
            values = np.pad(values, ((0, 0), (columns - values.shape[1], 0)), constant_values=np.nan)
        return values, [(labels, repr(sorted(labels.items()))) for labels in frame.labels]

    def _sides(
        self, names: Sequence[tuple[Mapping[str, str], str]], past: int, make: Any, *matrices: Matrix
    ) -> Evidence:
        """The rows of each version, before and after."""
        ours = np.array([_accepts(self._told(self.candidate), labels) for labels, _ in names], dtype=bool)
        rest = (
            np.array([_accepts(self._told(self.baseline or ".*"), labels) for labels, _ in names], dtype=bool) & ~ours
        )

        def part(rows: Any, columns: slice) -> Any:
            return make([matrix[rows][:, columns] for matrix in matrices])

        before = {side: part(rows, slice(0, past)) for side, rows in (("candidate", ours), ("baseline", rest))}
        return Evidence(
            metric=self.name,
            kind=self.kind,
            candidate=part(ours, slice(past, None)),
            baseline=part(rest, slice(past, None)),
            candidate_before=before["candidate"] if before["candidate"].samples else None,
            baseline_before=before["baseline"] if before["baseline"].samples else None,
            interval=self.interval,
        )

    def _nothing(self, why: str) -> Evidence:
        none = np.empty((0, 0))
        empty: Counts | Gauges = Gauges(none) if self.kind == "gauge" else Counts(none, none)
        return Evidence(
            metric=self.name, kind=self.kind, candidate=empty, baseline=empty, interval=self.interval, trouble=why
        )

    def _told(self, text: str) -> tuple[Matcher, ...]:
        """How a side is told: conditions, or a regular expression of the instance's label."""
        if "=" in text and '"' in text:
            return Selector.parse(f"side{{{text}}}").matchers
        return Selector.parse(f"side{{{self.by}=~{_quoted(text)}}}").matchers

    @property
    def _labels(self) -> list[str]:
        """The labels that conditions look at."""
        return [matcher.label for text in (self.candidate, self.baseline or ".*") for matcher in self._told(text)]


def measured(
    measures: Sequence[Measure], *, since: datetime, until: datetime, patience: timedelta, config: Config | None = None
) -> list[Evidence]:
    """The evidence for each measure, in their order: the sources are asked side by side, for at most ``patience`` (seconds).

    A source that does not answer, or has no data, is said in ``trouble`` of each of its measures; nothing is raised.
    """
    config = config or Config.load()

    def ask(source: MetricSource) -> list[Evidence]:
        return [_measured(each, source, since, until) for each in measures if each.source == source.name]

    names = list(dict.fromkeys(measure.source for measure in measures))
    answers = everywhere(ask, names, patience=patience, config=config)
    found = {one.metric: one for group in answers.found.values() for one in group}
    return [found.get(each.name) or each._nothing(_away(each.source, answers.errors[each.source])) for each in measures]


def _measured(measure: Measure, source: MetricSource, since: datetime, until: datetime) -> Evidence:
    try:
        return measure.measured(source, since=since, until=until)
    except NoData as error:
        return measure._nothing(f"{source.name} has no data: {error.message}")
    except SREToolkitError as error:
        return measure._nothing(_away(source.name, error))


def _away(source: str, error: SREToolkitError) -> str:
    return f"{source} does not answer: {error.message}"


def _accepts(matchers: Sequence[Matcher], labels: Mapping[str, str]) -> bool:
    return all(matcher.accepts(labels) for matcher in matchers)


def _quoted(text: str) -> str:
    from sretoolkit.metrics.matcher import quoted

    return quoted(text)


def on_source(measures: Sequence[Measure], source: str) -> tuple[Measure, ...]:
    """The same measures at another source, such as another region's."""
    return tuple(replace(each, source=source) for each in measures)
