"""All objectives on one page: worst first, what is left, how fast it goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sretoolkit.chart import Chart, Threshold
from sretoolkit.clock import Clock, format_duration
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, SREToolkitError
from sretoolkit.metrics.asking import everywhere
from sretoolkit.metrics.slo import SLO, Budget
from sretoolkit.report import Finding, Report, Severity, Table

if TYPE_CHECKING:
    from sretoolkit.metrics.series import SeriesFrame
    from sretoolkit.metrics.source import MetricSource

_CHARTS = 4  # those of the worst; more is no overview
_SHOWN = (timedelta(hours=1), timedelta(hours=6), timedelta(days=1))


def slo_report(
    names: Sequence[str] = (), *, end: datetime | None = None, config: Config | None = None, clock: Clock | None = None
) -> Report:
    """Every configured objective (or those named): budget left, burn rates, forecast; the most urgent first.

    An objective that cannot be measured is a finding of its own: unknown is never fine. Raises `ConfigError` for a
    name that is not configured, or when there is none.
    """
    config = config or Config.load()
    wanted = list(names or config.names("slos"))
    if not wanted:
        raise ConfigError("no SLO is configured", hint="add [slis.NAME] and [slos.NAME] to sretoolkit.toml")
    slos = [SLO.from_config(name, config) for name in wanted]
    end = end or (clock or Clock()).now()

    def ask(source: MetricSource) -> list[tuple[SLO, list[Budget] | SREToolkitError, SeriesFrame | None]]:
        return [_asked(slo, source, end) for slo in slos if slo.source == source.name]

    answers = everywhere(ask, [slo.source for slo in slos], config=config, clock=clock)
    found = [one for each in answers.found.values() for one in each]
    rows = [(slo, budget) for slo, told, _ in found if isinstance(told, list) for budget in told]
    rows.sort(key=lambda row: (("page", "ticket", "").index(row[1].urgency), row[1].left))
    findings = [finding for slo, budget in rows for finding in _findings(slo, budget)]
    findings += [_unknown(slo, told) for slo, told, _ in found if isinstance(told, SREToolkitError)]
    findings += [_unknown(slo, answers.errors[slo.source]) for slo in slos if slo.source in answers.errors]
    worst = [slo.name for slo, _ in rows]
    frames = sorted(
        (one for one in found if one[2]), key=lambda one: worst.index(one[0].name) if one[0].name in worst else 99
    )
    charts = [_chart(slo, frame) for slo, _, frame in frames[:_CHARTS] if frame is not None]
    facts = {
        "objectives": len(slos),
        "at": f"{end:%Y-%m-%d %H:%M:%S} UTC",
        "sources": len({slo.source for slo in slos}),
    }
    return Report("Service level objectives", findings, [_table(rows)], charts, facts)


def _asked(
    slo: SLO, source: MetricSource, end: datetime
) -> tuple[SLO, list[Budget] | SREToolkitError, SeriesFrame | None]:
    try:
        budgets = slo.budgets(source, end=end)
    except SREToolkitError as error:
        return slo, error, None
    try:
        day = min(timedelta(days=1), slo.period)
        return slo, budgets, slo.sli.range(source, window=day, end=end)
    except SREToolkitError:  # the picture is an extra: the numbers stand without it
        return slo, budgets, None


def _chart(slo: SLO, frame: SeriesFrame) -> Chart:
    limit = slo.objective if slo.sli.kind == "availability" else 1 - slo.objective
    return frame.chart(
        f"{slo.name}: {slo.sli.kind.replace('_', ' ')} over {format_duration(slo.sli.window)}",
        thresholds=[Threshold(limit, "objective")],
    )


def _table(rows: Sequence[tuple[SLO, Budget]]) -> Table:
    columns = [
        "objective",
        "group",
        "goal",
        "measured",
        "budget left",
        *(f"burn {format_duration(window)}" for window in _SHOWN),
        "budget gone",
    ]
    return Table("worst first", columns, [_row(slo, budget) for slo, budget in rows])


def _row(slo: SLO, budget: Budget) -> list[str]:
    rates = [budget.burn.get(window, math.nan) for window in _SHOWN]
    return [
        slo.name,
        budget.group or "all",
        f"{_percent(slo.objective)} over {format_duration(slo.period)}",
        _percent(1 - budget.errors),
        _percent(budget.left),
        *("no data" if math.isnan(rate) else f"{rate:.3g}x" for rate in rates),
        _forecast(budget),
    ]


def _forecast(budget: Budget) -> str:
    if budget.left <= 0:
        return "now"
    times = sorted(time for time in budget.exhausted if time is not None)
    if not times:
        return "not at this pace"
    words = list(dict.fromkeys(_rough(time) for time in times))
    return f"in {' to '.join(words)}"


def _rough(time: timedelta) -> str:
    hours = time / timedelta(hours=1)
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} d"


def _findings(slo: SLO, budget: Budget) -> list[Finding]:
    """One for each group, so that the page stays short, and what is not known apart."""
    subject = f"{slo.name} ({budget.group})" if budget.group else slo.name
    gone = budget.left <= 0
    told = []
    if gone:
        told.append(f"the error budget is gone: {_percent(1 - budget.errors)} good, not {_percent(slo.objective)}")
    if budget.urgency:
        told.append(budget.why + ("" if gone else f"; budget gone {_forecast(budget)}"))
    remedies = {
        "page": "act now: what changed? (sretoolkit run alert_triage)",
        "ticket": "plan a repair within days",
        "": "stop changes that are not repairs until it recovers",
    }
    severity: Severity = "critical" if gone or budget.urgency == "page" else "high"
    found = [
        Finding(
            severity=severity,
            subject=subject,
            summary="; ".join(told),
            proof="certain",
            remedy=remedies[budget.urgency],
        )
    ]
    silent = [
        Finding(severity="medium", subject=subject, summary=text, proof="certain", remedy="is it still collected?")
        for text in budget.warnings
    ]
    return [*(found if told else []), *silent]


def _unknown(slo: SLO, error: SREToolkitError) -> Finding:
    summary = f"unknown: {error.message}"
    return Finding(severity="high", subject=slo.name, summary=summary, proof="certain", remedy=error.hint)


def _percent(value: float) -> str:
    """Enough digits that 99.95 % does not read as 100 %."""
    if math.isnan(value):
        return "no data"
    away = min(abs(value), abs(1 - value)) * 100
    digits = 1 if away >= 1 or away == 0 else min(6, 1 - math.floor(math.log10(away)))
    return f"{value * 100:.{digits}f} %"
