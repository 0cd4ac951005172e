"""How the tracks of one service are told apart in a cluster: a workload each, and one label by which their pods differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sretoolkit.errors import PlanError
from sretoolkit.rollout.cluster_object import ClusterObject
from sretoolkit.rollout.workload import CANDIDATE, STABLE

LABEL = "track"
MARK = "sretoolkit.io/track-of"  # an annotation of what we made: of which workload it is a track
_SUFFIX = {CANDIDATE: "canary"}


def workload(context: str, namespace: str, kind: str, name: str) -> ClusterObject:
    """A Deployment or StatefulSet."""
    plural = f"{kind.lower()}s"
    return ClusterObject(
        context=context, namespace=namespace, kind=kind, name=name, group="apps", plural=plural, versions=("v1",)
    )


def service(context: str, namespace: str, name: str) -> ClusterObject:
    """A Service."""
    return ClusterObject(
        context=context, namespace=namespace, kind="Service", name=name, group="", plural="services", versions=("v1",)
    )


def named(name: str, track: str, candidate: str = "") -> str:
    """The name of a track's workload: that of the stable one, ``candidate`` or NAME-canary, NAME-baseline."""
    if track == STABLE:
        return name
    return candidate if track == CANDIDATE and candidate else f"{name}-{_SUFFIX.get(track, track)}"


def value(stable: Mapping[str, str], label: str, track: str) -> str:
    """The label's value on a track's pods, from the labels of the stable ones; "" when those have none.

    ``track: stable`` becomes ``track: candidate``, ``app: web`` becomes ``app: web-candidate``.
    """
    own = stable.get(label, "")
    if track == STABLE:
        return own
    return track if own in ("", STABLE) else f"{own}-{track}"


def labels_of(found: Mapping[str, Any]) -> dict[str, str]:
    """The labels of a workload's pods."""
    return dict(found["spec"]["template"]["metadata"].get("labels") or {})


def chosen(found: Mapping[str, Any]) -> dict[str, str]:
    """The labels by which a workload knows its pods. Raises `PlanError` when it goes by expressions."""
    selector = found["spec"]["selector"]
    if selector.get("matchExpressions"):
        meta = found["metadata"]
        what = f"{found.get('kind', 'the workload')} {meta['namespace']}/{meta['name']} selects its pods by expressions"
        raise PlanError(what, hint="a selector of plain labels (matchLabels) is needed beside a candidate")
    return dict(selector.get("matchLabels") or {})


def query(labels: Mapping[str, str]) -> str:
    """A selector as the API takes it."""
    return ",".join(f"{key}={text}" for key, text in sorted(labels.items()))


def selects(selector: Mapping[str, str] | None, labels: Mapping[str, str]) -> bool:
    """Whether a selector of plain labels takes pods with these; none selects nothing."""
    return bool(selector) and all(labels.get(key) == text for key, text in (selector or {}).items())


def owned(pods: list[dict[str, Any]], found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of pods those of a workload: of its ReplicaSets by their name's beginning, or its own; none that is about to go."""
    name, uid = found["metadata"]["name"], found["metadata"]["uid"]
    return [
        pod
        for pod in pods
        if not pod["metadata"].get("deletionTimestamp")
        and any(
            owner.get("uid") == uid or (owner["kind"] == "ReplicaSet" and owner["name"].rpartition("-")[0] == name)
            for owner in pod["metadata"].get("ownerReferences") or ()
        )
    ]
