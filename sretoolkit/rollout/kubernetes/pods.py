"""What pods say of themselves: ready, stuck and why, waiting for a place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_STUCK = frozenset(
    {
        "CrashLoopBackOff",
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "RegistryUnavailable",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)

Pod = Mapping[str, Any]


def ready(pod: Pod) -> bool:
    """Whether it takes requests, and is not about to go."""
    return not pod["metadata"].get("deletionTimestamp") and _condition(pod, "Ready").get("status") == "True"


def of_template(pod: Pod, template: Mapping[str, Any]) -> bool:
    """Whether its containers have the template's images; what an admission hook has added is no matter."""
    images = {each["name"]: each["image"] for each in pod["spec"]["containers"]}
    return all(images.get(each["name"]) == each["image"] for each in template["spec"]["containers"])


def stuck(pods: Iterable[Pod]) -> str:
    """The first container that does not come up by itself any more, in the kubelet's words; "" when there is none."""
    for pod in pods:
        for status in _statuses(pod):
            waiting = (status.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in _STUCK:
                ended = _ended(status)
                words = f"{waiting['reason']}: {waiting.get('message') or status.get('image')}{ended}"
                return f"pod {pod['metadata']['name']}, container {status['name']}: {words}"
    return ""


def restarted(pods: Iterable[Pod]) -> str:
    """The first container that has been started again; "" when there is none."""
    for pod in pods:
        for status in (pod.get("status") or {}).get("containerStatuses") or ():
            times = int(status.get("restartCount") or 0)
            if times:
                name = pod["metadata"]["name"]
                return f"pod {name}, container {status['name']}: restarted {times} times{_ended(status)}"
    return ""


def unready(pods: Iterable[Pod]) -> str:
    """Why pods are not ready, of at most three; "" when all are."""
    told = []
    for pod in (each for each in pods if not ready(each)):
        place = _condition(pod, "PodScheduled")
        if place.get("status") == "False":
            why = f"{place.get('reason')}: {place.get('message')}"
        else:
            states = (f"{each['name']} {_state(each)}" for each in _statuses(pod) if not each.get("ready"))
            why = ", ".join(states) or str((pod.get("status") or {}).get("phase"))
        told.append(f"pod {pod['metadata']['name']}: {why}")
    return "; ".join(told[:3])


def _state(status: Mapping[str, Any]) -> str:
    state = status.get("state") or {}
    if "running" in state:
        return "runs and does not become ready"
    waiting = state.get("waiting") or {}
    return f"waits: {waiting.get('reason') or 'to be started'}" if "terminated" not in state else "has ended"


def _ended(status: Mapping[str, Any]) -> str:
    last = (status.get("lastState") or {}).get("terminated")
    return f" (it ended with {last.get('exitCode')}, {last.get('reason')})" if last else ""


def _statuses(pod: Pod) -> Iterator[Mapping[str, Any]]:
    told = pod.get("status") or {}
    yield from (told.get("initContainerStatuses") or ()) if not ready(pod) else ()
    yield from told.get("containerStatuses") or ()


def _condition(pod: Pod, kind: str) -> Mapping[str, Any]:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == kind), {})
