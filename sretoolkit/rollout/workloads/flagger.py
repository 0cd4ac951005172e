"""A Flagger Canary: the image of its target is set, and its phases are watched until it is promoted or has failed.

It brings its own canary: use it with the strategy ``rolling``. Flagger copies the target to the Deployment ``-primary``, which
serves; the target itself serves only while it is analysed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from sretoolkit.errors import HostError, PlanError
from sretoolkit.plan import Context
from sretoolkit.report import Finding
from sretoolkit.rollout.cluster_object import ClusterObject
from sretoolkit.rollout.workload import STABLE, Found, Workload
from sretoolkit.rollout.workloads._image import container_of

_RESTING = ("Initialized", "Succeeded", "Failed")
_ANALYSED = ("Waiting", "Progressing", "WaitingPromotion")
_BEFORE = "sretoolkit/flagger-had-applied"  # on the target: what Flagger had applied when we last set its image


@dataclass(frozen=True, kw_only=True)
class Flagger(Workload):
    """``name``: the Canary; ``container``: whose image is the version ("" = the only one).

    ``patience``: how long its own analysis may take, with the time that people need at its gates.
    """

    context: str = ""
    namespace: str = "default"
    name: str
    container: str = ""
    patience: timedelta = timedelta(hours=1)

    @property
    def object(self) -> ClusterObject:
        """The Canary."""
        return ClusterObject(
            context=self.context, namespace=self.namespace, name=self.name, kind="Canary",
            group="flagger.app", plural="canaries", versions=("v1beta1",),
        )  # fmt: skip

    @property
    def target(self) -> str:
        """The Canary's."""
        return self.object.target

    def label(self, track: str) -> str:
        """The Canary; its Deployments are its own matter."""
        return self.object.label

    def look(self, ctx: Context, version: str = "") -> Found:
        """Refuses one that is suspended, of another kind of target, in the middle of a release, or that has one left over."""
        canary = self.object.read(ctx)
        label, phase = self.object.label, _phase(canary)
        if canary["spec"].get("suspend"):
            raise PlanError(f"{label} is suspended: Flagger would do nothing", hint="set suspend: false")
        target = self._target(canary)
        found = target.read(ctx)
        target.refuse_managed(found)
        if phase not in _RESTING:
            hint = "let it end; does Flagger run?" if not phase else "let it end, or abort it"
            raise PlanError(f"{label} is {phase or 'not initialized'}", hint=hint)
        primary = self._primary(ctx, canary)
        serving, left = str(self._image(primary)), str(self._image(found))
        if left != serving:
            hint = f"set it back first: {self._set_image(target.name, serving)}"
            raise PlanError(f"{target.label} still names {left}, which was not promoted: {serving} serves", hint=hint)
        waits = [f"{gate['name']} ({gate['type']}) at {gate['url']}" for gate in _gates(canary)]
        findings = [
            Finding(severity="info", subject=label, summary=f"it waits for its webhook {each}", rule="rollout-waits")
            for each in waits
        ]
        return Found(version=serving, replicas=int(primary["spec"].get("replicas", 1)), findings=findings)

    def track(self, ctx: Context, track: str) -> dict[str, Any] | None:
        """The image that its target is told to run; whether that is promoted, `trouble` and `set_track` tell."""
        if track != STABLE:
            return None
        found = self._target(self.object.read(ctx)).find(ctx)
        return {"version": self._image(found)} if found else None

    def set_track(self, ctx: Context, track: str, state: Mapping[str, Any] | None) -> None:
        """Set the target's image, and watch until it is promoted to the primary; Failed fails at once, with Flagger's words."""
        if track != STABLE or state is None or state.keys() != {"version"}:
            hint = 'use the strategy "rolling"; the analysis of the Canary itself is its canary'
            raise PlanError(f"of {self.object.label} only the version can be set", hint=hint)
        version = str(state["version"])
        canary = self.object.read(ctx)
        write = partial(self._write, version=version, applied=str(_status(canary).get("lastAppliedSpec", "")))
        target = self._target(canary).edit(ctx, write, self._image)
        had = (target["metadata"].get("annotations") or {}).get(_BEFORE, "")
        canary = self.object.wait(ctx, canary, partial(self._promoted, ctx, version, had), late=self._late(canary))
        if _phase(canary) not in _RESTING:  # set back in the middle of an analysis, which its gate may hold for ever
            late = "the pods that are analysed are not back at the version that serves"
            self._target(canary).wait(ctx, target, _settled, late=late)

    def trouble(self, ctx: Context, track: str) -> str:
        """What Flagger says when the last release failed and is still the target."""
        canary = self.object.read(ctx)
        if _phase(canary) != "Failed":
            return ""
        same = self._image(self._target(canary).read(ctx)) == self._image(self._primary(ctx, canary))
        return "" if same else f"Failed: {_said(canary)}"

    def promote(self, ctx: Context) -> None:
        """Always refused: Flagger asks a webhook whether it may go on, and that one has to be told (`PlanError` says which)."""
        canary = self.object.read(ctx)
        gates = "; ".join(f"{gate['name']} ({gate['type']}) at {gate['url']}" for gate in _gates(canary))
        hint = f"open the gate there: {gates}" if gates else "it has no gate: its own analysis promotes it"
        raise PlanError(f"{self.object.label} is {_phase(canary)}; Flagger is promoted by its webhooks only", hint=hint)

    def abort(self, ctx: Context) -> None:
        """Set the target back to the image of the primary, and wait until no pod runs another; safe to call again.

        Flagger then ends its analysis with what serves anyway, once its gates let it.
        """
        canary = self.object.read(ctx)
        self.set_track(ctx, STABLE, {"version": self._image(self._primary(ctx, canary))})

    def ended(self, ctx: Context) -> tuple[str, str]:
        """Watch until it is Succeeded, Failed, Initialized or WaitingPromotion: that phase, and what is said of it."""
        canary = self.object.read(ctx)
        found = self.object.wait(
            ctx, canary, lambda seen: _phase(seen) in (*_RESTING, "WaitingPromotion"), late=self._late(canary)
        )
        return _phase(found), _said(found)

    def by_hand(self, track: str, state: Mapping[str, Any] | None) -> str:
        """Sets the image of the target, which is usually named as the Canary is."""
        return self._set_image(self.name, str(state["version"])) if state else ""

    def _set_image(self, deployment: str, version: str) -> str:
        return f"{self.object.kubectl} set image deployment/{deployment} '{self.container or '*'}={version}'"

    def _target(self, canary: Mapping[str, Any]) -> ClusterObject:
        reference = canary["spec"]["targetRef"]
        if reference["kind"] != "Deployment":
            hint = "only a Canary of a Deployment can be driven"
            raise PlanError(f"{self.object.label} is for the {reference['kind']} {reference['name']}", hint=hint)
        return self._deployment(str(reference["name"]))

    def _deployment(self, name: str) -> ClusterObject:
        return ClusterObject(
            context=self.context, namespace=self.namespace, name=name, kind="Deployment",
            group="apps", plural="deployments", versions=("v1",),
        )  # fmt: skip

    def _primary(self, ctx: Context, canary: Mapping[str, Any]) -> dict[str, Any]:
        return self._deployment(f"{canary['spec']['targetRef']['name']}-primary").read(ctx)

    def _image(self, found: Mapping[str, Any]) -> Any:
        return container_of(found, self.container, f"Deployment {self.namespace}/{found['metadata']['name']}").get(
            "image"
        )

    def _write(self, found: dict[str, Any], version: str, applied: str) -> None:
        if self._image(found) == version:
            return
        container_of(found, self.container, self.object.label)["image"] = version
        found["metadata"].setdefault("annotations", {})[_BEFORE] = applied

    def _promoted(self, ctx: Context, version: str, had: str, canary: Mapping[str, Any]) -> bool:
        """Whether the primary has that image, and Flagger rests or analyses it.

        A Failed that was there before our change tells nothing.
        """
        phase = _phase(canary)
        if phase not in (*_RESTING, *_ANALYSED):
            return False
        target = self._target(canary)
        if (seen := self._image(target.read(ctx))) != version:
            raise target.changed(ctx, seen, version)
        if self._image(self._primary(ctx, canary)) == version:
            return True
        if phase == "Failed" and _status(canary).get("lastAppliedSpec", "") != had:
            hint = f"{self.object.kubectl} describe {self.object.resource} tells which checks failed"
            host = self.object.cluster(ctx).name
            raise HostError(f"{self.object.label}: {version} Failed: {_said(canary)}", host=host, hint=hint)
        return False

    def _late(self, canary: Mapping[str, Any]) -> str:
        gates = ", ".join(str(gate["url"]) for gate in _gates(canary))
        return "it is not promoted in time; does Flagger run?" + (f" Its gates may be closed: {gates}" if gates else "")


def _status(canary: Mapping[str, Any]) -> Mapping[str, Any]:
    return canary.get("status") or {}


def _phase(canary: Mapping[str, Any]) -> str:
    return str(_status(canary).get("phase", ""))


def _said(canary: Mapping[str, Any]) -> str:
    told = (each.get("message") for each in _status(canary).get("conditions") or () if each["type"] == "Promoted")
    return str(next(filter(None, told), "") or "Flagger gives no reason")


def _settled(deployment: Mapping[str, Any]) -> bool:
    status, wanted = deployment.get("status") or {}, int(deployment["spec"].get("replicas", 1))
    seen = int(status.get("observedGeneration") or 0) >= int(deployment["metadata"]["generation"])
    return seen and [wanted] * 2 == [int(status.get(key) or 0) for key in ("updatedReplicas", "replicas")]


def _gates(canary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The webhooks that may hold a release back."""
    hooks = canary["spec"]["analysis"].get("webhooks") or ()
    return [each for each in hooks if str(each.get("type", "")).startswith("confirm-")]
