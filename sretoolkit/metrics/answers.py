"""A source's answer as a report, for a runbook's cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sretoolkit.chart import Annotation
from sretoolkit.chart.scale import milliseconds, quantity
from sretoolkit.clock import Clock, format_duration, parse_moment
from sretoolkit.config import Config, mask
from sretoolkit.errors import SREToolkitError
from sretoolkit.metrics.asking import PATIENCE, everywhere
from sretoolkit.metrics.events import Window
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.source import MetricSource, connect
from sretoolkit.report import SEVERITIES, Finding, Report, Severity, Table

if TYPE_CHECKING:
    from sretoolkit.metrics.series import SeriesFrame

_HOUR = timedelta(hours=1)


def query(
    source: str,
    expression: str,
    *,
    window: timedelta = _HOUR,
    step: timedelta | None = None,
    end: datetime | None = None,
    event: datetime | str | None = None,
    config: Config | None = None,
    clock: Clock | None = None,
) -> Report:
    """Ask one source for a range and show it: chart, table, and findings for warnings and missing samples.

    ``expression`` is in the system's own language. With ``event`` (a time: `parse_moment`) the range is ``window`` before
    and after it, and a table compares the two. Raises `NoData` when nothing is there: that is never fine.
    """

    def ask(opened: MetricSource, window: timedelta, end: datetime | None) -> SeriesFrame:
        return opened.range(expression, window=window, step=step, end=end)

    return _shown(source, expression, ask, window, end, event, config, clock)


def indicator(
    source: str,
    sli: SLI | str,
    *,
    window: timedelta = _HOUR,
    step: timedelta | None = None,
    end: datetime | None = None,
    event: datetime | str | None = None,
    exact: bool = False,
    config: Config | None = None,
    clock: Clock | None = None,
) -> Report:
    """The same for a service level indicator (or the name of a configured one), with the native query it became."""
    meant = SLI.from_config(sli, config) if isinstance(sli, str) else sli
    asked: list[Report] = []

    def ask(opened: MetricSource, window: timedelta, end: datetime | None) -> SeriesFrame:
        compiled = meant.compiled(opened, window=window, step=step, end=end, exact=exact)
        findings = [Finding(severity="info", subject="why", summary=compiled.reason)]
        if compiled.estimated:
            findings.append(Finding(severity="low", subject="estimated", summary=compiled.estimated, proof="certain"))
        table = Table("asked", ["native query"], [[line] for line in compiled.native.splitlines()])
        asked.append(Report("", findings, [table]))
        return compiled.ask()

    title = f"{meant.name}: {meant.kind.replace('_', ' ')} over {format_duration(meant.window)}"
    report = _shown(source, title, ask, window, end, event, config, clock)
    return Report(
        title, [*report.findings, *asked[0].findings], [*report.tables, *asked[0].tables], report.charts, report.facts
    )


def explore(
    source: str,
    expression: str,
    *,
    window: timedelta = _HOUR,
    step: timedelta | None = None,
    config: Config | None = None,
) -> Report:
    """`query` for looking around: what goes wrong is a finding with its remedy, not an error that ends the notebook."""
    try:
        return query(source, expression, window=window, step=step, config=config)
    except SREToolkitError as error:
        kind = type(error).__name__
        finding = Finding(severity="high", subject=kind, summary=error.message, proof="certain", remedy=error.hint)
        return Report(expression, [finding], facts={"source": mask(source)})


def health(source: str, *, config: Config | None = None, clock: Clock | None = None) -> Report:
    """What is wrong with a source itself; one that is down is a finding, an unknown name a `ConfigError`."""
    with connect(source, config, clock=clock) as opened:
        return opened.health()


def survey(
    sources: Sequence[str] = (),
    *,
    patience: timedelta = PATIENCE,
    config: Config | None = None,
    clock: Clock | None = None,
) -> Report:
    """The health of every configured source (or those named), asked at once: version, what it can do, what is wrong."""
    config = config or Config.load()

    def ask(source: MetricSource) -> tuple[str, str, Report]:
        able = source.capabilities
        return source.endpoint.kind, ", ".join(sorted(able.verbs - {"health"})), source.health()

    answers = everywhere(ask, sources, patience=patience, config=config, clock=clock)
    rows: list[list[Any]] = []
    findings = answers.findings("health")
    for name, (kind, verbs, report) in answers.found.items():
        took = f"{answers.seconds[name] * 1000:.0f} ms"
        rows.append([name, report.worst or "ok", kind, report.facts.get("version", "unknown"), took, verbs])
        findings += [
            Finding(
                severity=finding.severity,
                subject=f"{name}: {finding.subject}" if finding.subject != name else name,
                summary=finding.summary,
                evidence=finding.evidence,
                proof=finding.proof,
                remedy=finding.remedy,
            )
            for finding in report.findings
        ]
    rows += [
        [name, "critical", config.endpoint("sources", name).get("kind", ""), "unknown", "", ""]
        for name in answers.errors
    ]
    order: list[Severity | str] = [*SEVERITIES, "ok"]
    rows.sort(key=lambda row: (order.index(row[1]), row[0]))
    columns = ["source", "state", "kind", "version", "took", "can"]
    good = sum(row[1] in ("ok", "low", "info") for row in rows)
    return Report("Sources", findings, [Table("", columns, rows)], facts={"healthy": f"{good} of {len(rows)}"})


def _shown(
    source: str,
    title: str,
    ask: Callable[[MetricSource, timedelta, datetime | None], SeriesFrame],
    window: timedelta,
    end: datetime | None,
    event: datetime | str | None,
    config: Config | None,
    clock: Clock | None,
) -> Report:
    at = parse_moment(event, clock) if isinstance(event, str) and event else event or None
    with connect(source, config, clock=clock) as opened:
        asked = window
        if isinstance(at, datetime):
            end = min(at + window, opened.clock.now())
            asked = end - (at - window)
        frame = ask(opened, asked, end)
        version = f"{opened.endpoint.kind} {opened.version()}"
        marks = _marks(opened, Window(*frame.window))
    tables = [frame.table()]
    if isinstance(at, datetime):
        marks = [*marks, Annotation(at, "event")]
        tables.insert(0, _comparison(frame, at))
    whole = timedelta(seconds=max(1, round(asked.total_seconds())))
    facts = {
        "source": source,
        "version": version,
        "window": f"{format_duration(whole)} to {frame.window[1]:%Y-%m-%d %H:%M:%S} UTC",
        "step": format_duration(frame.interval),
        "series": len(frame),
    }
    return Report(title, _findings(frame), tables, [frame.chart(title, annotations=marks)], facts)


def _marks(source: MetricSource, window: Window) -> list[Annotation]:
    """The markers that the same system keeps; a picture without them is still the answer."""
    if not {"annotate", "events"} <= source.capabilities.verbs:
        return []
    try:
        return [event.annotation() for event in source.events(window) if event.tags]
    except SREToolkitError:
        return []


def _comparison(frame: SeriesFrame, at: datetime) -> Table:
    """The mean of each series before and after a moment."""
    import numpy as np

    moment = milliseconds(at)
    rows = []
    for column, name in enumerate(frame.names):
        values = frame.values[:, column]
        sides = [values[frame.times <= moment], values[frame.times > moment]]
        means = [float(np.mean(side[~np.isnan(side)])) if (~np.isnan(side)).any() else math.nan for side in sides]
        rows.append([name, *(_told(mean, frame.unit) for mean in means), _change(*means)])
    return Table("before and after the event", ["series", "mean before", "mean after", "change"], rows)


def _told(value: float, unit: str) -> str:
    return "no data" if math.isnan(value) else quantity(value, unit)


def _change(before: float, after: float) -> str:
    if math.isnan(before) or math.isnan(after):
        return "unknown"
    if before == 0 or not math.isfinite(after / before):
        return "none" if before == after else "from nothing" if before == 0 else "unknown"
    return f"{(after / before - 1):+.1%}"


def _findings(frame: SeriesFrame) -> list[Finding]:
    findings = [
        Finding(severity="low" if frame.complete else "medium", subject="warning", summary=text, proof="certain")
        for text in frame.warnings
    ]
    expected, seen = frame.values.size, int(frame.samples.sum())
    if seen < expected:
        summary = f"{expected - seen} of {expected} samples are missing; a gap is no value, not a zero"
        findings.append(Finding(severity="info", subject="gaps", summary=summary, proof="certain"))
    return findings
