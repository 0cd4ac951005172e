"""What stands around a workload and must be respected: autoscalers, disruption budgets, quotas, Services, ConfigMaps.

Whoever may not read one of them gets a finding instead: what was not seen is not fine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from sretoolkit.errors import HostError, PlanError
from sretoolkit.hosts.cluster import ClusterError
from sretoolkit.plan import Context
from sretoolkit.report import Finding
from sretoolkit.rollout.cluster_object import ClusterObject
from sretoolkit.rollout.kubernetes import pods as told
from sretoolkit.rollout.kubernetes.quantities import quantity, share_of
from sretoolkit.rollout.kubernetes.template import refers_to
from sretoolkit.rollout.kubernetes.tracks import owned, query


@dataclass(kw_only=True)
class Surroundings:
    """The surroundings of one workload; ``findings`` grow with what is seen, and with what may not be seen."""

    ctx: Context
    thing: ClusterObject
    findings: list[Finding] = field(default_factory=list)

    def listed(self, group: str, plural: str, what: str, *, labels: str = "") -> Sequence[dict[str, Any]]:
        """The objects of a kind in the namespace; () where they may not be read (a finding) or are not served."""
        cluster = self.thing.cluster(self.ctx)
        core = f"/api/v1/namespaces/{quote(self.thing.namespace)}/{plural}"
        try:
            path = cluster.collection(group, plural, self.thing.namespace) if group else core
            chosen: dict[str, Any] = {"labelSelector": labels} if labels else {}
            return cluster.items(path, timeout=min(30, self.ctx.remaining()), **chosen) if path else ()
        except ClusterError as error:
            if error.status != 403:
                raise
            self.note("medium", f"it cannot be told {what}: {error.message}", "ask for leave to list them", "unseen")
            return ()

    def note(self, severity: Any, summary: str, remedy: str, rule: str) -> None:
        """One more finding about the workload."""
        self.findings.append(
            Finding(severity=severity, subject=self.thing.label, summary=summary, remedy=remedy, rule=f"rollout-{rule}")
        )

    def autoscaler(self) -> str:
        """The name of the HorizontalPodAutoscaler that sets its replicas, "" when none does."""
        listed = self.listed("autoscaling", "horizontalpodautoscalers", "whether an autoscaler sets the replicas")
        for each in listed:
            target = each["spec"]["scaleTargetRef"]
            if (target["kind"], target["name"]) == (self.thing.kind, self.thing.name):
                return str(each["metadata"]["name"])
        return ""

    def budgets(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """The PodDisruptionBudgets that cover pods with these labels."""
        listed = self.listed("policy", "poddisruptionbudgets", "whether a disruption budget holds")
        return [each for each in listed if _matches(each["spec"].get("selector"), labels)]

    def refuse_dip(self, found: Mapping[str, Any], labels: Mapping[str, str]) -> None:
        """Raise `PlanError` when the workload's own way to replace pods may take more of them away than a budget allows."""
        replicas, least = int(found["spec"].get("replicas", 1)), _least_available(found)
        for budget in self.budgets(labels):
            needed = _needed(budget["spec"], replicas)
            if replicas and least < needed:
                name = budget["metadata"]["name"]
                what = f"{self.thing.label} may be down to {least} of {replicas} pods while it is replaced"
                hint = f"set its maxUnavailable to {max(0, replicas - needed)}, or give it more replicas"
                raise PlanError(f"{what}, PodDisruptionBudget {name} asks for {needed}", hint=hint)

    def refuse_drain(self, found: Mapping[str, Any], labels: Mapping[str, str], leave: int) -> None:
        """Raise `HostError` when fewer replicas would break a budget that holds now; its other pods count too."""
        going = int(found["spec"].get("replicas", 1)) - leave
        for budget in self.budgets(labels) if going > 0 else ():
            selector = budget["spec"]["selector"].get("matchLabels") or {}
            pods = self.listed("", "pods", "how many pods are ready", labels=query(selector))
            unready = sum(not told.ready(pod) for pod in owned(list(pods), found))  # these go first
            stay = sum(told.ready(pod) for pod in pods) - max(0, going - unready)
            needed = _needed(budget["spec"], len(pods) - going)
            if stay < needed and isinstance(budget["spec"].get("minAvailable"), int):
                name = budget["metadata"]["name"]
                what = f"{self.thing.label}: with {leave} replicas {stay} pods stay ready"
                hint = "let others become ready first, or change the budget; nothing was scaled"
                told_by = f"PodDisruptionBudget {name} asks for {needed}"
                raise HostError(f"{what}, {told_by}", host=self.thing.cluster(self.ctx).name, hint=hint)

    def quota(self, template: Mapping[str, Any], replicas: int) -> None:
        """Refuse when a quota lets no further pod be made; a finding when it lets fewer than ``replicas`` be made."""
        for each in self.listed("", "resourcequotas", "whether a quota leaves room"):
            if each["spec"].get("scopes") or each["spec"].get("scopeSelector"):
                continue
            for resource, fits in _room(each.get("status") or {}, template["spec"]):
                name = each["metadata"]["name"]
                about = f"the quota {name} leaves room for {fits} more pods ({resource})"
                hint = "ask for a larger quota, or end what is not needed (kubectl describe quota)"
                if fits < 1:
                    raise PlanError(f"{self.thing.label} can have no candidate: {about}", hint=hint)
                if fits < replicas:
                    self.note("medium", f"{about}, a whole second set needs {replicas}", hint, "quota")

    def images(self, pods: Iterable[Mapping[str, Any]], container: str, version: str) -> None:
        """What is known of the old image, which an undo needs: which pods run it, and whether they all run the same."""
        running = [
            status.get("imageID", "")
            for pod in pods
            if told.ready(pod)
            for status in (pod.get("status") or {}).get("containerStatuses") or ()
            if status["name"] == container
        ]
        if not running:
            what = f"no ready pod runs {version}: whether a registry still has that image cannot be told from here"
            self.note("high", what, "make sure that it can be pulled: going back needs it", "old-image")
        elif len(set(running)) > 1:
            what = f"{version} is not one image: its pods run {len(set(running))} different ones"
            self.note("medium", what, "give versions tags that do not move, or digests", "moved-tag")

    def references(self, template: dict[str, Any]) -> None:
        """Raise `PlanError` for a ConfigMap or Secret that the pods of a template need and that is not there."""
        for kind, name in sorted(refers_to(template)):
            place = f"/api/v1/namespaces/{quote(self.thing.namespace)}/{kind.lower()}s/{quote(name)}"
            try:
                if not self.thing.cluster(self.ctx).has(place, timeout=min(30, self.ctx.remaining())):
                    hint = f"make it first: the pods of the new version cannot start without it ({self.thing.kubectl})"
                    raise PlanError(f"{kind} {self.thing.namespace}/{name} is not there", hint=hint)
            except ClusterError as error:
                if error.status != 403:
                    raise
                self.note(
                    "medium", f"it cannot be told whether {kind} {name} is there", "look for it by hand", "unseen"
                )


def _room(status: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
    """For each resource of a quota how many pods with that specification fit into what is left."""
    hard, used = status.get("hard") or {}, status.get("used") or {}
    for resource, most in hard.items():
        each = _of_pod(resource, spec)
        left = quantity(most) - quantity(used.get(resource, 0))
        if each > 0 and not math.isnan(left):
            yield resource, max(0, math.floor(left / each + 1e-9))


def _of_pod(resource: str, spec: Mapping[str, Any]) -> float:
    if resource in ("pods", "count/pods"):
        return 1.0
    kind, _, name = resource.rpartition(".")
    kind, name = (kind, name) if kind in ("requests", "limits") else ("requests", resource)
    asked = ((each.get("resources") or {}).get(kind) or {} for each in spec["containers"])
    return math.fsum(value for each in asked if not math.isnan(value := quantity(each.get(name, 0))))


def _matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    wanted = (selector or {}).get("matchLabels") or {}
    return bool(wanted) and all(labels.get(key) == text for key, text in wanted.items())


def _needed(spec: Mapping[str, Any], whole: int) -> int:
    if spec.get("minAvailable") is not None:
        return share_of(spec["minAvailable"], whole, up=True)
    return whole - share_of(spec.get("maxUnavailable", 0), whole, up=True)


def _least_available(found: Mapping[str, Any]) -> int:
    """How few pods a workload may leave while it replaces them."""
    replicas = int(found["spec"].get("replicas", 1))
    if found.get("kind") == "StatefulSet":
        return replicas - 1
    strategy = found["spec"].get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0
    rolling = strategy.get("rollingUpdate") or {}
    away = share_of(rolling.get("maxUnavailable", "25%"), replicas, up=False)
    if not away and not share_of(rolling.get("maxSurge", "25%"), replicas, up=True):
        away = 1  # it would never get on, so Kubernetes takes one away
    return replicas - away
