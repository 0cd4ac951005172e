"""An Argo Rollout: its image is set, and its own controller's word is watched until the release has come about or failed.

It brings its own canary: use it with the strategy ``rolling``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from sretoolkit.errors import HostError, PlanError
from sretoolkit.plan import Context
from sretoolkit.report import Finding
from sretoolkit.rollout.cluster_object import ClusterObject
from sretoolkit.rollout.workload import STABLE, Found, Revision, Workload
from sretoolkit.rollout.workloads._image import container_of, program_for

_REVISION = "rollout.argoproj.io/revision"
_ENDED = ("Healthy", "Degraded")


@dataclass(frozen=True, kw_only=True)
class Argo(Workload):
    """``name``: the Rollout; ``container``: whose image is the version ("" = the only one).

    ``patience``: how long its own steps may take, with the time that people need at its pauses.
    """

    context: str = ""
    namespace: str = "default"
    name: str
    container: str = ""
    patience: timedelta = timedelta(hours=1)

    @property
    def object(self) -> ClusterObject:
        """The Rollout."""
        return ClusterObject(
            context=self.context, namespace=self.namespace, name=self.name, kind="Rollout",
            group="argoproj.io", plural="rollouts", versions=("v1alpha1",),
        )  # fmt: skip

    @property
    def target(self) -> str:
        """The Rollout's."""
        return self.object.target

    def label(self, track: str) -> str:
        """The Rollout; its ReplicaSets are its own matter."""
        return self.object.label

    def look(self, ctx: Context, version: str = "") -> Found:
        """Refuses one that somebody else writes, whose pods are described elsewhere, or that is in the middle of a release."""
        found = self.object.read(ctx)
        self.object.refuse_managed(found)
        spec, label = found["spec"], self.object.label
        if reference := spec.get("workloadRef"):
            what = f"the pods of {label} are described by {reference.get('kind')} {reference.get('name')} (workloadRef)"
            raise PlanError(what, hint="set the image there, or move the template into the Rollout")
        if not str((found.get("status") or {}).get("observedGeneration", "")).isdecimal():
            hint = "does the controller run? Releases before 0.10 do not say which change they have seen"
            raise PlanError(f"no controller says of {label} which change it has seen", hint=hint)
        phase, message = self.phase(found)
        if phase != "Healthy":
            hint = f"let it end, or end it: {self.object.kubectl} argo rollouts abort {self.name}"
            raise PlanError(f"{label} is {phase}: {message or 'no word why'}", hint=hint)
        return Found(
            version=str(self._container(found)["image"]),
            replicas=int(spec.get("replicas", 1)),
            findings=self._pauses(spec),
        )

    def track(self, ctx: Context, track: str) -> dict[str, Any] | None:
        """The image that it is told to run; whether that has come about, `trouble` and `set_track` tell."""
        if track != STABLE:
            return None
        found = self.object.find(ctx)
        return {"version": self._container(found)["image"]} if found else None

    def set_track(self, ctx: Context, track: str, state: Mapping[str, Any] | None) -> None:
        """Set the image, and watch until the controller says Healthy of it; Degraded fails at once, with its words."""
        if track != STABLE or state is None or state.keys() != {"version"}:
            hint = 'use the strategy "rolling"; the steps of the Rollout itself are its canary'
            raise PlanError(f"of {self.object.label} only the version can be set", hint=hint)
        version = str(state["version"])
        found = self.object.edit(ctx, partial(self._write, version=version), self._image)
        self.object.wait(ctx, found, partial(self._healthy, ctx, version), late=self._late)

    def trouble(self, ctx: Context, track: str) -> str:
        """What its controller says when it is degraded."""
        phase, message = self.phase(self.object.read(ctx))
        return f"Degraded: {message}" if phase == "Degraded" else ""

    def promote(self, ctx: Context, *, full: bool = False) -> None:
        """End the pause that it stands at, as ``kubectl argo rollouts promote`` does; ``full``: skip all that is left.

        Safe to call again. Raises `PlanError` when it stands at no pause, so that no step is skipped by mistake.
        """
        found = self.object.read(ctx)
        status = found.get("status") or {}
        if full:
            if status.get("currentPodHash") != status.get("stableRS"):
                self.object.edit(ctx, _promote_full, _release, part="status")
            return
        paused = bool(found["spec"].get("paused"))
        if not (paused or status.get("pauseConditions") or _unpausing(status)):
            phase, message = self.phase(found)
            hint = "promote it once it is Paused, or skip everything with full"
            raise PlanError(f"{self.object.label} stands at no pause: it is {phase} {message}".rstrip(), hint=hint)
        self.object.edit(ctx, _unpause, _release, part="status")
        if paused:
            self.object.edit(ctx, _resume, self._image)

    def abort(self, ctx: Context) -> None:
        """Send everything back to the stable pods, as ``kubectl argo rollouts abort`` does, and wait until that is so.

        The Rollout still names the new version then: set the old one. Raises `PlanError` when the release has come about.
        """
        found = self.object.read(ctx)
        status = found.get("status") or {}
        if status.get("currentPodHash") == status.get("stableRS") and self.phase(found)[0] == "Healthy":
            hint = "set the older version: a Rollout ignores an abort after its promotion"
            raise PlanError(f"{self.object.label} has nothing to abort", hint=hint)
        edited = self.object.edit(ctx, _abort, _release, part="status")
        self.object.wait(ctx, edited, self._aborted, late="its controller has not taken up the abort; does it run?")

    def ended(self, ctx: Context) -> tuple[str, str]:
        """Watch until it is Healthy, Degraded or Paused: that phase, and what is said of it."""
        found = self.object.wait(
            ctx, self.object.read(ctx), lambda seen: self.phase(seen)[0] in (*_ENDED, "Paused"), late=self._late
        )
        return self.phase(found)

    def revisions(self, ctx: Context) -> Sequence[Revision]:
        """Its older ReplicaSets, with the image of each."""
        found = self.object.read(ctx)
        path = f"/apis/apps/v1/namespaces/{self.namespace}/replicasets"
        owned = [
            each
            for each in self.object.cluster(ctx).items(path, timeout=min(60, ctx.remaining()))
            if any(owner["uid"] == found["metadata"]["uid"] for owner in each["metadata"].get("ownerReferences") or ())
        ]
        all_ = [
            Revision(
                number=int((each["metadata"].get("annotations") or {}).get(_REVISION, 0)),
                version=str(self._container(each)["image"]),
                at=str(each["metadata"]["creationTimestamp"]),
            )
            for each in owned
        ]
        now = str(self._container(found)["image"])
        return sorted((each for each in all_ if each.version != now), key=lambda each: each.number, reverse=True)

    def by_hand(self, track: str, state: Mapping[str, Any] | None) -> str:
        """Reads the Rollout, writes the image with jq and patches it, if nobody changed it between."""
        if state is None:
            return ""
        containers = "spec: {template: {spec: {containers: .spec.template.spec.containers}}}"
        return self.object.by_hand(program_for(self.container, str(state["version"])), containers)

    def phase(self, found: Mapping[str, Any]) -> tuple[str, str]:
        """Phase and message as its own command line tells them: Progressing until the controller has seen the last change."""
        status = found.get("status") or {}
        observed = str(status.get("observedGeneration", ""))
        if not observed.isdecimal() or int(observed) < int(found["metadata"]["generation"]):
            return "Progressing", "its controller has not yet seen the last change"
        if _unpausing(status):
            return "Progressing", "its controller has not yet seen the promotion"
        return str(status.get("phase", "")), str(status.get("message", ""))

    @property
    def _late(self) -> str:
        command = f"{self.object.kubectl} argo rollouts get rollout {self.name}"
        return f"it is not healthy in time; where it is paused, somebody has to promote it ({command})"

    def _container(self, found: Mapping[str, Any]) -> dict[str, Any]:
        return container_of(found, self.container, self.object.label)

    def _image(self, found: Mapping[str, Any]) -> Any:
        return self._container(found).get("image")

    def _write(self, found: Mapping[str, Any], version: str) -> None:
        self._container(found)["image"] = version

    def _healthy(self, ctx: Context, version: str, found: Mapping[str, Any]) -> bool:
        if (seen := self._image(found)) != version:
            raise self.object.changed(ctx, seen, version)
        phase, message = self.phase(found)
        if phase == "Degraded":
            hint = f"{self.object.kubectl} argo rollouts get rollout {self.name} shows its pods and analyses"
            host = self.object.cluster(ctx).name
            raise HostError(f"{self.object.label}: {version} is Degraded: {message}", host=host, hint=hint)
        return phase == "Healthy"

    def _aborted(self, found: Mapping[str, Any]) -> bool:
        return self.phase(found)[0] == "Degraded" and bool((found.get("status") or {}).get("abort"))

    def _pauses(self, spec: Mapping[str, Any]) -> tuple[Finding, ...]:
        steps = ((spec.get("strategy") or {}).get("canary") or {}).get("steps") or ()
        waiting = [
            number
            for number, step in enumerate(steps, 1)
            if "pause" in step and not (step["pause"] or {}).get("duration")
        ]
        if not waiting:
            return ()
        summary = f"it waits for a person at its own step {', '.join(map(str, waiting))}"
        remedy = f"{self.object.kubectl} argo rollouts promote {self.name}"
        return (
            Finding(severity="info", subject=self.object.label, summary=summary, remedy=remedy, rule="rollout-waits"),
        )


def _unpausing(status: Mapping[str, Any]) -> bool:
    """Whether somebody has promoted it and the controller has not seen that yet."""
    return bool(status.get("controllerPause")) and not status.get("pauseConditions")


def _release(found: Mapping[str, Any]) -> Any:
    """Which release a promotion or an abort is for."""
    status = found.get("status") or {}
    return found["metadata"]["generation"], status.get("currentPodHash"), status.get("currentStepIndex")


def _unpause(found: dict[str, Any]) -> None:
    found.get("status", {}).pop("pauseConditions", None)


def _resume(found: dict[str, Any]) -> None:
    found["spec"]["paused"] = False


def _promote_full(found: dict[str, Any]) -> None:
    found["status"]["promoteFull"] = True


def _abort(found: dict[str, Any]) -> None:
    found.setdefault("status", {})["abort"] = True
