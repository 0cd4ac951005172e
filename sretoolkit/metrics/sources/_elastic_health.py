"""What is wrong with an Elasticsearch or OpenSearch cluster itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from sretoolkit.errors import SourceError
from sretoolkit.report import Finding, Report, Severity, plain

if TYPE_CHECKING:
    from sretoolkit.metrics.sources.elastic import Elastic

_SKEW = timedelta(seconds=5)
_SHOWN = 5
_FULL = "index.blocks.read_only_allow_delete"
_BLOCKS = (_FULL, "index.blocks.read_only")


def examine(server: Elastic) -> Report:
    """Version, clock, the cluster's colour, indices that take no writes; unreachable is one critical finding."""
    facts: dict[str, Any] = {"source": server.name, "url": server.endpoint.url}
    findings: list[Finding] = []
    try:
        findings += _clock(server)
        facts["version"] = server.asked_version()
        facts["product"] = "OpenSearch" if server.search.is_opensearch else "Elasticsearch"
        findings += _colour(server, facts)
        findings += _blocked(server)
    except SourceError as error:
        findings.append(_finding("critical", server.name, error.message, remedy=error.hint))
    if server.endpoint.remote.in_clear:
        summary = "the login crosses the network unencrypted (http)"
        findings.append(_finding("medium", server.name, summary, remedy="use https"))
    return Report(f"Health of {server.name}", findings, facts=facts)


def _clock(server: Elastic) -> Iterator[Finding]:
    said = server.search.wire.ask("GET", "/").headers.get("Date", "")
    try:
        skew = parsedate_to_datetime(said) - server.clock.now()
    except (ValueError, TypeError):
        return  # Elasticsearch itself sends none; a proxy in front does
    if abs(skew) > _SKEW:
        word = "ahead of" if skew > timedelta(0) else "behind"
        summary = f"its clock is {abs(skew).total_seconds():.0f} s {word} ours: a window that ends now is not its now"
        yield _finding("medium", "clock", summary, remedy="compare both with a time server; until then give an end")


def _colour(server: Elastic, facts: dict[str, Any]) -> Iterator[Finding]:
    try:
        found = server.search.json("GET", "/_cluster/health")
    except SourceError as error:
        yield _finding("info", "cluster", "it does not tell its state", evidence=error.message)
        return
    colour, nodes = plain(found.get("status", "unknown")), found.get("number_of_nodes", "?")
    facts["cluster"] = f"{plain(found.get('cluster_name', ''))}: {colour}, {nodes} nodes"
    unassigned = found.get("unassigned_shards", 0)
    if colour == "red":
        summary = "a primary shard is missing: answers leave its documents out"
        remedy = "GET _cluster/allocation/explain says why it is not assigned"
        yield _finding("critical", "cluster", summary, evidence=f"{unassigned} shards unassigned", remedy=remedy)
    elif colour == "yellow":
        summary = f"{unassigned} copies of shards are missing: another node lost would lose data"
        yield _finding("low", "cluster", summary, remedy="GET _cluster/allocation/explain says why")
    elif colour != "green":
        yield _finding("medium", "cluster", f"its state is {colour}", remedy="look at the cluster's own log")


def _blocked(server: Elastic) -> Iterator[Finding]:
    """Indices that take no more writes, such as at the disk's flood stage: what comes in is lost."""
    path = f"/{server.index}/_settings/index.blocks.*"
    try:
        found = server.search.json("GET", path, params={"flat_settings": "true"})
    except SourceError as error:
        yield _finding("info", "indices", "it does not tell which indices take writes", evidence=error.message)
        return
    full, frozen = ([name for name, one in found.items() if _set(one, block)] for block in _BLOCKS)
    if full:
        summary = f"{len(full)} indices take no writes any more: the disk is too full, new documents are refused"
        remedy = f"make room, then set {_FULL} to null"
        yield _finding("high", "indices", summary, evidence=_listed(full), remedy=remedy)
    if frozen:
        summary = f"{len(frozen)} indices are read-only, as lifecycle management makes old ones"
        yield _finding("info", "indices", summary, evidence=_listed(frozen))


def _set(index: Any, block: str) -> bool:
    settings = index.get("settings") if isinstance(index, dict) else None
    return isinstance(settings, dict) and str(settings.get(block, "")).lower() == "true"


def _listed(names: list[str]) -> str:
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return "\n".join([plain(name) for name in sorted(names)[:_SHOWN]] + more)


def _finding(severity: Severity, subject: str, summary: str, *, evidence: str = "", remedy: str = "") -> Finding:
    return Finding(
        severity=severity, subject=subject, summary=summary, evidence=evidence, proof="certain", remedy=remedy
    )
