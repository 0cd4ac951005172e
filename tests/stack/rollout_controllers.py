"""Stand-ins for controllers that cannot run here: each writes the status of one object as the real one documents it.

They work on a real API server, by watching the object and patching its status. An image with "broken" in its name fails.
"""

from __future__ import annotations

import hashlib
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

from sretoolkit.clock import poll
from sretoolkit.hosts.cluster import Cluster, ClusterError
from sretoolkit.rollout.json_patch import operations

_NOW = "2026-01-01T00:00:00Z"


class Controller(ABC):
    """A thread that brings one object's status on, step by step, until the object asks for nothing more."""

    collection: ClassVar[str]

    def __init__(self, kubeconfig: Path, namespace: str, name: str) -> None:
        self.cluster = Cluster(kubeconfig=str(kubeconfig))
        self.namespace = namespace
        self.path = f"{self.collection.format(namespace)}/{name}"
        self.name = name
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=10)
        self.cluster.close()

    @abstractmethod
    def next(self, found: dict[str, Any]) -> dict[str, Any]:
        """The status that follows; the same when nothing is to be done."""

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                found = self.cluster.get(self.path)
                status = self.next(found)
                if status != (found.get("status") or {}):
                    self._write(found, status)
                    continue
            except ClusterError as error:
                if error.status != 409:  # somebody else wrote meanwhile: look again
                    raise
                continue
            poll(partial(self._touched, found), timeout=60, interval=0.02)

    def _touched(self, found: Mapping[str, Any]) -> bool:
        version = found["metadata"]["resourceVersion"]
        seen = self.cluster.get(self.path)["metadata"]["resourceVersion"]
        return self._ended.is_set() or bool(seen != version) or self.otherwise()

    def otherwise(self) -> bool:
        """Whether something else than the object calls for a look."""
        return False

    def _write(self, found: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        version = found["metadata"]["resourceVersion"]
        same = {"op": "replace", "path": "/metadata/resourceVersion", "value": version}
        steps = operations({"status": found.get("status")} if found.get("status") else {}, {"status": status})
        self.cluster.patch_json(f"{self.path}/status", [same, *steps])


class ArgoRollouts(Controller):
    """Argo Rollouts for one Rollout: hashes of pods, pauses, promotion, abort; a ReplicaSet without pods for each revision."""

    collection = "/apis/argoproj.io/v1alpha1/namespaces/{}/rollouts"

    def next(self, found: dict[str, Any]) -> dict[str, Any]:
        """What the controller writes next."""
        spec, old = found["spec"], found.get("status") or {}
        new = {**old, "observedGeneration": str(found["metadata"]["generation"])}
        new.pop("message", None)  # an empty one is left out
        pods = _hash(spec["template"])
        steps = spec["strategy"]["canary"].get("steps") or []
        if pods != old.get("currentPodHash"):
            self._replica_set(found, pods)
            for key in ("abort", "pauseConditions", "promoteFull"):
                new.pop(key, None)
            new |= {"currentPodHash": pods, "currentStepIndex": 0, "controllerPause": False}
            new |= {"phase": "Progressing", "message": "more replicas need to be updated"}
            if old.get("stableRS") in (None, pods):
                return {**new, "stableRS": pods, "currentStepIndex": len(steps), "phase": "Healthy"}
            return new
        if pods == old.get("stableRS"):
            return {**new, "phase": "Healthy"}
        if old.get("abort"):
            new.pop("pauseConditions", None)
            said = "RolloutAborted: Rollout aborted update to revision 2"
            return {**new, "controllerPause": False, "currentStepIndex": 0, "phase": "Degraded", "message": said}
        if "broken" in spec["template"]["spec"]["containers"][0]["image"]:
            said = f'ProgressDeadlineExceeded: ReplicaSet "{self.name}-{pods}" has timed out progressing.'
            return {**new, "phase": "Degraded", "message": said}
        return self._stepped(new, spec, steps)

    def _stepped(self, new: dict[str, Any], spec: Mapping[str, Any], steps: list[dict[str, Any]]) -> dict[str, Any]:
        at = new.get("currentStepIndex", 0)
        if new.get("promoteFull") or at >= len(steps):
            new.pop("promoteFull", None)
            return {
                **new,
                "stableRS": new["currentPodHash"],
                "currentStepIndex": len(steps),
                "phase": "Healthy",
            }
        if spec.get("paused"):
            return {**new, "phase": "Paused", "message": "manually paused"}
        if new.get("pauseConditions"):
            return {**new, "phase": "Paused", "message": "CanaryPauseStep"}
        if "pause" in steps[at] and not new.get("controllerPause"):
            paused = [{"reason": "CanaryPauseStep", "startTime": _NOW}]
            return {
                **new,
                "controllerPause": True,
                "pauseConditions": paused,
                "phase": "Paused",
                "message": "CanaryPauseStep",
            }
        said = {"phase": "Progressing", "message": "more replicas need to be updated"}
        return {**new, "controllerPause": False, "currentStepIndex": at + 1, **said}

    def _replica_set(self, found: Mapping[str, Any], pods: str) -> None:
        collection = f"/apis/apps/v1/namespaces/{self.namespace}/replicasets"
        there = [each["metadata"]["name"] for each in self.cluster.items(collection)]
        name = f"{self.name}-{pods}"
        if name in there:
            return
        meta, labels = found["metadata"], {"app": self.name, "rollouts-pod-template-hash": pods}
        owner = {key: found[key] for key in ("apiVersion", "kind")} | {
            "name": self.name,
            "uid": meta["uid"],
            "controller": True,
        }
        marks = {"rollout.argoproj.io/revision": str(len(there) + 1)}
        template = {"metadata": {"labels": labels}, "spec": found["spec"]["template"]["spec"]}
        body = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"name": name, "labels": labels, "annotations": marks, "ownerReferences": [owner]},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
        }
        self.cluster.create(collection, body)


class FlaggerOperator(Controller):
    """Flagger for one Canary of a Deployment: analysis, the gate before the promotion, the copy to the primary.

    ``gate`` is what the webhook confirm-promotion says.
    """

    collection = "/apis/flagger.app/v1beta1/namespaces/{}/canaries"

    def __init__(self, kubeconfig: Path, namespace: str, name: str) -> None:
        super().__init__(kubeconfig, namespace, name)
        self.gate = threading.Event()
        self._deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        self._seen = ""

    def next(self, found: dict[str, Any]) -> dict[str, Any]:
        """What Flagger writes next: it looks at the target at each tick."""
        old = found.get("status") or {}
        target = self.cluster.get(f"{self._deployments}/{found['spec']['targetRef']['name']}")
        template = target["spec"]["template"]
        now = self._seen = _hash(template)
        phase = old.get("phase", "")
        if not phase:
            self._promote(target)
            return {"phase": "Initialized", "lastAppliedSpec": now, "lastPromotedSpec": now, "canaryWeight": 0}
        if now not in (old["lastAppliedSpec"], old["lastPromotedSpec"]):  # going back to what is promoted is no change
            return {**old, "phase": "Progressing", "lastAppliedSpec": now, "canaryWeight": 10, "failedChecks": 0}
        return self._advanced(old, found, target, template)

    def _advanced(
        self, old: dict[str, Any], found: Mapping[str, Any], target: Mapping[str, Any], template: Mapping[str, Any]
    ) -> dict[str, Any]:
        gated = any(hook.get("type") == "confirm-promotion" for hook in found["spec"]["analysis"].get("webhooks") or ())
        phase = old["phase"]
        if phase in ("Progressing", "WaitingPromotion") and "broken" in template["spec"]["containers"][0]["image"]:
            said = "Canary analysis failed, Deployment scaled to zero."
            return {**old, "phase": "Failed", "canaryWeight": 0, "conditions": [_condition("False", "Failed", said)]}
        if phase in ("Progressing", "WaitingPromotion") and gated and not self.gate.is_set():
            return {**old, "phase": "WaitingPromotion"}
        if phase in ("Progressing", "WaitingPromotion"):
            return {**old, "phase": "Promoting", "canaryWeight": 50}
        if phase == "Promoting":
            self._promote(target)
            return {**old, "phase": "Finalising", "canaryWeight": 0, "lastPromotedSpec": self._seen}
        if phase == "Finalising":
            said = "Canary analysis completed successfully, promotion finished."
            return {**old, "phase": "Succeeded", "conditions": [_condition("True", "Succeeded", said)]}
        return old

    def otherwise(self) -> bool:
        """The target was changed, or the gate was opened."""
        found = self.cluster.get(self.path)
        target = self.cluster.get(f"{self._deployments}/{found['spec']['targetRef']['name']}")
        waits = (found.get("status") or {}).get("phase") == "WaitingPromotion"
        return _hash(target["spec"]["template"]) != self._seen or (waits and self.gate.is_set())

    def _promote(self, target: Mapping[str, Any]) -> None:
        name = f"{target['metadata']['name']}-primary"
        there = [each["metadata"]["name"] for each in self.cluster.items(self._deployments)]
        if name in there:
            containers = target["spec"]["template"]["spec"]["containers"]
            change = {
                "spec": {
                    "template": {
                        "spec": {"containers": [{key: each[key] for key in ("name", "image")} for each in containers]}
                    }
                }
            }
            self.cluster.patch(f"{self._deployments}/{name}", change)
            return
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": target["spec"]["template"]["spec"]}
        spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
        body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
        self.cluster.create(self._deployments, body)


class GatewayController(Controller):
    """A Gateway's controller for one HTTPRoute: it accepts each generation, or refuses for the ``reason`` given."""

    collection = "/apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes"

    def __init__(self, kubeconfig: Path, namespace: str, name: str, *, reason: str = "") -> None:
        super().__init__(kubeconfig, namespace, name)
        self.reason = reason

    def next(self, found: dict[str, Any]) -> dict[str, Any]:
        """The conditions for its generation."""
        return route_status(int(found["metadata"]["generation"]), self.reason)


def route_status(generation: int, reason: str = "") -> dict[str, Any]:
    """The status of an HTTPRoute whose controller has seen that generation."""
    told = [
        ("Accepted", "True", "Accepted", "Route is accepted"),
        ("ResolvedRefs", "False" if reason else "True", reason or "ResolvedRefs", reason or "All is resolved"),
    ]
    conditions = [
        {
            "type": kind,
            "status": status,
            "reason": why,
            "message": said,
            "observedGeneration": generation,
            "lastTransitionTime": _NOW,
        }
        for kind, status, why, said in told
    ]
    parent = {"parentRef": {"name": "edge"}, "controllerName": "example.com/gateway", "conditions": conditions}
    return {"parents": [parent]}


def _hash(template: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def _condition(status: str, reason: str, message: str) -> dict[str, Any]:
    times = {"lastTransitionTime": _NOW, "lastUpdateTime": _NOW}
    return {"type": "Promoted", "status": status, "reason": reason, "message": message, **times}
