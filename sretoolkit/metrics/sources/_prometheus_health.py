"""What is wrong with a Prometheus itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sretoolkit.errors import SourceError
from sretoolkit.report import Finding, Report, Severity, plain

if TYPE_CHECKING:
    from sretoolkit.metrics.sources.prometheus import Prometheus

_SKEW = timedelta(seconds=5)
_SHOWN = 5


def examine(server: Prometheus) -> Report:
    """Version, clock, failed reloads, damaged data and targets that are down; unreachable is one critical finding."""
    facts: dict[str, Any] = {"source": server.name, "url": server.endpoint.url}
    findings: list[Finding] = []
    try:
        findings += _clock(server)
        facts["version"] = server.version()
        findings += _runtime(server, facts)
        findings += _targets(server, facts)
    except SourceError as error:
        findings.append(_finding("critical", server.name, error.message, remedy=error.hint))
    if server.endpoint.remote.in_clear:
        summary = "the login crosses the network unencrypted (http)"
        findings.append(_finding("medium", server.name, summary, remedy="use https"))
    return Report(f"Health of {server.name}", findings, facts=facts)


def _clock(server: Prometheus) -> Iterator[Finding]:
    skew = server.server_time() - server.clock.now()
    if abs(skew) > _SKEW:
        word = "ahead of" if skew > timedelta(0) else "behind"
        summary = f"its clock is {abs(skew).total_seconds():.0f} s {word} ours: a window that ends now is not its now"
        yield _finding("medium", "clock", summary, remedy="compare both with a time server; until then give an end")


def _runtime(server: Prometheus, facts: dict[str, Any]) -> Iterator[Finding]:
    try:
        state = server.status("runtimeinfo")
    except SourceError as error:
        yield _finding("info", server.name, "it does not tell about itself (runtimeinfo)", evidence=error.message)
        return
    facts["retention"] = state.get("storageRetention", "unknown")
    if state.get("reloadConfigSuccess") is False:
        summary = "its last reload failed: it runs on the configuration before"
        remedy = "run promtool check config on the server, mend the file, reload"
        yield _finding("high", "configuration", summary, remedy=remedy)
    if damaged := state.get("corruptionCount"):
        summary = f"{damaged} damaged places in its write-ahead log: samples may be missing"
        yield _finding("high", "storage", summary, remedy="look at the server's log and its disk")


def _targets(server: Prometheus, facts: dict[str, Any]) -> Iterator[Finding]:
    try:
        targets = server.targets()
    except SourceError as error:
        yield _finding("info", "targets", "it does not tell what it scrapes", evidence=error.message)
        return
    down = [target for target in targets if target.get("health") == "down"]
    facts["targets"] = f"{len(targets) - len(down)} of {len(targets)} up"
    if down:
        evidence = [f"{target.get('scrapeUrl')}: {plain(target.get('lastError'))}" for target in down[:_SHOWN]]
        evidence += [f"and {len(down) - _SHOWN} more"] if len(down) > _SHOWN else []
        summary = f"{len(down)} of {len(targets)} cannot be scraped: their data has gaps"
        remedy = "is the exporter running, and can the server reach it?"
        yield _finding("medium", "targets", summary, evidence="\n".join(evidence), remedy=remedy)


def _finding(severity: Severity, subject: str, summary: str, *, evidence: str = "", remedy: str = "") -> Finding:
    return Finding(
        severity=severity, subject=subject, summary=summary, evidence=evidence, proof="certain", remedy=remedy
    )
