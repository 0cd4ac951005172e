"""Service level objectives: how much of the error budget is left, how fast it burns, when it is gone.

::

    [slos.checkout]
    sli = "checkout"          # of kind error_ratio or availability, see [slis.checkout]
    source = "prod"
    objective = 99.9          # percent
    period = "30d"

Burn rates and alerting windows are those of the SRE workbook, chapter 5 (multiwindow, multi-burn-rate alerts): a page
when 2 % of the budget went in an hour or 5 % in six, a ticket when 10 % went in one day or in three, each only while the
short window (a twelfth) burns too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, Self

from sretoolkit.clock import parse_duration
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, NoData
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.source import MetricSource

PERIOD = timedelta(days=30)
_SHORT = 12  # the short window is this part of the long one
_KEYS = frozenset({"sli", "source", "objective", "period"})
Urgency = Literal["page", "ticket", ""]


class Rule(NamedTuple):
    """Too fast: this part of the budget within this window."""

    urgency: Urgency
    window: timedelta
    budget: float


RULES = (
    Rule("page", timedelta(hours=1), 0.02),
    Rule("page", timedelta(hours=6), 0.05),
    Rule("ticket", timedelta(days=1), 0.10),
    Rule("ticket", timedelta(days=3), 0.10),
)


@dataclass(frozen=True)
class Budget:
    """Where one group of an objective stands at a moment.

    ``errors``: the part that was bad over the period. ``left``: of the budget, 1 = untouched, 0 = gone, below = overdrawn.
    ``burn``: by window, how many times as fast as the budget allows; NaN = no data there, never 0. ``urgency`` is that of
    the rule that holds, ``why`` its words. ``exhausted``: the budget is gone after this time at the pace of the last six
    hours and of the last hour (the sooner first); None = not at this pace.
    """

    slo: str
    group: str
    errors: float
    left: float
    burn: Mapping[timedelta, float] = field(default_factory=dict)
    urgency: Urgency = ""
    why: str = ""
    exhausted: tuple[timedelta | None, timedelta | None] = (None, None)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SLO:
    """An objective: this part (0.999) of all requests, or of the time, is good over ``period``, as ``source`` sees it."""

    name: str
    sli: SLI
    source: str
    objective: float
    period: timedelta = PERIOD

    def __post_init__(self) -> None:
        if self.sli.kind not in ("error_ratio", "availability"):
            hint = "count what was too slow as bad: an error_ratio with the bucket of the limit as good"
            raise ConfigError(f"the SLO {self.name}: a {self.sli.kind} has no error budget", hint=hint)
        if not 0 < self.objective < 1:
            what = f"the SLO {self.name}: an objective of {self.objective:.4%} leaves no budget, or no objective"
            raise ConfigError(what, hint="write objective = 99.9 (percent)")
        if self.period < timedelta(hours=1):
            raise ConfigError(f"the SLO {self.name}: the period is too short", hint='write period = "30d"')

    @classmethod
    def from_config(cls, name: str, config: Config | None = None) -> Self:
        """Read ``[slos.NAME]`` and its SLI; raises `ConfigError`."""
        config = config or Config.load()
        given = config.endpoint("slos", name)
        if wrong := (given.keys() - _KEYS) or ({"sli", "source", "objective"} - given.keys()):
            word = "has no part" if wrong & given.keys() else "needs"
            raise ConfigError(f"[slos.{name}] {word} {min(wrong)!r}", hint=f"parts: {', '.join(sorted(_KEYS))}")
        objective = given["objective"]
        if isinstance(objective, bool) or not isinstance(objective, int | float):
            raise ConfigError(f"[slos.{name}]: objective must be a number", hint="write objective = 99.9 (percent)")
        return cls(
            name=name,
            sli=SLI.from_config(str(given["sli"]), config),
            source=str(given["source"]),
            objective=objective / 100,
            period=parse_duration(str(given.get("period", "30d"))),
        )

    @property
    def windows(self) -> list[timedelta]:
        """All those that burn rates are of, the shortest first."""
        longs = [rule.window for rule in RULES if rule.window < self.period]
        return sorted({*longs, *(window / _SHORT for window in longs)})

    def errors(self, source: MetricSource, window: timedelta, end: datetime) -> dict[str, float]:
        """The part that was bad in the window that ends at ``end``, by group; NaN where there is no data."""
        frame = replace(self.sli, window=window).measure(source, end=end)
        values = frame.values[-1].tolist()
        bad = [1 - value for value in values] if self.sli.kind == "availability" else values
        names = [", ".join(labels.values()) for labels in frame.labels]
        return dict(zip(names, bad, strict=True))

    def budgets(self, source: MetricSource, *, end: datetime | None = None) -> list[Budget]:
        """Where each group stands, the most urgent first. Raises `NoData` when the whole period has none."""
        end = end or source.clock.now()
        overall = self.errors(source, self.period, end)
        burns: dict[timedelta, dict[str, float]] = {}
        for window in self.windows:
            try:
                burns[window] = self.errors(source, window, end)
            except NoData:
                burns[window] = {}
        allowed = 1 - self.objective
        partial = self._partial(source, end)
        found = [
            self._budget(
                group, errors, {window: burn.get(group, math.nan) / allowed for window, burn in burns.items()}, partial
            )
            for group, errors in overall.items()
        ]
        return sorted(found, key=lambda budget: (("page", "ticket", "").index(budget.urgency), budget.left))

    def _partial(self, source: MetricSource, end: datetime) -> list[str]:
        """What to say when the system has nothing of the period's beginning."""
        part = self.period / _SHORT
        try:
            self.errors(source, part, end - self.period + part)
        except NoData:
            return [
                f"there is no data of the first {_short(part)} of the period: the figures cover less than all of it"
            ]
        return []

    def _budget(self, group: str, errors: float, burn: Mapping[timedelta, float], partial: Sequence[str]) -> Budget:
        left = 1 - errors / (1 - self.objective)
        urgency, why = self._judged(burn)
        silent = [window for window, rate in burn.items() if math.isnan(rate)]
        warnings = [f"no data in the last {_short(window)}" for window in silent[:1]]
        return Budget(
            slo=self.name,
            group=group,
            errors=errors,
            left=left,
            burn=burn,
            urgency=urgency,
            why=why,
            exhausted=(self._gone(left, burn, timedelta(hours=6)), self._gone(left, burn, timedelta(hours=1))),
            warnings=(*warnings, *partial),
        )

    def _judged(self, burn: Mapping[timedelta, float]) -> tuple[Urgency, str]:
        for rule in RULES:
            limit = max(1.0, rule.budget * self.period / rule.window)  # a pace of 1 or less lasts for the whole period
            both = [burn.get(window, math.nan) for window in (rule.window, rule.window / _SHORT)]
            if all(rate > limit for rate in both):
                why = (
                    f"burns {both[0]:.3g} times too fast over {_short(rule.window)} (limit {limit:.3g}), and still does"
                )
                return rule.urgency, why
        return "", ""

    def _gone(self, left: float, burn: Mapping[timedelta, float], window: timedelta) -> timedelta | None:
        """When nothing is left, at the pace of that window; a pace of 1 or less never uses it up."""
        rate = burn.get(window, math.nan)
        if left <= 0:
            return timedelta(0)
        return left / rate * self.period if rate > 1 else None


def _short(window: timedelta) -> str:
    hours = window / timedelta(hours=1)
    if hours < 1:
        return f"{hours * 60:g} min"
    return f"{hours:g} h" if hours < 24 else f"{hours / 24:g} d"
