"""When a Deployment, StatefulSet or DaemonSet has replaced its pods, and when it must not be touched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sretoolkit.errors import HostError, PlanError
from sretoolkit.hosts import gitops
from sretoolkit.hosts.cluster import Cluster

_WATCH = 20.0  # seconds; a quiet watch is begun anew, so that a connection that died unnoticed is


def refuse(found: Mapping[str, Any], kind: str) -> None:
    """Raise `PlanError` for a workload that somebody else writes, or that does not roll out by itself."""
    meta, spec = found["metadata"], found["spec"]
    name = f"{kind} {meta['namespace']}/{meta['name']}"
    by = gitops.managed_by(found)
    if by:
        raise PlanError(f"{name} is managed by {by}, which would take the change back", hint=gitops.HINT)
    owner = next((each for each in meta.get("ownerReferences") or () if each.get("controller")), None)
    if owner:
        hint = f"change the {owner['kind']} instead"
        raise PlanError(
            f"{name} is made by {owner['kind']} {owner['name']}, which would take the change back", hint=hint
        )
    update = spec.get("updateStrategy") or {}
    if spec.get("paused"):
        raise PlanError(
            f"{name} is paused: its pods would stay as they are",
            hint=f"kubectl rollout resume {kind.lower()}/{meta['name']}",
        )
    if update.get("type") == "OnDelete" or ((update.get("rollingUpdate") or {}).get("partition") or 0) > 0:
        hint = "let it roll out all of its pods (updateStrategy RollingUpdate, partition 0)"
        raise PlanError(f"{name} does not replace its pods by itself", hint=hint)


def wait(cluster: Cluster, path: str, found: Mapping[str, Any], *, timeout: Callable[[], float]) -> None:
    """Return once the object's rollout has come to its end, by watching it; ``timeout`` gives the seconds that are left.

    Raises `HostError` when it fails, when the object goes or is changed once more, and when time is up.
    """
    kind, meta, stale = str(found["kind"]), found["metadata"], failing(found)
    name, wanted = f"{kind} {meta['namespace']}/{meta['name']}", int(meta["generation"])
    while True:
        _judged(found, name, wanted, stale, cluster.name)
        if settled(found):
            return
        if timeout() <= 0.2:
            hint = f"kubectl -n {meta['namespace']} describe pods tells why the new ones are not available"
            raise HostError(f"{name}: the rollout takes too long", host=cluster.name, hint=hint)
        collection, _, last = path.rpartition("/")
        version = str(found["metadata"]["resourceVersion"])
        for event in cluster.watch(collection, version=version, name=last, timeout=min(_WATCH, timeout())):
            if event["type"] == "DELETED":
                raise HostError(f"{name} was deleted during its rollout", host=cluster.name, hint="see who did that")
            if event["type"] == "ERROR":  # the version is too old by now
                break
            found = {"kind": kind, **event["object"]}
            _judged(found, name, wanted, stale, cluster.name)
            if settled(found):
                return
        found = {"kind": kind, **cluster.get(path, timeout=max(1.0, min(30.0, timeout())))}


def _judged(found: Mapping[str, Any], name: str, wanted: int, stale: str, cluster: str) -> None:
    if int(found["metadata"]["generation"]) != wanted:
        hint = "see who (kubectl get -o yaml --show-managed-fields), then plan anew"
        raise HostError(f"{name} was changed by somebody else during its rollout", host=cluster, hint=hint)
    stuck = failing(found)
    if stuck and stuck != stale and observed(found):
        hint = "kubectl describe pods tells why the new ones are not available; the old ones go on"
        raise HostError(f"{name}: the rollout does not get on: {stuck}", host=cluster, hint=hint)


def failing(found: Mapping[str, Any]) -> str:
    """Since when and why a rollout has made no progress; an earlier one's word stays for a while after a change."""
    for condition in (found.get("status") or {}).get("conditions") or ():
        if condition.get("reason") == "ProgressDeadlineExceeded":
            return f"{condition.get('message')} ({condition.get('lastUpdateTime')})"
    return ""


def observed(found: Mapping[str, Any]) -> bool:
    """Whether its controller has seen the object as it is now; before that its status tells of what was."""
    return int((found.get("status") or {}).get("observedGeneration") or 0) >= int(found["metadata"]["generation"])


def settled(found: Mapping[str, Any]) -> bool:
    """Whether every instance is of the present template and available."""
    return observed(found) and SETTLED[str(found["kind"])](found["spec"], found["status"])


def _deployment(spec: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    wanted = int(spec.get("replicas", 1))
    return [wanted] * 3 == [int(status.get(key) or 0) for key in ("updatedReplicas", "availableReplicas", "replicas")]


def _stateful_set(spec: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    wanted, same = int(spec.get("replicas", 1)), status.get("currentRevision") == status.get("updateRevision")
    return same and wanted == int(status.get("readyReplicas") or 0)


def _daemon_set(spec: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    wanted = int(status.get("desiredNumberScheduled") or 0)
    return [wanted] * 2 == [int(status.get(key) or 0) for key in ("updatedNumberScheduled", "numberAvailable")]


SETTLED: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], bool]] = {
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
}
