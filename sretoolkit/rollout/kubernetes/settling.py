"""Waiting for a workload: until its pods are there, or are gone, or it is known that they will not be. By watching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from sretoolkit.errors import HostError
from sretoolkit.hosts import gitops
from sretoolkit.hosts.cluster import MANAGER, ClusterError
from sretoolkit.hosts.cluster_watches import Watched, Watches
from sretoolkit.hosts.kubernetes_workloads import failing, observed, settled
from sretoolkit.plan import Context
from sretoolkit.rollout.cluster_object import ClusterObject
from sretoolkit.rollout.kubernetes import pods as told
from sretoolkit.rollout.kubernetes.quantities import share_of
from sretoolkit.rollout.kubernetes.tracks import owned, query


class Settling:
    """One workload, from a change on. ``growing``: pods have to come and be ready; else some have to go, and no more."""

    def __init__(
        self, ctx: Context, thing: ClusterObject, found: Mapping[str, Any], *, growing: bool, partition: int = 0
    ) -> None:
        self.ctx = ctx
        self.thing = thing
        self.growing = growing
        self.partition = partition
        self._found: dict[str, Any] = {**found, "kind": thing.kind}
        self._template = found["spec"]["template"]
        self._stale = failing(self._found)
        self._pods: dict[str, dict[str, Any]] = {}

    def wait(self) -> None:
        """Return when it is done. Raises `HostError` at once when it cannot be, with what the cluster says, and when late."""
        cluster, selector = self.thing.cluster(self.ctx), query(self._found["spec"]["selector"]["matchLabels"])
        while not self._done():
            lists = [Watched(path=self.thing.collection(self.ctx), version=self._version(), name=self.thing.name)]
            version = self._list(selector)
            if self._done():
                return
            if version:
                lists.append(Watched(path=self._path, version=version, labels=selector))
            with Watches(cluster, lists) as watches:
                while not watches.ended:
                    left = self.ctx.remaining()
                    if left <= 0.2:
                        raise self._error("it takes too long", told.unready(self._mine()))
                    event = watches.next(left)
                    if event and self._take(*event):
                        return
            self._found = {**self.thing.read(self.ctx), "kind": self.thing.kind}

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{quote(self.thing.namespace)}/pods"

    def _version(self) -> str:
        return str(self._found["metadata"]["resourceVersion"])

    def _list(self, selector: str) -> str:
        """Read the pods; "" when that is not allowed: then only the workload itself tells how it goes."""
        try:
            seconds = min(30, self.ctx.remaining())
            listed = self.thing.cluster(self.ctx).get(self._path, labelSelector=selector, timeout=seconds)
        except ClusterError as error:
            if error.status == 403:
                return ""
            raise
        self._pods = {pod["metadata"]["uid"]: pod for pod in listed["items"]}
        return str(listed["metadata"]["resourceVersion"])

    def _take(self, place: int, event: Mapping[str, Any]) -> bool:
        thing = event["object"]
        if place == 1:
            self._pods[thing["metadata"]["uid"]] = thing
            if event["type"] == "DELETED":
                del self._pods[thing["metadata"]["uid"]]
        elif event["type"] == "DELETED":
            raise self._error("it was deleted meanwhile", "")
        else:
            self._found = {**thing, "kind": self.thing.kind}
        return self._done()

    def _done(self) -> bool:
        found = self._found
        if found["spec"]["template"] != self._template:
            by = gitops.last_writer(found, but=MANAGER)
            hint = f"{self.thing.kubectl} get {self.thing.resource} -o yaml --show-managed-fields tells more; then plan anew"
            raise self._error(f"its template was changed by {by or 'somebody else'} meanwhile", "", hint)
        if not observed(found):
            return False
        if not self.growing:
            return int((found.get("status") or {}).get("replicas") or 0) <= _most(found)
        if self._is_settled():
            return True
        wrong = failing(found)
        if wrong and wrong != self._stale:
            raise self._error(wrong, told.unready(self._mine()))
        if reason := _forbidden(found) or told.stuck(self._mine()):
            raise self._error(reason, "")
        return False

    def _is_settled(self) -> bool:
        found, status = self._found, self._found.get("status") or {}
        if self.thing.kind != "StatefulSet":
            return settled(found)
        wanted, new = int(found["spec"].get("replicas", 1)), status.get("updateRevision")
        late = [
            pod
            for pod in owned(list(self._pods.values()), found)
            if ordinal(pod) >= self.partition and pod["metadata"]["labels"].get("controller-revision-hash") != new
        ]
        here = len(owned(list(self._pods.values()), found))
        return not late and wanted == here == int(status.get("readyReplicas") or 0) == int(status.get("replicas") or 0)

    def _mine(self) -> list[dict[str, Any]]:
        """The pods of the present template."""
        mine = owned(list(self._pods.values()), self._found)
        return [pod for pod in mine if told.of_template(pod, self._template)]

    def _error(self, what: str, why: str, hint: str = "") -> HostError:
        hint = hint or f"{self.thing.kubectl} describe pods, and logs --previous, tell more; the old pods go on"
        said = f"{self.thing.label}: {what}{f': {why}' if why else ''}"
        return HostError(said, host=self.thing.cluster(self.ctx).name, hint=hint)


def gone(ctx: Context, thing: ClusterObject) -> None:
    """Return once a deleted workload is gone, with its pods. Raises `HostError` when that takes too long."""
    cluster = thing.cluster(ctx)
    while (found := thing.find(ctx)) is not None:
        left = ctx.remaining()
        if left <= 0.2:
            hint = f"{thing.kubectl} get pods: which of them does not end?"
            raise HostError(f"{thing.label} is not gone in time", host=cluster.name, hint=hint)
        version = str(found["metadata"]["resourceVersion"])
        for event in cluster.watch(thing.collection(ctx), version=version, name=thing.name, timeout=min(20.0, left)):
            if event["type"] == "DELETED":
                return
            if event["type"] == "ERROR":
                break


def ordinal(pod: Mapping[str, Any]) -> int:
    """The number of a StatefulSet's pod."""
    number = str(pod["metadata"]["name"]).rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _most(found: Mapping[str, Any]) -> int:
    """How many pods there may be: in a change of version that does not come to its end those of its surge stay."""
    wanted, status = int(found["spec"].get("replicas", 1)), found.get("status") or {}
    rolling = (found["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    if not wanted or int(status.get("updatedReplicas") or 0) == int(status.get("replicas") or 0):
        return wanted
    return wanted + share_of(rolling.get("maxSurge", 0), wanted, up=True)


def _forbidden(found: Mapping[str, Any]) -> str:
    """Why pods cannot be made (a quota, an admission hook), where no old ones are about to make room; "" when they can."""
    status = found.get("status") or {}
    rolling = (found["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    makes_room = rolling.get("maxUnavailable") not in (0, "0%", None) and int(status.get("replicas") or 0) > int(
        status.get("updatedReplicas") or 0
    )
    for condition in status.get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True" and not makes_room:
            return f"{condition.get('reason')}: {condition.get('message')}"
    return ""
