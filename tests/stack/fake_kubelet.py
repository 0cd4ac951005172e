"""A kubelet without containers: `python -m tests.stack.fake_kubelet KUBECONFIG NODE`.

It registers its node, and says of the pods that are bound to it what a real one would say: they run and are ready after a
tenth of a second, and go at once when they are deleted. An image whose name has one of these words behaves so:
``broken`` is never ready, ``crash`` loops, ``missing`` cannot be pulled, ``slow`` is ready after two seconds. It has no
network, no logs and no exec. All it writes, it writes as that node, which the API server lets change its own pods alone.
"""

from __future__ import annotations

import heapq
import itertools
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sretoolkit.errors import HostError
from sretoolkit.hosts.cluster import Cluster, ClusterError

_READY_AFTER, _SLOW, _GOES_AFTER, _BEAT = 0.1, 2.0, 0.05, 8.0
_WAITING = {
    "crash": ("CrashLoopBackOff", "back-off 10s restarting failed container"),
    "missing": ("ErrImagePull", "no such image"),
}
_FACTS = (
    "architecture",
    "bootID",
    "containerRuntimeVersion",
    "kernelVersion",
    "kubeProxyVersion",
    "kubeletVersion",
    "machineID",
    "operatingSystem",
    "osImage",
    "systemUUID",
)


class FakeKubelet:
    """One node. What is due is done by one thread, in order of time; what is seen comes from another."""

    def __init__(self, kubeconfig: str, node: str) -> None:
        self.cluster = Cluster(kubeconfig=kubeconfig, patience=lambda: 60.0)
        self.node = node
        self._seen: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        self._due: list[tuple[float, int, Callable[[Mapping[str, Any]], None], Mapping[str, Any]]] = []
        self._order = itertools.count()
        self._addresses = itertools.count(2)
        self._known: dict[str, str] = {}

    def run(self) -> None:
        """Until the process ends."""
        self._beat({})
        threading.Thread(target=self._follow, daemon=True).start()
        while True:
            left = self._due[0][0] - time.monotonic() if self._due else _BEAT
            try:
                self._take(self._seen.get(timeout=left) if left > 0 else self._seen.get_nowait())
                continue
            except queue.Empty:
                pass
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, act, about = heapq.heappop(self._due)
                try:
                    act(about)
                except HostError as error:  # it goes on, as a kubelet does
                    print(f"fake kubelet: {error.message}", file=sys.stderr, flush=True)

    def _later(self, seconds: float, act: Callable[[Mapping[str, Any]], None], about: Mapping[str, Any]) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), act, about))

    # ------------------------------------------------------------------ pods

    def _follow(self) -> None:
        mine = f"spec.nodeName={self.node}"
        while True:
            with suppress(HostError):
                listed = self.cluster.get("/api/v1/pods", fieldSelector=mine)
                for pod in listed["items"]:
                    self._seen.put(pod)
                version = listed["metadata"]["resourceVersion"]
                for event in self.cluster.watch("/api/v1/pods", version=version, timeout=300, fields=mine):
                    if event["type"] == "ERROR":
                        break
                    self._seen.put({**event["object"], "gone": event["type"] == "DELETED"})

    def _take(self, pod: Mapping[str, Any]) -> None:
        meta = pod["metadata"]
        known = self._known.get(meta["uid"], "")
        if pod.get("gone"):
            self._known.pop(meta["uid"], None)
        elif meta.get("deletionTimestamp"):
            if known != "going":
                self._known[meta["uid"]] = "going"
                self._later(_GOES_AFTER, self._remove, pod)
        elif not known:
            self._known[meta["uid"]] = "here"
            self._start(pod)

    def _start(self, pod: Mapping[str, Any]) -> None:
        images = " ".join(each["image"] for each in pod["spec"]["containers"])
        address = next(self._addresses)
        started = {**pod, "address": f"10.255.{address // 250}.{address % 250 + 1}"}
        self._later(0, self._say_started, started)
        if not any(word in images for word in ("broken", *_WAITING)):
            self._later(_SLOW if "slow" in images else _READY_AFTER, self._say_ready, started)

    def _say_started(self, pod: Mapping[str, Any]) -> None:
        self._say(pod, ready=False)

    def _say_ready(self, pod: Mapping[str, Any]) -> None:
        self._say(pod, ready=True)

    def _say(self, pod: Mapping[str, Any], *, ready: bool) -> None:
        meta = pod["metadata"]
        if self._known.get(meta["uid"]) != "here":
            return
        status = "True" if ready else "False"
        conditions = [("Initialized", "True"), ("PodScheduled", "True"), ("Ready", status), ("ContainersReady", status)]
        told = {
            "phase": "Pending" if self._waits(pod) else "Running",
            "startTime": _now(),
            "hostIP": "127.0.0.1",
            "podIP": pod["address"],
            "podIPs": [{"ip": pod["address"]}],
            "containerStatuses": [_container(each, ready=ready) for each in pod["spec"]["containers"]],
            "conditions": [_condition(*each) for each in conditions],
        }
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status"
        self._gone_is_fine(lambda: self.cluster.patch(path, {"metadata": {"uid": meta["uid"]}, "status": told}))

    def _waits(self, pod: Mapping[str, Any]) -> bool:
        return any("missing" in each["image"] for each in pod["spec"]["containers"])

    def _remove(self, pod: Mapping[str, Any]) -> None:
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        self._gone_is_fine(lambda: self.cluster.delete(path, uid=meta["uid"], grace=0))

    def _gone_is_fine(self, act: Callable[[], object]) -> None:
        try:
            act()
        except ClusterError as error:
            if error.status not in (404, 409):
                raise

    # ------------------------------------------------------------------ the node

    def _beat(self, _: Mapping[str, Any]) -> None:
        self._later(_BEAT, self._beat, {})
        sizes = {"cpu": "32", "memory": "64Gi", "pods": "500"}
        healthy = [_condition(f"{each}Pressure", "False") for each in ("Memory", "Disk", "PID")]
        status = {
            "conditions": [_condition("Ready", "True"), *healthy],
            "capacity": sizes,
            "allocatable": sizes,
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "nodeInfo": dict.fromkeys(_FACTS, "fake"),
        }
        about = {"name": self.node, "labels": {"kubernetes.io/hostname": self.node}}
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        holds = {"holderIdentity": self.node, "leaseDurationSeconds": 40, "renewTime": f"{_now()[:-1]}.000000Z"}
        for collection, body in (
            ("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": about}),
            (leases, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self.node}}),
        ):
            if self.node not in self._known.get(collection, ""):
                self._gone_is_fine(partial(self.cluster.create, collection, body))
                self._known[collection] = self.node
        self.cluster.patch(f"/api/v1/nodes/{self.node}/status", {"status": status})
        self.cluster.patch(f"{leases}/{self.node}", {"spec": holds})


def _container(container: Mapping[str, Any], *, ready: bool) -> dict[str, Any]:
    image = container["image"]
    waiting = next((told for word, told in _WAITING.items() if word in image), None)
    state = (
        {"waiting": {"reason": waiting[0], "message": waiting[1]}} if waiting else {"running": {"startedAt": _now()}}
    )
    crashed = {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": _now(), "finishedAt": _now()}}
    return {
        "name": container["name"],
        "image": image,
        "imageID": "" if "missing" in image else f"fake://{image}",
        "ready": ready,
        "started": waiting is None,
        "restartCount": 3 if "crash" in image else 0,
        "state": state,
        "lastState": crashed if "crash" in image else {},
    }


def _condition(kind: str, status: str) -> dict[str, str]:
    beat = {} if kind in ("Ready", "Initialized", "ContainersReady", "PodScheduled") else {"lastHeartbeatTime": _now()}
    return {"type": kind, "status": status, "reason": "Fake", "lastTransitionTime": _now(), **beat}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    FakeKubelet(*sys.argv[1:3]).run()
