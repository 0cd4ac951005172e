"""Performance data of checks as a frame, for systems that keep only the last result.

A query is a selector: the metric is the number's own label, or ``perfdata`` for all of them (then ``label`` is one to
select by): ``latency{host="h1", service="api"}``, ``perfdata{label="used space", host=~"db.*"}``. A host's own check has
no ``service``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from sretoolkit.errors import ConfigError, NoData, NotExpressible, QueryError
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.matcher import Matcher, Selector
from sretoolkit.metrics.series import Kind, SeriesFrame
from sretoolkit.metrics.source import MetricSource
from sretoolkit.metrics.states import CheckState

ALL = "perfdata"
NOW = timedelta(seconds=60)
_SHOWN = 3


def selected(source: MetricSource, query: str) -> Selector:
    """Read a query; raises `QueryError`."""
    try:
        found = Selector.parse(query)
    except ConfigError as error:
        raise QueryError(f"{source.name}: {error.message}", source=source.name, query=query, hint=error.hint) from error
    if found.metric == ALL:
        return found
    return Selector(ALL, (*found.matchers, Matcher("label", "=", found.metric)))


def exactly(selector: Selector, label: str) -> str | None:
    """The one value that a label must have; None when the selector leaves it open."""
    return next((one.value for one in selector.matchers if one.label == label and one.operator == "="), None)


def only_now(source: MetricSource, query: str, at: datetime | None, *, nearest: str) -> Grid:
    """The present moment; raises `NotExpressible` for another: the system keeps only the last result."""
    now = source.clock.now()
    if at is not None and abs(now - at) > NOW:
        reason = "it keeps the last result of each check and no values of the past"
        raise source.cannot("instant at another time", query, reason=reason, nearest=nearest)
    return Grid.at(at or now)


def no_history(source: MetricSource, what: str, *, nearest: str) -> NotExpressible:
    """Why an indicator of values over a window cannot be had."""
    reason = "it keeps the last result of each check and no values of the past"
    return source.cannot(what, reason=reason, nearest=nearest)


def frame(
    source: MetricSource, query: str, selector: Selector, grid: Grid, checks: Sequence[CheckState]
) -> SeriesFrame:
    """One row, one column a number; what a stale check said is left out and named. Raises `NoData`."""
    found = [
        (
            {"host": check.entity, **({"service": check.check} if check.check else {}), "label": number.label},
            number,
            check,
        )
        for check in checks
        for number in check.perfdata
    ]
    found = [one for one in found if selector.accepts(one[0]) and not np.isnan(one[1].value)]
    fresh = {tuple(labels.items()): (labels, number) for labels, number, check in found if not check.stale}
    stale = [f"{check.entity}/{check.check or 'host'}" for _, _, check in found if check.stale]
    names = ", ".join(dict.fromkeys(stale[:_SHOWN])) + (" and more" if len(stale) > _SHOWN else "")
    if not fresh:
        text = f"{source.name} has no data for {query} ({grid})"
        hint = (
            f"its last result is too old: {names}" if stale else "check label, host and service; is it being checked?"
        )
        raise NoData(text, source=source.name, query=query, hint=hint)
    units = {number.uom for _, number in fresh.values()}
    kind: Kind = "cumulative" if units == {"c"} else "gauge"
    return SeriesFrame(
        times=grid.moments,
        values=np.array([[number.value for _, number in fresh.values()]], dtype=np.float64),
        labels=[labels for labels, _ in fresh.values()],
        interval=timedelta(milliseconds=grid.step),
        unit=(units - {"c"}).pop() if len(units) == 1 and units != {"c"} else "",
        kind=kind,
        complete=not stale,
        warnings=[f"left out, for the last result is too old: {names}"] if stale else [],
        query=query,
    )
