"""Which pods a Service leads to now, by the EndpointSlices (or Endpoints) that its proxies go by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from sretoolkit.errors import HostError
from sretoolkit.plan import Context
from sretoolkit.rollout.cluster_object import ClusterObject

_GROUP, _SLICES = "discovery.k8s.io", "endpointslices"


def wait_for(ctx: Context, service: ClusterObject, done: Callable[[set[str]], bool], *, late: str) -> set[str]:
    """Watch until the names of the pods that get requests are as wanted; returns them. Raises `HostError` with ``late``."""
    cluster = service.cluster(ctx)
    path, chosen = _place(ctx, service)
    while True:
        listed = cluster.get(path, timeout=min(30, ctx.remaining()), **_query(chosen))
        known = {each["metadata"]["uid"]: each for each in listed["items"]}
        if done(_names(known)):
            return _names(known)
        left = ctx.remaining()
        if left <= 0.2:
            seen = ", ".join(sorted(_names(known))) or "no pod"
            hint = f"{service.kubectl} get endpointslices,pods -o wide"
            raise HostError(f"{service.label}: {late}; it leads to {seen}", host=cluster.name, hint=hint)
        version = str(listed["metadata"]["resourceVersion"])
        for event in cluster.watch(path, version=version, timeout=min(20.0, left), **chosen):
            if event["type"] == "ERROR":
                break
            known[event["object"]["metadata"]["uid"]] = {} if event["type"] == "DELETED" else event["object"]
            if done(_names(known)):
                return _names(known)


def _place(ctx: Context, service: ClusterObject) -> tuple[str, dict[str, str]]:
    cluster = service.cluster(ctx)
    path = cluster.collection(_GROUP, _SLICES, service.namespace)
    if path:
        return path, {"labels": f"kubernetes.io/service-name={service.name}"}
    return f"/api/v1/namespaces/{quote(service.namespace)}/endpoints", {"fields": f"metadata.name={service.name}"}


def _query(chosen: Mapping[str, str]) -> dict[str, str | int]:
    return {{"labels": "labelSelector", "fields": "fieldSelector"}[key]: text for key, text in chosen.items()}


def _names(known: Mapping[str, Mapping[str, Any]]) -> set[str]:
    found = set()
    for each in known.values():
        for endpoint in each.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                found.add(str((endpoint.get("targetRef") or {}).get("name")))
        for subset in each.get("subsets") or ():
            found |= {str((address.get("targetRef") or {}).get("name")) for address in subset.get("addresses") or ()}
    return found
