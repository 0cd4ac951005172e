"""Revisions of a workload that its cluster still keeps: ReplicaSets of a Deployment, ControllerRevisions of a StatefulSet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sretoolkit.rollout.json_patch import operations
from sretoolkit.rollout.kubernetes.template import container
from sretoolkit.rollout.workload import Revision

_CAUSE, _NUMBER = "kubernetes.io/change-cause", "deployment.kubernetes.io/revision"
_NOT_CHANGES = ("/metadata/labels/pod-template-hash", "/metadata/creationTimestamp", "/$patch")


def revisions(found: Mapping[str, Any], kept: Sequence[Mapping[str, Any]], name: str, label: str) -> list[Revision]:
    """Those of a workload, newest first, without the present one; of ``changes`` only places are told, no values.

    A value may be a secret; images alone are told. ``kept``: the ReplicaSets or ControllerRevisions of the namespace.
    """
    uid = found["metadata"]["uid"]
    mine = [
        each for each in kept if any(owner.get("uid") == uid for owner in each["metadata"].get("ownerReferences", ()))
    ]
    ordered = sorted(mine, key=_number, reverse=True)
    now = found["spec"]["template"]
    told: list[Revision] = []
    for place, each in enumerate(ordered):
        template = _template(each)
        newer = _template(ordered[place - 1]) if place else now
        version = str(container(template, name, label)["image"])
        if list(_changes(template, now)) == []:
            continue
        cause = (each["metadata"].get("annotations") or {}).get(_CAUSE)
        changes = (*([f"change cause: {cause}"] if cause else []), *_changes(template, newer))
        at = str(each["metadata"].get("creationTimestamp", ""))
        told.append(Revision(number=_number(each), version=version, at=at, changes=changes))
    return told


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """In which way the newer template differs."""
    for each in operations(old, new):
        path = each["path"]
        if path.startswith(_NOT_CHANGES):
            continue
        value = each.get("value")
        yield f"image to {value}" if path.endswith("/image") and isinstance(value, str) else f"{each['op']} {path}"


def _number(each: Mapping[str, Any]) -> int:
    return int(each.get("revision") or (each["metadata"].get("annotations") or {}).get(_NUMBER) or 0)


def _template(each: Mapping[str, Any]) -> dict[str, Any]:
    held = each["spec"] if each.get("spec") else each["data"]["spec"]
    found: dict[str, Any] = held["template"]
    return found
