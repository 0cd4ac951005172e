"""containerd, by the ``ctr`` program of the host: what nerdctl, a build or ``ctr`` itself started, and the pods of a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from sretoolkit.hosts import Host
from sretoolkit.pid1.runtimes import _ctr
from sretoolkit.pid1.workload import Fix, Runtime, Workload


class Containerd(Runtime):
    """Every namespace of containerd but Docker's; those of pods are handed on as Kubernetes' in the same look."""

    words: ClassVar[Mapping[Fix, str]] = {
        "init": "nerdctl run --init, or tini as the first word of its command",
        "stop-signal": "nerdctl run --stop-signal {what} (Dockerfile: STOPSIGNAL {what})",
        "limit": "nerdctl update --pids-limit 512 {name}",
        "raise": "find what starts them (zombies count too); then nerdctl update --pids-limit N {name}",
        "restart": "restart it (nerdctl restart {name}) before it runs out, then find what starts them",
    }

    def workloads(self, host: Host) -> Sequence[Workload]:
        """Those that run now; raises `HostError` when containerd does not answer us."""
        return _ctr.running(host)
