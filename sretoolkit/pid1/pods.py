"""What the API server knows of the containers of a cluster: how each is started and stopped, how it ended the last time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sretoolkit.hosts.cluster import Cluster, ClusterError
from sretoolkit.pid1.signals import name as signal_name
from sretoolkit.pid1.workload import Workload

_GRACE = 30.0  # seconds; the API server's default
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HASH = "pod-template-hash"


@dataclass(frozen=True)
class End:
    """How a container ended: its exit code, the kubelet's reason, when (UTC, as the API writes it)."""

    exit_code: int
    reason: str
    at: str

    @property
    def killed(self) -> bool:
        """Whether it was killed, and not for its use of memory."""
        return self.exit_code == 137 and self.reason != "OOMKilled"


@dataclass(frozen=True, kw_only=True)
class Container:
    """One container of a pod. ``signal_known``: its stop signal is known, not assumed.

    ``probed``: the kubelet may restart it; ``leaving``: its pod is being deleted. ``controller`` is ``KIND/NAME``, of the
    Deployment rather than its ReplicaSet; a pod without one is its own.
    """

    workload: Workload
    namespace: str
    pod: str
    name: str
    controller: str
    running: bool
    restarts: int
    ends: tuple[End, ...]
    signal_known: bool
    probed: bool
    leaving: bool = False


def containers(cluster: Cluster, namespace: str = "") -> list[Container]:
    """Those of a namespace ("" = of all), init containers that stay included; raises `ClusterError` or `Unreachable`."""
    scope = f"/namespaces/{namespace}" if namespace else ""
    pods = cluster.items(f"/api/v1{scope}/pods")
    try:
        sets = cluster.items(f"/apis/apps/v1{scope}/replicasets")
    except ClusterError:
        sets = []  # not allowed: the Deployment is then known by its ReplicaSet's name
    above = {each["metadata"]["uid"]: _owner(each) for each in sets}
    return [container for pod in pods for container in _containers(pod, above, cluster.name)]


def _owner(thing: Mapping[str, Any]) -> tuple[str, str, str]:
    """Kind, name and uid of what controls it; empty when nothing does."""
    owners = thing["metadata"].get("ownerReferences") or ()
    owner = next((each for each in owners if each.get("controller")), None)
    return (owner["kind"], owner["name"], owner["uid"]) if owner else ("", "", "")


def _controller(pod: Mapping[str, Any], above: Mapping[str, tuple[str, str, str]]) -> str:
    kind, name, uid = _owner(pod)
    if not kind:
        return f"Pod/{pod['metadata']['name']}"
    top, top_name, _ = above.get(uid, ("", "", ""))
    if top:
        return f"{top}/{top_name}"
    suffix = f"-{(pod['metadata'].get('labels') or {}).get(_HASH, '')}"
    if kind == "ReplicaSet" and len(suffix) > 1 and name.endswith(suffix):
        return f"Deployment/{name.removesuffix(suffix)}"
    return f"{kind}/{name}"


def _containers(pod: Mapping[str, Any], above: Mapping[str, tuple[str, str, str]], cluster: str) -> Iterator[Container]:
    spec, status = pod["spec"], pod.get("status") or {}
    told = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    statuses = {each["name"]: each for each in told}
    staying = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    for container in [*spec["containers"], *staying]:
        state = statuses.get(container["name"], {})
        signal = (container.get("lifecycle") or {}).get("stopSignal") or state.get("stopSignal") or ""
        yield Container(
            workload=_workload(pod, container, state, signal, cluster),
            namespace=pod["metadata"]["namespace"],
            pod=pod["metadata"]["name"],
            name=container["name"],
            controller=_controller(pod, above),
            running="running" in (state.get("state") or {}),
            restarts=int(state.get("restartCount") or 0),
            ends=tuple(_ends(state)),
            signal_known=bool(signal),
            probed=any(probe in container for probe in ("livenessProbe", "startupProbe")),
            leaving="deletionTimestamp" in pod["metadata"],
        )


def _workload(
    pod: Mapping[str, Any], container: Mapping[str, Any], state: Mapping[str, Any], signal: str, cluster: str
) -> Workload:
    spec, meta = pod["spec"], pod["metadata"]
    labels = {str(key): str(value) for key, value in (meta.get("labels") or {}).items()}
    grace = spec.get("terminationGracePeriodSeconds")
    return Workload(
        runtime="kubernetes",
        name=f"{meta['namespace']}/{meta['name']}/{container['name']}",
        id=str(state.get("containerID") or "").rpartition("//")[2],
        host=cluster,
        image=str(container.get("image") or ""),
        owner=next((labels[key] for key in ("owner", "team", "app.kubernetes.io/part-of") if labels.get(key)), ""),
        command=(*_words(container.get("command")), *_words(container.get("args"))),
        stop_signal=signal_name(signal or "SIGTERM"),
        grace=_GRACE if grace is None else float(grace),
        shared=bool(spec.get("shareProcessNamespace") or spec.get("hostPID")),
        executes=any("exec" in (container.get(probe) or {}) for probe in _PROBES),
        labels=labels,
    )


def _words(command: Sequence[str] | None) -> list[str]:
    return list(map(str, command or ()))


def _ends(state: Mapping[str, Any]) -> Iterator[End]:
    for key in ("state", "lastState"):
        ended = (state.get(key) or {}).get("terminated")
        if ended:
            yield End(int(ended["exitCode"]), str(ended.get("reason") or ""), str(ended.get("finishedAt") or ""))
