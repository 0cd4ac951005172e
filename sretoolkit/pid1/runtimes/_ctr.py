"""What containerd runs, by the ``ctr`` program of the host: those of pods and all others, but for Docker's own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sretoolkit.errors import ConfigError, HostError
from sretoolkit.hosts import Host
from sretoolkit.pid1.signals import name
from sretoolkit.pid1.workload import Workload

_PODS = "k8s.io"
_DOCKER = "moby"  # asked of Docker itself, which knows more
_TIMEOUT = 120.0
_GRACE = 30.0  # seconds; the kubelet's default, for what a pod says is not known to containerd
_STOP = "io.containerd.image.config.stop-signal"
# A pod's own first container (pause) is listed too: in a pod with shared processes it is the first process of them all.
# Without its socket (and where we would see it) containerd does not run: ctr would wait ten seconds for it.
_SCRIPT = """command -v ctr >/dev/null 2>&1 || { echo absent; exit 0; }
socket=${CONTAINERD_ADDRESS:-/run/containerd/containerd.sock}
[ -S "$socket" ] || { [ -d "${socket%/*}" ] && [ ! -x "${socket%/*}" ]; } || { echo absent; exit 0; }
names=$(ctr namespaces ls -q) || exit 1
for name in $names; do
  [ "$name" != "$1" ] || continue
  tasks=$(ctr -n "$name" tasks ls) || exit 1
  echo "$tasks" | while read -r id pid state rest; do
    [ "$state" = RUNNING ] || [ "$state" = PAUSED ] || continue
    info=$(ctr -n "$name" containers info "$id" 2>/dev/null | tr -d '\\n') && printf '%s %s %s\\n' "$name" "$pid" "$info"
  done
done
echo end"""


def running(host: Host) -> list[Workload]:
    """All containers but Docker's, those of pods as Kubernetes', the others as containerd's; who goes meanwhile is left out.

    ``info`` also holds the environment, and with it secrets: nothing of it is kept or shown but what is read here.
    Raises `HostError` when containerd is there but does not answer us.
    """
    answer = host.run(["sh", "-c", _SCRIPT, "sh", _DOCKER], timeout=_TIMEOUT, check=False)
    lines = answer.stdout.splitlines()
    if lines == ["absent"]:
        return []
    if not answer.ok or lines[-1:] != ["end"]:
        said = answer.stderr.strip().splitlines()
        text = f"{host.name}: containerd cannot be asked: {said[-1][:200] if said else 'it said nothing'}"
        raise HostError(text, host=host.name, hint="root may ask it; CONTAINERD_ADDRESS names another socket")
    try:
        return list(_workloads(lines[:-1], host.name))
    except (ValueError, TypeError, AttributeError, KeyError, ConfigError) as error:
        text = f"{host.name}: containerd answers in a form that is not known here ({type(error).__name__})"
        raise HostError(text, host=host.name, hint="`ctr version` on that host tells how old it is") from error


def _workloads(lines: Sequence[str], host: str) -> Iterator[Workload]:
    for line in lines:
        namespace, pid, told = line.split(" ", 2)
        yield _workload(json.loads(told), int(pid), host, "kubernetes" if namespace == _PODS else "containerd")


def _workload(found: Mapping[str, Any], pid: int, host: str, runtime: str) -> Workload:
    labels = {str(key): str(value) for key, value in (found.get("Labels") or {}).items()}
    spec = found.get("Spec") or {}
    namespaces = (spec.get("linux") or {}).get("namespaces") or ()
    own = any(each.get("type") == "pid" and not each.get("path") for each in namespaces)
    limit = (((spec.get("linux") or {}).get("resources") or {}).get("pids") or {}).get("limit")
    return Workload(
        runtime=runtime,
        name=_name(labels) or labels.get("nerdctl/name", "") or str(found["ID"])[:12],
        id=str(found["ID"]),
        host=host,
        image=str(found.get("Image") or ""),
        owner=next((labels[key] for key in ("owner", "team", "maintainer") if labels.get(key)), ""),
        pid=pid,
        command=tuple(map(str, (spec.get("process") or {}).get("args") or ())),
        stop_signal=name(labels.get(_STOP) or "SIGTERM"),
        grace=_GRACE if _name(labels) else 10.0,
        shared=not own,
        pids_limit=int(limit) if limit and int(limit) > 0 else None,
        labels=labels,
    )


def _name(labels: Mapping[str, str]) -> str:
    """``NAMESPACE/POD/CONTAINER``; "" outside of pods."""
    words = [labels.get(f"io.kubernetes.{key}", "") for key in ("pod.namespace", "pod.name", "container.name")]
    if not all(words[:2]):
        return ""
    return "/".join([*words[:2], words[2] or "pause"])
