"""Kubernetes manifests: every workload of every document, List included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sretoolkit.errors import ConfigError
from sretoolkit.pid1.lint.distribution import distribution
from sretoolkit.pid1.lint.format import Format, content
from sretoolkit.pid1.lint.lined import Lined, documents, words
from sretoolkit.pid1.lint.start import Start
from sretoolkit.pid1.workload import Fix

_TEMPLATES = {
    "Pod": (), "PodTemplate": ("template",), "CronJob": ("spec", "jobTemplate", "spec", "template"),
}  # fmt: skip
_WORKLOADS = {
    "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "Rollout", "CloneSet",
    *_TEMPLATES,
}  # fmt: skip
_OWNERS = ("owner", "team", "app.kubernetes.io/managed-by", "app.kubernetes.io/part-of")
_GRACE = 30.0  # seconds; the kubelet's default
_NEEDS_OS = "Kubernetes (1.33 and newer) takes lifecycle.stopSignal only beside spec.os.name"
_WORDS: dict[Fix, str] = {
    "init": "spec.shareProcessNamespace: true for the pod, or tini in the image and command: [tini, --, <program>]",
    "exec": 'command: [sh, -c, "{exec}"], or the program itself without a shell: command: [<program>, <argument>]',
    "exec-behind": 'command: [tini, --, sh, -c, "{exec}"]',
    "background": "in the script: {what} & wait $!",
    "stop-signal": "STOPSIGNAL {what} in the image (Kubernetes 1.33: lifecycle.stopSignal: {what} with spec.os.name)",
    "subreaper": "command: [tini, -s, --, ...], or leave tini out",
}


class Kubernetes(Format):
    """Pods and what makes pods."""

    def knows(self, path: Path) -> bool:
        """YAML or JSON of which a document has apiVersion and kind."""
        if path.suffix.lower() not in (".yaml", ".yml", ".json"):
            return False
        try:
            found = documents(content(path), path)
        except ConfigError:
            return False
        return any("kind" in each and "apiVersion" in each for each in found)

    def starts(self, path: Path, *, target: str = "") -> Sequence[Start]:
        """Every container that stays: sidecars among the init containers too, not those that run to their end first."""
        return [
            start
            for document in documents(content(path), path)
            for resource in _resources(document)
            for start in _containers(resource, path)
        ]


def _resources(document: Lined) -> Iterator[Lined]:
    if str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list):
        for item in document.parts("items"):
            yield from _resources(item)
    elif document.get("kind") in _WORKLOADS:
        yield document


def _containers(resource: Lined, path: Path) -> Iterator[Start]:
    template = resource
    for key in _TEMPLATES.get(str(resource["kind"]), ("spec", "template")):
        template = template.part(key)
    pod = template.part("spec")
    meta = resource.part("metadata")
    names = [str(meta.get("namespace") or ""), str(meta.get("name") or meta.get("generateName") or "unnamed")]
    about = "/".join(name for name in [*names[:1], str(resource["kind"]).lower(), names[1]] if name)
    labels = {**meta.part("labels"), **meta.part("annotations"), **template.part("metadata").part("labels")}
    owner = next((str(labels[key]) for key in _OWNERS if labels.get(key)), "")
    sidecars = [each for each in pod.parts("initContainers") if each.get("restartPolicy") == "Always"]
    for container in [*pod.parts("containers"), *sidecars]:
        yield _start(container, pod, f"{about}/{container.get('name', 'unnamed')}", owner, path)


def _start(container: Lined, pod: Lined, subject: str, owner: str, path: Path) -> Start:
    command, arguments = words(container.get("command")), words(container.get("args")) or ()
    image, lifecycle = str(container.get("image") or ""), container.part("lifecycle")
    only = "only args are written" if arguments else "neither command nor args is written"
    signal = lifecycle.get("stopSignal")
    grace = _seconds(pod.get("terminationGracePeriodSeconds"))
    probe, probe_line = _executed(container)
    lines = {
        "command": container.at("command") if command else container.at("args" if arguments else "image"),
        "stop_signal": container.at("lifecycle", "stopSignal"),
        "grace": pod.at("terminationGracePeriodSeconds"),
        "health": probe_line,
    }
    return Start(
        subject=subject,
        path=str(path),
        line=container.line,
        image=image,
        owner=owner,
        command=(*command, *arguments) if command else None,
        unknown_because=f"{only}: {image or 'the image'} says what is started",
        sh=distribution(image).sh,
        stop_signal=str(signal) if signal else None,
        signal_sure=distribution(image).plain,
        refused="" if pod.part("os").get("name") else _NEEDS_OS,
        grace=_GRACE if grace is None else grace,
        before_stop=_before(lifecycle.part("preStop")),
        shared=bool(pod.get("shareProcessNamespace")) or bool(pod.get("hostPID")),
        executes=probe,
        lines=lines,
        words=_WORDS,
    )


def _executed(container: Lined) -> tuple[str, int]:
    """What is executed in it again and again."""
    for name in ("livenessProbe", "readinessProbe"):
        if "exec" in container.part(name):
            return f"the {name}", container.at(name)
    return "", 0


def _before(hook: Lined) -> float:
    """The seconds that a preStop hook surely sleeps."""
    asleep = _seconds(hook.part("sleep").get("seconds"))
    if asleep is not None:
        return asleep
    command = words(hook.part("exec").get("command")) or ()
    told = command[-1].split() if command else []
    if command[:1] == ("sleep",):
        told = list(command)
    return (_seconds(told[1].rstrip(";s")) or 0.0) if told[:1] == ["sleep"] and len(told) > 1 else 0.0


def _seconds(given: Any) -> float | None:
    try:
        return None if given is None or isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        return None
