"""Cures in Kubernetes as plans: shared processes, or tini before the program, in a Deployment, StatefulSet or DaemonSet.

Its pods are replaced by a rollout of its own kind, which is waited for. An object that is written by a GitOps controller
is refused: the next synchronisation would take the change back.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import quote

from sretoolkit.errors import HostError, PlanError
from sretoolkit.hosts.cluster import Cluster, ClusterError
from sretoolkit.hosts.kubernetes_workloads import SETTLED, refuse, wait
from sretoolkit.http.kubeconfig import current_context
from sretoolkit.pid1.cluster import survey
from sretoolkit.plan import Context, Gate, Plan, Step, Verdict

Kind = Literal["Deployment", "StatefulSet", "DaemonSet"]
_PLURAL: Mapping[str, str] = {kind: f"{kind.lower()}s" for kind in SETTLED}
_TRIES = 5  # its own controller changes the object too, by its status
_RULES = ("stop-dropped", "stop-ignored", "stop-killed", "zombies-of-init", "reaping-latent")


def share_processes(context: str, namespace: str, kind: Kind, name: str, *, execute: bool = False) -> Plan:
    """A plan that sets shareProcessNamespace, so that the pod's pause program is PID 1 and no program has to be.

    Without steps when it is so already. ``execute``: a gate then looks from inside the new pods, by ``exec``, whether the
    findings are gone. Raises `PlanError` where it would not do, with what to do instead.
    """
    where = _place(context, namespace, kind, name)
    found = _found(where)
    spec = found["spec"]["template"]["spec"]
    if spec.get("hostPID"):
        raise PlanError(f"{where['name']} has hostPID: its programs are PID 1 nowhere", hint="nothing is to be done")
    title = f"Share the processes of the pods of {kind} {namespace}/{name}"
    if spec.get("shareProcessNamespace"):
        return Plan(f"{title}: it is so already", [])
    return Plan(title, [ShareProcesses(**where, before=False, after=True), *_gates(where, execute)])


def insert_tini(
    context: str, namespace: str, kind: Kind, name: str, container: str, *, program: str = "tini", execute: bool = False
) -> Plan:
    """A plan that puts ``tini -g --`` before a container's command; ``program`` is tini's path in its image, which has it.

    Otherwise as `share_processes`. Raises `PlanError` when the command is the image's own, which the API does not know.
    """
    where = _place(context, namespace, kind, name)
    found = _found(where)
    listed = {each["name"]: each for each in found["spec"]["template"]["spec"]["containers"]}
    if container not in listed:
        hint = f"it has: {', '.join(listed)}"
        raise PlanError(f"{kind} {namespace}/{name} has no container {container!r}", hint=hint)
    command = tuple(listed[container].get("command") or ())
    if not command:
        what = f"the container {container} is started by its image's own ENTRYPOINT, which the API does not know"
        hint = "write it out as command: [...] in the manifest, put tini into the image, or share the pod's processes"
        raise PlanError(what, hint=hint)
    title = f"Start {container} of {kind} {namespace}/{name} by tini"
    if command[0].rpartition("/")[2] in ("tini", "tini-static", "dumb-init", "catatonit"):
        return Plan(f"{title}: it has {command[0]} already", [])
    step = SetCommand(**where, container=container, before=command, after=(program, "-g", "--", *command))
    return Plan(title, [step, *_gates(where, execute)])


@dataclass(frozen=True, kw_only=True)
class TemplateStep(Step):
    """A change of the pods' template of one workload; it is done when the new pods are available."""

    deadline: ClassVar[timedelta] = timedelta(minutes=10)

    context: str
    namespace: str
    kind: str
    name: str

    @property
    def target(self) -> str:
        """``kubernetes:CONTEXT/NAMESPACE/KIND/NAME``."""
        return f"kubernetes:{self.context}/{self.namespace}/{self.kind}/{self.name}"

    def observe(self, ctx: Context) -> Any:
        """The field as it is; None when the workload is gone."""
        try:
            return self.read(self._get(ctx))
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    def do(self, ctx: Context) -> None:
        """Write the new value, and wait for the rollout."""
        self._write(ctx, self.before, self.after)

    def undo(self, ctx: Context) -> None:
        """Write the old value, and wait for the rollout."""
        self._write(ctx, self.after, self.before)

    def by_hand(self) -> str:
        """The ``kubectl patch`` that restores the old value."""
        words = [
            "kubectl",
            "--context",
            self.context,
            "-n",
            self.namespace,
            "patch",
            self.kind.lower(),
            self.name,
            "-p",
        ]
        return shlex.join([*words, json.dumps(self.change(self.before))])

    def read(self, found: Mapping[str, Any]) -> Any:
        """The field in an object of the API."""
        raise NotImplementedError

    def change(self, value: Any) -> dict[str, Any]:
        """The patch that sets the field."""
        raise NotImplementedError

    def _cluster(self, ctx: Context) -> Cluster:
        return Cluster.shared(ctx, self.context)

    def _get(self, ctx: Context) -> dict[str, Any]:
        return self._cluster(ctx).get(_path(self.namespace, self.kind, self.name), timeout=min(30, ctx.remaining()))

    def _write(self, ctx: Context, old: Any, new: Any) -> None:
        path = _path(self.namespace, self.kind, self.name)
        for attempt in range(1, _TRIES + 1):
            found = self._get(ctx)
            if self.read(found) != old:
                raise self._changed(self.read(found), old)
            version = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}}
            try:
                patched = self._cluster(ctx).patch(path, {**self.change(new), **version}, timeout=ctx.remaining())
                break
            except ClusterError as error:
                if error.status != 409 or attempt == _TRIES:
                    raise
        wait(self._cluster(ctx), path, patched, timeout=ctx.remaining)

    def _changed(self, seen: Any, expected: Any) -> HostError:
        what = f"{self.kind} {self.namespace}/{self.name} was changed by somebody else: {seen!r}, not {expected!r}"
        return HostError(
            what, host=self.context, hint="see who (kubectl get -o yaml --show-managed-fields), then plan anew"
        )


@dataclass(frozen=True, kw_only=True)
class ShareProcesses(TemplateStep):
    """Set shareProcessNamespace of the pods, or take it away."""

    before: bool
    after: bool

    def describe(self) -> str:
        """The change in one line."""
        word = "share their processes" if self.after else "no longer share their processes"
        return f"in {self.context} let the pods of {self.kind} {self.namespace}/{self.name} {word}; they are replaced"

    def read(self, found: Mapping[str, Any]) -> bool:
        """Whether it is set."""
        return bool(found["spec"]["template"]["spec"].get("shareProcessNamespace"))

    def change(self, value: Any) -> dict[str, Any]:
        """True, or the field taken away."""
        return {"spec": {"template": {"spec": {"shareProcessNamespace": value or None}}}}


@dataclass(frozen=True, kw_only=True)
class SetCommand(TemplateStep):
    """Set the command of one container; its arguments stay."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    container: str

    def describe(self) -> str:
        """Both commands."""
        what = f"{shlex.join(self.after)} (was {shlex.join(self.before)})"
        return f"in {self.context} start {self.container} of {self.kind} {self.namespace}/{self.name} by {what}"

    def read(self, found: Mapping[str, Any]) -> tuple[str, ...]:
        """The command; () when there is no such container any more, or it is the image's own."""
        listed: Sequence[Mapping[str, Any]] = found["spec"]["template"]["spec"]["containers"]
        return next((tuple(each.get("command") or ()) for each in listed if each["name"] == self.container), ())

    def change(self, value: Any) -> dict[str, Any]:
        """The container's entry, by its name."""
        return {"spec": {"template": {"spec": {"containers": [{"name": self.container, "command": list(value)}]}}}}


@dataclass(frozen=True, kw_only=True)
class PodsCured(Gate):
    """Whether the pods of a workload, looked at from inside, have none of these findings any more."""

    interval: timedelta = timedelta(seconds=2)
    horizon: timedelta = timedelta(minutes=1)

    context: str
    namespace: str
    kind: str
    name: str
    rules: tuple[str, ...]

    def describe(self) -> str:
        """What must be gone."""
        return f"the pods of {self.kind} {self.namespace}/{self.name} have no finding {' or '.join(self.rules)}"

    def check(self, ctx: Context) -> Verdict:
        """Look into its pods again; those that are about to go are left out."""
        found = survey(self.context, self.namespace, execute=True, config=ctx.config, only=f"{self.kind}/{self.name}")
        rules = {finding.rule for each in found.seen for finding in each.findings}
        left = sorted(rules & set(self.rules))
        if left:
            return Verdict("continue", f"still found: {', '.join(left)}")
        if not found.seen or not all(each.first for each in found.seen):
            return Verdict("continue", "not every pod could be looked into")
        return Verdict("passed", "none of them is found", {"findings": sorted(rules)})


def _place(context: str, namespace: str, kind: str, name: str) -> dict[str, str]:
    if kind not in _PLURAL:
        raise PlanError(f"a {kind} cannot be patched here", hint=f"it must be one of {', '.join(_PLURAL)}")
    return {"context": context or current_context(), "namespace": namespace, "kind": kind, "name": name}


def _path(namespace: str, kind: str, name: str) -> str:
    return f"/apis/apps/v1/namespaces/{quote(namespace)}/{_PLURAL[kind]}/{quote(name)}"


def _found(where: Mapping[str, str]) -> dict[str, Any]:
    """The workload, when it may be changed."""
    with Cluster(where["context"]) as cluster:
        try:
            found = cluster.get(_path(where["namespace"], where["kind"], where["name"]))
        except ClusterError as error:
            raise PlanError(error.message, hint=error.hint) from error
    refuse(found, where["kind"])
    return found


def _gates(where: Mapping[str, str], execute: bool) -> list[Gate]:
    about: dict[str, Any] = {**where, "rules": _RULES}
    return [PodsCured(**about)] if execute else []
