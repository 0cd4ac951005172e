"""What is wrong with a Graphite itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from sretoolkit.errors import SourceError
from sretoolkit.report import Finding, Report, Severity

if TYPE_CHECKING:
    from sretoolkit.metrics.sources.graphite import Graphite

_SKEW = timedelta(seconds=5)
_BEHIND = timedelta(minutes=5)
_LOOK = 3600


def examine(server: Graphite) -> Report:
    """Version, clock and how far behind its points are; unreachable is one critical finding."""
    facts: dict[str, Any] = {"source": server.name, "url": server.endpoint.url}
    findings: list[Finding] = []
    try:
        findings += _clock(server)
        facts["version"] = server.asked_version()
        findings += _newest(server, facts)
    except SourceError as error:
        findings.append(_finding("critical", server.name, error.message, remedy=error.hint))
    if server.endpoint.remote.in_clear:
        summary = "the login crosses the network unencrypted (http)"
        findings.append(_finding("medium", server.name, summary, remedy="use https"))
    return Report(f"Health of {server.name}", findings, facts=facts)


def _clock(server: Graphite) -> Iterator[Finding]:
    said = server.renderer.ask("GET", "/version/").headers.get("Date", "")
    try:
        skew = parsedate_to_datetime(said) - server.clock.now()
    except (ValueError, TypeError):
        return
    if abs(skew) > _SKEW:
        word = "ahead of" if skew > timedelta(0) else "behind"
        summary = f"its clock is {abs(skew).total_seconds():.0f} s {word} ours: a window that ends now is not its now"
        yield _finding("medium", "clock", summary, remedy="compare both with a time server; until then give an end")


def _newest(server: Graphite, facts: dict[str, Any]) -> Iterator[Finding]:
    now = int(server.clock.now().timestamp())
    try:
        series = server.renderer.points(server.newest, now - _LOOK, now, server.newest)
    except SourceError as error:
        yield _finding("info", "points", f"it does not give {server.newest}", evidence=error.message)
        return
    times = [int(one.samples.times[-1]) for one in series if len(one.samples.times)]
    if not series:
        summary = f"how far behind it is cannot be seen: there is no {server.newest}"
        yield _finding("low", "points", summary, remedy="name a metric that is always sent: newest of the source")
    elif not times:
        summary = f"{server.newest} has no point in the last hour"
        yield _finding("high", "points", summary, remedy="is carbon running, and can graphite-web read what it writes?")
    else:
        newest = datetime.fromtimestamp(max(times) / 1000, UTC)
        facts["newest point"] = newest.isoformat()
        if (behind := server.clock.now() - newest) > _BEHIND:
            summary = f"its newest point is {behind.total_seconds():.0f} s old: a window that ends now is not full"
            yield _finding("high", "points", summary, remedy="look at carbon's log, its cache and its disk")


def _finding(severity: Severity, subject: str, summary: str, *, evidence: str = "", remedy: str = "") -> Finding:
    return Finding(
        severity=severity, subject=subject, summary=summary, evidence=evidence, proof="certain", remedy=remedy
    )
