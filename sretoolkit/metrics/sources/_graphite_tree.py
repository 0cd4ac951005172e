"""The machines that a Graphite knows: by a tag, and by the nodes of paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sretoolkit.errors import SourceError
from sretoolkit.metrics.entity import Entity
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.sources._graphite_target import METRIC, series_of

if TYPE_CHECKING:
    from sretoolkit.metrics.sources.graphite import Graphite

_Found = tuple[str, str, dict[str, str]]


def machines(source: Graphite) -> list[Entity]:
    """One entity a machine: its metrics, and the tags that all its series share."""
    services: dict[str, set[str]] = {}
    shared: dict[str, dict[str, str]] = {}
    for host, service, labels in (*_tagged(source), *_in_paths(source)):
        known = shared.setdefault(host, labels)
        shared[host] = {name: value for name, value in known.items() if labels.get(name) == value}
        services.setdefault(host, set()).add(service)
    return [
        Entity(name=host, services=sorted(services[host] - {""}), labels=shared[host], source=source.name)
        for host in sorted(services)
    ]


def _tagged(source: Graphite) -> Iterator[_Found]:
    found = _listed(source, source.renderer.json("/tags/findSeries", params={"expr": f"{source.host_tag}!="}))
    for path in found:
        name, tags = series_of(path)
        if host := tags.pop(source.host_tag, ""):
            yield host, name, tags


def _in_paths(source: Graphite) -> Iterator[_Found]:
    named = {} if isinstance(source.paths, str) else {text: metric for metric, text in source.paths.items()}
    for template in source.templates:
        if "host" not in template.labels:
            continue
        glob = template.filled(Selector("*"))
        answer = source.renderer.json("/metrics/expand", params={"query": glob, "leavesOnly": 1})
        for path in _listed(source, answer.get("results") if isinstance(answer, dict) else None):
            labels = template.read(path)
            if labels and (host := labels.pop("host")):
                service = labels.pop(METRIC, named.get(template.text, ""))
                yield host, service, labels


def _listed(source: Graphite, found: object) -> Iterable[str]:
    if not isinstance(found, list):
        hint = "does url lead to Graphite itself, not to a proxy's or another page?"
        raise SourceError(f"{source.name} answered something else than Graphite does", source=source.name, hint=hint)
    return [str(path) for path in found]
