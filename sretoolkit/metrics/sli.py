"""Service level indicators: said once, asked of any system in its own language, or refused with the reason.

::

    errors = SLI.error_ratio("checkout", bad='http_requests_total{code=~"5.."}', total="http_requests_total", by=["service"])
    errors.measure("prod")           # a frame with one row: the ratio over the last five minutes
    print(errors.explain("graphite"))

In ``sretoolkit.toml``::

    [slis.checkout]
    kind = "error_ratio"
    bad = 'http_requests_total{code=~"5.."}'
    total = "http_requests_total"
    by = ["service"]
    window = "5m"
    on.zabbix = { bad = "app.errors", total = "app.requests" }   # what is called otherwise in one source
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Self

from sretoolkit.clock import format_duration, parse_duration
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, NotExpressible
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.source import MetricSource, opened
from sretoolkit.report import Finding, Report, Table

if TYPE_CHECKING:
    from sretoolkit.metrics.compiled import Compiled
    from sretoolkit.metrics.series import SeriesFrame

SLIKind = Literal["error_ratio", "latency_quantile", "throughput", "saturation", "availability"]
Counter = Literal["cumulative", "delta", ""]
WINDOW = timedelta(minutes=5)
_NEEDED: dict[str, tuple[str, ...]] = {
    "error_ratio": ("bad", "total"),
    "latency_quantile": ("metric",),
    "throughput": ("total",),
    "saturation": ("metric",),
    "availability": (),
}
_SELECTORS = ("bad", "total", "metric", "capacity")
_KEYS = frozenset({"kind", "by", "window", "quantile", "counter", "entity", "check", "on", "unit", *_SELECTORS})
_OVERRIDES = frozenset({"by", "counter", "entity", "check", *_SELECTORS})


@dataclass(frozen=True, kw_only=True)
class SLI:
    """One indicator. Make it with one of its constructors or read it from the configuration.

    Values: error_ratio and availability from 0 to 1; latency_quantile in ``unit`` (seconds); throughput per second;
    saturation as the metric, or from 0 to 1 with a ``capacity``. ``by`` are the labels whose values are told apart.
    ``window`` is the time up to each moment that a value is of, its start left out: (t - window, t]. ``counter`` says
    how counters are kept, "" = as the system usually does (Prometheus cumulative, the others a delta each interval).
    ``on`` replaces fields for a source, by its name or kind.
    """

    name: str
    kind: SLIKind
    window: timedelta = WINDOW
    by: tuple[str, ...] = ()
    bad: Selector | None = None
    total: Selector | None = None
    metric: Selector | None = None
    capacity: Selector | None = None
    quantile: float = 0.99
    counter: Counter = ""
    unit: str = ""
    entity: str = ""
    check: str = ""
    on: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = [name for name in _NEEDED.get(self.kind, ()) if getattr(self, name) is None]
        if self.kind not in _NEEDED or missing:
            what = f"has no {missing[0]}" if missing else f"is of an unknown kind {self.kind!r}"
            raise ConfigError(f"the SLI {self.name} {what}", hint=f"kinds and their parts: {_NEEDED}")
        if self.kind == "availability" and not (self.metric or self.entity):
            raise ConfigError(
                f"the SLI {self.name} is of nothing", hint="give entity (and check), or a metric of 0 and 1"
            )
        if not 0 < self.quantile < 1:
            raise ConfigError(f"the SLI {self.name}: {self.quantile} is no quantile", hint="write 0.99 for 99 %")
        if self.window < timedelta(seconds=1):
            raise ConfigError(f"the SLI {self.name}: the window is too short", hint='write window = "5m"')
        if unknown := {key for given in self.on.values() for key in given} - _OVERRIDES:
            hint = f"there may stand: {', '.join(sorted(_OVERRIDES))}"
            raise ConfigError(f"the SLI {self.name}: on a source nothing is called {min(unknown)!r}", hint=hint)

    @classmethod
    def error_ratio(cls, name: str, *, bad: str | Selector, total: str | Selector, **options: Any) -> Self:
        """The part of all requests that was bad: increase of ``bad`` over increase of ``total``."""
        return cls._made(name, "error_ratio", bad=bad, total=total, **options)

    @classmethod
    def latency_quantile(cls, name: str, *, metric: str | Selector, quantile: float = 0.99, **options: Any) -> Self:
        """The value below which that part of the observations lies."""
        return cls._made(name, "latency_quantile", metric=metric, quantile=quantile, **{"unit": "s", **options})

    @classmethod
    def throughput(cls, name: str, *, total: str | Selector, **options: Any) -> Self:
        """Requests a second: increase of ``total`` over the window's length."""
        return cls._made(name, "throughput", total=total, **options)

    @classmethod
    def saturation(
        cls, name: str, *, metric: str | Selector, capacity: str | Selector | None = None, **options: Any
    ) -> Self:
        """The greatest value of a gauge in the window, as a part of ``capacity`` (its last value) where there is one."""
        return cls._made(name, "saturation", metric=metric, capacity=capacity, **options)

    @classmethod
    def availability(
        cls, name: str, *, entity: str = "", check: str = "", metric: str | Selector | None = None, **options: Any
    ) -> Self:
        """The part of the window in which a check was ok, or the mean of a metric that is 1 when all is well and else 0."""
        return cls._made(name, "availability", entity=entity, check=check, metric=metric, **options)

    @classmethod
    def _made(cls, name: str, kind: SLIKind, **options: Any) -> Self:
        return cls(name=name, kind=kind, **_read(options))

    @classmethod
    def from_config(cls, name: str, config: Config | None = None) -> Self:
        """Read ``[slis.NAME]``; raises `ConfigError` for a missing or wrong part."""
        given = (config or Config.load()).endpoint("slis", name)
        if unknown := given.keys() - _KEYS:
            hint = f"there are: {', '.join(sorted(_KEYS))}"
            raise ConfigError(f"[slis.{name}] has no part {min(unknown)!r}", hint=hint)
        try:
            return cls(name=name, **_read({"kind": "", **given}))
        except (TypeError, AttributeError) as error:
            raise ConfigError(f"[slis.{name}] cannot be read: {error}", hint="see the documentation of SLI") from error

    def on_source(self, source: MetricSource) -> SLI:
        """With the names that this source uses: what ``on`` says for its kind, then for its name."""
        given = {**self.on.get(source.endpoint.kind, {}), **self.on.get(source.name, {})}
        return replace(self, **_read(given)) if given else self

    @property
    def bad_is_part(self) -> bool:
        """Whether ``bad`` selects among what ``total`` selects: then no bad series beside a total one is a true 0."""
        if self.bad is None or self.total is None:
            return False
        return self.bad.metric == self.total.metric and set(self.total.matchers) <= set(self.bad.matchers)

    def compiled(
        self, source: MetricSource, *, window: timedelta | None = None, step: timedelta | None = None,
        end: datetime | None = None, exact: bool = False,
    ) -> Compiled:  # fmt: skip
        """The question to one source, not asked yet: at ``end`` (now), or at each step of ``window``."""
        end = end or source.clock.now()
        grid = Grid.of(window=window, step=step, end=end) if window else Grid.at(end)
        return source.sli(self.on_source(source), grid, exact=exact)

    def measure(
        self,
        source: str | MetricSource,
        *,
        end: datetime | None = None,
        exact: bool = False,
        config: Config | None = None,
    ) -> SeriesFrame:
        """The value over the window that ends at ``end`` (now): a frame with one row, a column for each group."""
        with opened(source, config) as one:
            return self.compiled(one, end=end, exact=exact).ask()

    def range(
        self, source: str | MetricSource, *, window: timedelta, step: timedelta | None = None, end: datetime | None = None,
        exact: bool = False, config: Config | None = None,
    ) -> SeriesFrame:  # fmt: skip
        """The value at each step of a longer window."""
        with opened(source, config) as one:
            return self.compiled(one, window=window, step=step, end=end, exact=exact).ask()

    def explain(self, source: str | MetricSource, *, exact: bool = False, config: Config | None = None) -> Report:
        """What that source would be asked and why, or why it cannot answer and what comes nearest. Asks nothing."""
        with opened(source, config) as one:
            facts = {"sli": self.name, "kind": self.kind, "window": format_duration(self.window), "source": one.name}
            try:
                compiled = self.compiled(one, exact=exact)
            except NotExpressible as error:
                finding = Finding(
                    severity="medium", subject=one.name, summary=error.message, proof="certain", remedy=error.nearest
                )
                return Report(f"{self.name} on {one.name}", [finding], facts=facts)
        rows = [[line] for line in compiled.native.splitlines()]
        findings = [Finding(severity="info", subject="why", summary=compiled.reason)]
        if compiled.estimated:
            findings.append(Finding(severity="low", subject="estimated", summary=compiled.estimated, proof="certain"))
        return Report(f"{self.name} on {one.name}", findings, [Table("asked", ["native query"], rows)], facts=facts)


def _read(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they are written, as the fields they are."""
    found = dict(given)
    for key in _SELECTORS:
        if isinstance(found.get(key), str):
            found[key] = Selector.parse(found[key])
    if "window" in found and isinstance(found["window"], str):
        found["window"] = parse_duration(found["window"])
    if "by" in found:
        by = found["by"]
        if isinstance(by, str) or not isinstance(by, Iterable):
            raise ConfigError(f"by must be a list of label names, not {by!r}", hint='write by = ["service"]')
        found["by"] = tuple(by)
    return found
