"""The containers of pods on a node, as its containerd knows them; what the API server knows is `sretoolkit.pid1.cluster`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from sretoolkit.hosts import Host
from sretoolkit.pid1.workload import Fix, Runtime, Workload


class Kubernetes(Runtime):
    """Pods, by the ``ctr`` program of their node."""

    words: ClassVar[Mapping[Fix, str]] = {
        "init": 'shareProcessNamespace: true in the pod, or command: ["tini", "--", ...] where the image has tini',
        "exec": 'start the program with exec (command: ["sh", "-c", "exec ..."])',
        "exec-behind": 'start the program with exec (command: ["tini", "--", "sh", "-c", "exec ..."])',
        "handle": "let {what} handle {signal}, or a preStop hook stop it; terminationGracePeriodSeconds is the time it has",
        "background": "in its script: {what} & wait; or a longer terminationGracePeriodSeconds",
        "stop-signal": "lifecycle.stopSignal: {what} (Kubernetes 1.33, with spec.os.name), else STOPSIGNAL {what} in its image",
        "limit": "podPidsLimit in the kubelet's configuration: a pod's own specification has none",
        "raise": "find what starts them (zombies count too); then raise podPidsLimit in the kubelet's configuration",
        "restart": "delete the pod, so that its controller makes a new one, before it runs out; then find what starts them",
        "subreaper": 'leave tini out, or command: ["tini", "-s", "--", ...]: it is not PID 1 here',
    }

    def workloads(self, host: Host) -> Sequence[Workload]:
        """None by itself: one question to containerd tells of its pods too (see `Containerd`)."""
        return ()
