"""A source's answer as a report, for a runbook's cell."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sretoolkit.clock import Clock, format_duration
from sretoolkit.config import Config, mask
from sretoolkit.errors import SREToolkitError
from sretoolkit.metrics.source import connect
from sretoolkit.report import Finding, Report

if TYPE_CHECKING:
    from sretoolkit.metrics.series import SeriesFrame


def query(
    source: str,
    expression: str,
    *,
    window: timedelta = timedelta(hours=1),
    step: timedelta | None = None,
    end: datetime | None = None,
    config: Config | None = None,
    clock: Clock | None = None,
) -> Report:
    """Ask one source for a range and show it: chart, table, and findings for warnings and missing samples.

    ``expression`` is in the system's own language. Raises `NoData` when nothing is there: that is never fine.
    """
    with connect(source, config, clock=clock) as opened:
        frame = opened.range(expression, window=window, step=step, end=end)
        version = f"{opened.endpoint.kind} {opened.version()}"
    facts = {
        "source": source,
        "version": version,
        "window": f"{format_duration(window)} to {frame.window[1]:%Y-%m-%d %H:%M:%S} UTC",
        "step": format_duration(frame.interval),
        "series": len(frame),
    }
    return Report(expression, _findings(frame), [frame.table()], [frame.chart(expression)], facts)


def explore(
    source: str,
    expression: str,
    *,
    window: timedelta = timedelta(hours=1),
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
