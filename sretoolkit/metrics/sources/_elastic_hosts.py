"""The machines that wrote to a cluster, as Beats, agents and Logstash name them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sretoolkit.errors import NoData, SourceError
from sretoolkit.metrics.entity import Entity
from sretoolkit.metrics.sources._elastic_fields import Fields, shown
from sretoolkit.metrics.sources._elastic_search import Remarks

if TYPE_CHECKING:
    from sretoolkit.metrics.sources.elastic import Elastic

_HOSTS = ("host.name", "host.hostname", "agent.name", "beat.hostname", "hostname", "host")
_SERVICES = ("service.name", "data_stream.dataset", "event.dataset", "service")
_ADDRESS = "host.ip"
_BACK = timedelta(days=1)
_PAGE = 1_000


def machines(source: Elastic) -> list[Entity]:
    """One entity a machine of the last day, with its services and address; none where no field names machines."""
    fields = Fields(source)
    candidates = (source.host_field,) if source.host_field else _HOSTS
    try:
        fields.learn([*candidates, *_SERVICES, _ADDRESS], "")
    except NoData:
        return []
    host, service = _first(fields, candidates), _first(fields, _SERVICES)
    if not host:
        return []
    now = round(source.clock.now().timestamp() * 1000)
    body = {
        "size": 0,
        "track_total_hits": False,
        "query": source.between(now - _BACK // timedelta(milliseconds=1), now),
    }
    sources: list[dict[str, Any]] = [{"host": {"terms": {"field": host}}}]
    sources += [{"service": {"terms": {"field": service, "missing_bucket": True}}}] if service else []
    aggs = {"address": {"terms": {"field": _ADDRESS, "size": 1}}} if _first(fields, (_ADDRESS,)) else {}
    services: dict[str, set[str]] = {}
    addresses: dict[str, str] = {}
    remarks = Remarks()
    for bucket in source.search.groups(source.index, body, {"size": _PAGE, "sources": sources}, aggs, remarks, ""):
        name = shown(bucket["key"]["host"])
        services.setdefault(name, set()).add(shown(bucket["key"].get("service")))
        for found in bucket.get("address", {}).get("buckets", []):
            addresses.setdefault(name, shown(found["key"]))
    if not remarks.complete:
        text = f"{source.name} gave only a part of its machines: {'; '.join(remarks.warnings)}"
        raise SourceError(text, source=source.name, hint="look at the cluster's health")
    return [
        Entity(name=name, address=addresses.get(name, ""), services=sorted(services[name] - {""}), source=source.name)
        for name in sorted(services)
        if name
    ]


def _first(fields: Fields, names: tuple[str, ...]) -> str:
    """The first of the names that can be grouped by."""
    for name in names:
        for candidate in (name, f"{name}.keyword"):
            kinds = fields.known.get(candidate, {})
            if kinds and all(kind.get("aggregatable") for kind in kinds.values()):
                return candidate
    return ""
