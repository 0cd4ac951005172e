"""A workload's template: its version, the ConfigMaps and Secrets that belong to it, and a copy of it for another track."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from sretoolkit.errors import PlanError
from sretoolkit.rollout.kubernetes.tracks import MARK, chosen, value
from sretoolkit.rollout.workload import STABLE

_NOT_COPIED = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    "meta.helm.sh/release-name",
    "meta.helm.sh/release-namespace",
)


def container(template: Mapping[str, Any], name: str, label: str) -> dict[str, Any]:
    """The container that has the version: the one of that name, or the only one. Raises `PlanError`."""
    listed: list[dict[str, Any]] = template["spec"]["containers"]
    if not name and len(listed) == 1:
        return listed[0]
    for each in listed:
        if each["name"] == name:
            return each
    what = f"has no container {name!r}" if name else f"has {len(listed)} containers"
    names = ", ".join(each["name"] for each in listed)
    raise PlanError(f"{label} {what}", hint=f"say in which the version is: container = one of {names}")


def tag(version: str) -> str:
    """What names of objects can hold of an image: its tag, or the beginning of its digest."""
    image, _, digest = version.partition("@")
    short = image.rpartition("/")[2].partition(":")[2] or digest.rpartition(":")[2][:12] or "latest"
    return re.sub(r"[^a-z0-9.-]", "-", short.lower()).strip("-.")


def versioned(references: Mapping[str, str], version: str) -> dict[tuple[str, str], str]:
    """Kind and unversioned name to the name for a version; raises `PlanError` for what is no ``Kind/name``."""
    made = {}
    for plain, pattern in references.items():
        (kind, _, name), (same, _, with_version) = plain.partition("/"), pattern.partition("/")
        if kind not in ("ConfigMap", "Secret") or kind != same or not name or "{version}" not in with_version:
            hint = 'write "ConfigMap/web" = "ConfigMap/web-{version}", or the same with Secret'
            raise PlanError(f"the reference {plain} = {pattern} does not fit", hint=hint)
        made[kind, name] = with_version.replace("{version}", tag(version))
    return made


def set_version(
    template: dict[str, Any], version: str, *, name: str, references: Mapping[str, str], label: str
) -> None:
    """Give a template another image, and let it refer to what belongs to that."""
    found = container(template, name, label)
    old, new = versioned(references, str(found["image"])), versioned(references, version)
    names = {(kind, old[kind, plain]): new[kind, plain] for kind, plain in old}
    found["image"] = version
    for kind, holder, key in _references(template["spec"]):
        holder[key] = names.get((kind, holder[key]), holder[key])


def with_version(
    template: Mapping[str, Any], version: str, *, name: str, references: Mapping[str, str], label: str
) -> dict[str, Any]:
    """The same of a copy."""
    changed = deepcopy(dict(template))
    set_version(changed, version, name=name, references=references, label=label)
    return changed


def refers_to(template: dict[str, Any]) -> set[tuple[str, str]]:
    """Kind and name of every ConfigMap and Secret that a template's pods cannot start without."""
    return {
        (kind, str(holder[key])) for kind, holder, key in _references(template["spec"]) if not holder.get("optional")
    }


def copied(stable: Mapping[str, Any], *, name: str, label: str, track: str, replicas: int) -> dict[str, Any]:
    """A workload like the stable one under another name, whose pods it tells apart by one label; owned by nobody."""
    meta, spec = stable["metadata"], deepcopy(stable["spec"])
    own = {label: value(spec["template"]["metadata"].get("labels") or {}, label, track)}
    kept = {key: text for key, text in (meta.get("annotations") or {}).items() if key not in _NOT_COPIED}
    spec["replicas"] = replicas
    spec["selector"] = {"matchLabels": {**chosen(stable), **own}}
    spec["template"]["metadata"]["labels"] = {**(spec["template"]["metadata"].get("labels") or {}), **own}
    return {
        "apiVersion": "apps/v1",
        "kind": stable["kind"],
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": {**(meta.get("labels") or {}), **own},
            "annotations": {**kept, MARK: f"{meta['name']} {track}"},
        },
        "spec": spec,
    }


def ours(found: Mapping[str, Any], name: str, track: str) -> bool:
    """Whether we made a workload, as that track of that one; the stable one is nobody's copy."""
    return track == STABLE or (found["metadata"].get("annotations") or {}).get(MARK) == f"{name} {track}"


def _references(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Where a pod's specification names ConfigMaps and Secrets: the kind, and the mapping with its key."""
    for volume in spec.get("volumes") or ():
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"], "name"
        if "secret" in volume:
            yield "Secret", volume["secret"], "secretName"
        for source in (volume.get("projected") or {}).get("sources") or ():
            for kind, key in (("ConfigMap", "configMap"), ("Secret", "secret")):
                if key in source:
                    yield kind, source[key], "name"
    for each in [*(spec.get("initContainers") or ()), *spec["containers"]]:
        for variable in each.get("env") or ():
            for kind, key in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
                if key in (variable.get("valueFrom") or {}):
                    yield kind, variable["valueFrom"][key], "name"
        for group in each.get("envFrom") or ():
            for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                if key in group:
                    yield kind, group[key], "name"
