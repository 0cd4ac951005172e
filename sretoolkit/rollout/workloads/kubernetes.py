"""A Deployment or StatefulSet; the new version runs beside it in a copy of it, or takes its place batch by batch.

Pods of the tracks differ by one label (``track_label``). Where the selector of the stable workload names that label, no two
selectors overlap; where it does not, Kubernetes keeps the pods apart by their owners, which is said in a finding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import quote

from sretoolkit.errors import HostError, PlanError
from sretoolkit.hosts.cluster import ClusterError
from sretoolkit.hosts.kubernetes_workloads import refuse
from sretoolkit.plan import Context
from sretoolkit.rollout.cluster_object import ClusterObject
from sretoolkit.rollout.kubernetes import pods as told
from sretoolkit.rollout.kubernetes import template as templates
from sretoolkit.rollout.kubernetes import tracks
from sretoolkit.rollout.kubernetes.by_hand import command
from sretoolkit.rollout.kubernetes.history import revisions
from sretoolkit.rollout.kubernetes.settling import Settling, gone, ordinal
from sretoolkit.rollout.kubernetes.surroundings import Surroundings
from sretoolkit.rollout.workload import CANDIDATE, STABLE, Found, Revision, Workload

_PARTITION = "partition:"


@dataclass(frozen=True, kw_only=True)
class Kubernetes(Workload):
    """The version of ``name`` is the image of its ``container`` ("" = the only one).

    ``candidate``: what the copy is called ("" = NAME-canary). ``references``: ConfigMaps and Secrets that belong to a
    version, ``{"ConfigMap/web": "ConfigMap/web-{version}"}``, where {version} is the image's tag; they must be there.
    """

    name: str
    context: str = ""
    namespace: str = "default"
    object: Literal["Deployment", "StatefulSet"] = "Deployment"
    candidate: str = ""
    container: str = ""
    track_label: str = tracks.LABEL
    references: dict[str, str] = field(default_factory=dict)
    patience: timedelta = timedelta(minutes=10)

    @property
    def target(self) -> str:
        """``kubernetes:CONTEXT/NAMESPACE/KIND/NAME``."""
        return self._thing(STABLE).target

    def label(self, track: str) -> str:
        """``Deployment shop/web-canary``."""
        if track.startswith(_PARTITION):
            return f"{self._thing(STABLE).label}, pods from number {track.removeprefix(_PARTITION)} on"
        return self._thing(track).label

    def look(self, ctx: Context, version: str = "") -> Found:
        """Read the workload and all that must be respected; of a Secret, whether it is there."""
        thing = self._thing(STABLE)
        found = self._stable(ctx)
        refuse(found, self.object)
        around = Surroundings(ctx=ctx, thing=thing)
        now, labels = self._version(found), tracks.labels_of(found)
        pods = around.listed("", "pods", "what runs now", labels=tracks.query(tracks.chosen(found)))
        name = templates.container(found["spec"]["template"], self.container, thing.label)["name"]
        around.images(tracks.owned(list(pods), found), name, now)
        scaled = around.autoscaler()
        around.refuse_dip(found, labels)
        replicas = int(found["spec"].get("replicas", 1))
        around.quota(found["spec"]["template"], replicas)
        self._selectors(around, found, scaled)
        self._release(around, found, version or now)
        candidate = self.track(ctx, CANDIDATE)
        return Found(
            version=now, replicas=replicas, candidate=candidate, scaled=bool(scaled), findings=tuple(around.findings)
        )

    def track(self, ctx: Context, track: str) -> dict[str, Any] | None:
        """Image and wanted number of instances; of a partition the image alone."""
        if track.startswith(_PARTITION):
            return {"version": self._version_from(ctx, int(track.removeprefix(_PARTITION)))}
        found = self._thing(track).find(ctx)
        if found is None or found["metadata"].get("deletionTimestamp"):  # it goes, and nothing keeps it any more
            return None
        if not templates.ours(found, self.name, track):
            hint = "give another name for ours (candidate = ...), or end that one"
            raise PlanError(f"{self.label(track)} is there and was not made for {self.label(STABLE)}", hint=hint)
        return {"version": self._version(found), "replicas": int(found["spec"].get("replicas", 1))}

    def set_track(self, ctx: Context, track: str, state: Mapping[str, Any] | None) -> None:
        """One write, then a watch on the workload and its pods until all are ready, or it is known that they never are."""
        if track.startswith(_PARTITION):
            self._roll(ctx, int(track.removeprefix(_PARTITION)), str((state or {})["version"]))
        elif state is None:
            self._remove(ctx, track)
        elif track == STABLE and self.object == "StatefulSet" and set(state) == {"version"}:
            self._roll(ctx, 0, str(state["version"]))
        else:
            self._make(ctx, track, state)

    def trouble(self, ctx: Context, track: str) -> str:
        """Containers that do not come up again, or (of a new version) were started again; and when no pod is ready at all."""
        thing = self._thing(STABLE if track.startswith(_PARTITION) else track)
        found = thing.find(ctx)
        if found is None:
            return "it is gone"
        pods = tracks.owned(self._pods(ctx, found), found)
        mine = [pod for pod in pods if told.of_template(pod, found["spec"]["template"])]
        wrong = told.stuck(mine) or ("" if track == STABLE else told.restarted(mine))
        if not wrong and int(found["spec"].get("replicas", 1)) and not any(map(told.ready, pods)):
            wrong = f"no pod is ready: {told.unready(pods) or 'there is none'}"
        return wrong

    def batches(self, ctx: Context, size: int) -> Sequence[str]:
        """Of a StatefulSet its pods from the last number down; a Deployment replaces them by its own maxUnavailable."""
        if self.object != "StatefulSet":
            return [STABLE]
        replicas = int(self._stable(ctx)["spec"].get("replicas", 1))
        return [f"{_PARTITION}{max(0, first)}" for first in range(replicas - size, -size, -size)] or [STABLE]

    def revisions(self, ctx: Context) -> Sequence[Revision]:
        """Those that the cluster keeps (revisionHistoryLimit), with their change cause and where they differ."""
        found = self._stable(ctx)
        plural = "replicasets" if self.object == "Deployment" else "controllerrevisions"
        path = f"/apis/apps/v1/namespaces/{quote(self.namespace)}/{plural}"
        chosen = tracks.query(tracks.chosen(found))
        kept = self._thing(STABLE).cluster(ctx).items(path, timeout=min(30, ctx.remaining()), labelSelector=chosen)
        return revisions(found, kept, self.container, self.label(STABLE))

    def by_hand(self, track: str, state: Mapping[str, Any] | None) -> str:
        """The kubectl commands."""
        if track.startswith(_PARTITION):
            return command(self._thing(STABLE), self._thing(STABLE), STABLE, state, self.container, self.track_label)
        return command(self._thing(track), self._thing(STABLE), track, state, self.container, self.track_label)

    # ------------------------------------------------------------------ changes

    def _make(self, ctx: Context, track: str, state: Mapping[str, Any]) -> None:
        thing = self._thing(track)
        found = thing.find(ctx)
        if found is not None and found["metadata"].get("deletionTimestamp"):
            gone(ctx, thing)
            found = None
        if found is None:
            found = self._create(ctx, track, state)
        if not templates.ours(found, self.name, track):
            hint = "give another name for ours (candidate = ...)"
            raise HostError(f"{thing.label} is somebody else's", host=thing.cluster(ctx).name, hint=hint)
        before = (self._version(found), int(found["spec"].get("replicas", 1)))
        wanted = (str(state.get("version", before[0])), int(state.get("replicas", before[1])))
        if wanted[1] != before[1] and track == STABLE:
            self._refuse_scaled(ctx, thing)
        if wanted[1] < before[1]:
            Surroundings(ctx=ctx, thing=thing).refuse_drain(found, tracks.labels_of(found), wanted[1])
        found = thing.edit(ctx, lambda new: self._write(new, state), lambda now: self._now(now, state))
        growing = wanted[0] != before[0] or wanted[1] >= before[1]
        if self.object == "StatefulSet":
            self._clear(ctx, found)
        Settling(ctx, thing, found, growing=growing).wait()

    def _create(self, ctx: Context, track: str, state: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of the stable workload; what its template holds goes from the server to the server alone."""
        thing, stable = self._thing(track), self._thing(STABLE).read(ctx)
        if track == STABLE or stable["spec"].get("volumeClaimTemplates"):
            hint = 'use the strategy "rolling"'
            raise PlanError(f"{self.label(STABLE)} has volumes of its own: no copy of it can be made", hint=hint)
        replicas = int(state.get("replicas", 1))
        kind = {**stable, "kind": self.object}
        made = templates.copied(kind, name=thing.name, label=self.track_label, track=track, replicas=replicas)
        self._write(made, state)
        try:
            return thing.cluster(ctx).create(thing.collection(ctx), made, timeout=min(30, ctx.remaining()))
        except ClusterError as error:
            if error.status != 409:
                raise
            return thing.read(ctx)  # it came about at the first time, when no answer reached us

    def _remove(self, ctx: Context, track: str) -> None:
        thing = self._thing(track)
        found = thing.find(ctx)
        if found is None:
            return
        if track == STABLE or not templates.ours(found, self.name, track):
            hint = "only what a rollout has made is removed by it"
            raise HostError(f"{thing.label} was not made by a rollout", host=thing.cluster(ctx).name, hint=hint)
        path = f"{thing.collection(ctx)}/{quote(thing.name)}"
        uid, seconds = str(found["metadata"]["uid"]), min(30, ctx.remaining())
        try:
            thing.cluster(ctx).delete(path, uid=uid, propagation="Foreground", timeout=seconds)
        except ClusterError as error:
            if error.status != 404:
                raise
        gone(ctx, thing)

    def _roll(self, ctx: Context, first: int, version: str) -> None:
        """Make the pods of a StatefulSet from a number on another version."""
        thing = self._thing(STABLE)
        found = thing.read(ctx)
        below = [pod for pod in tracks.owned(self._pods(ctx, found), found) if ordinal(pod) < first]
        place = first if any(self._image(pod) != version for pod in below) else 0

        def change(new: dict[str, Any]) -> None:
            self._write(new, {"version": version})
            new["spec"]["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": {"partition": place}}

        found = thing.edit(ctx, change, self._version)
        self._clear(ctx, found)
        Settling(ctx, thing, found, growing=True, partition=place).wait()

    def _clear(self, ctx: Context, found: Mapping[str, Any]) -> None:
        """Pods of a version that is given up and never became ready are deleted: a StatefulSet would wait for them for ever."""
        cluster = self._thing(STABLE).cluster(ctx)
        for pod in tracks.owned(self._pods(ctx, found), found):
            if not told.ready(pod) and not told.of_template(pod, found["spec"]["template"]):
                path = f"/api/v1/namespaces/{quote(self.namespace)}/pods/{quote(pod['metadata']['name'])}"
                try:
                    cluster.delete(path, uid=pod["metadata"]["uid"], timeout=min(30, ctx.remaining()))
                except ClusterError as error:
                    if error.status not in (404, 409):
                        raise

    def _write(self, new: dict[str, Any], state: Mapping[str, Any]) -> None:
        """What the state names, and nothing else: an autoscaler may set the rest meanwhile."""
        if state.get("version", self._version(new)) != self._version(new):
            name, references, label = self.container, self.references, self.label(STABLE)
            template, version = new["spec"]["template"], str(state["version"])
            templates.set_version(template, version, name=name, references=references, label=label)
        if "replicas" in state:
            new["spec"]["replicas"] = int(state["replicas"])

    def _now(self, found: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
        """What the state names, as it is: nobody else may change that while we do."""
        return {key: self._version(found) if key == "version" else found["spec"].get("replicas") for key in state}

    # ------------------------------------------------------------------ reading

    def _thing(self, track: str) -> ClusterObject:
        name = tracks.named(self.name, track, self.candidate)
        return tracks.workload(self.context, self.namespace, self.object, name)

    def _stable(self, ctx: Context) -> dict[str, Any]:
        found = self._thing(STABLE).find(ctx)
        if found is None:
            hint = f"{self._thing(STABLE).kubectl} get {self.object.lower()}s"
            raise PlanError(f"there is no {self.label(STABLE)}", hint=hint)
        return {**found, "kind": self.object}

    def _pods(self, ctx: Context, found: Mapping[str, Any]) -> list[dict[str, Any]]:
        path, chosen = f"/api/v1/namespaces/{quote(self.namespace)}/pods", tracks.query(tracks.chosen(found))
        return self._thing(STABLE).cluster(ctx).items(path, timeout=min(30, ctx.remaining()), labelSelector=chosen)

    def _version(self, found: Mapping[str, Any]) -> str:
        return str(templates.container(found["spec"]["template"], self.container, self.label(STABLE))["image"])

    def _image(self, pod: Mapping[str, Any]) -> str:
        return str(templates.container(pod, self.container, self.label(STABLE))["image"])

    def _version_from(self, ctx: Context, first: int) -> str:
        """The version that pods from a number on have or are about to get; of those not yet begun, what they have."""
        found = self._stable(ctx)
        rolling = (found["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
        if int(rolling.get("partition") or 0) <= first:
            return self._version(found)
        pods = sorted(tracks.owned(self._pods(ctx, found), found), key=ordinal)
        return next((self._image(pod) for pod in pods if ordinal(pod) >= first), self._version(found))

    # ------------------------------------------------------------------ what is refused or told before

    def _refuse_scaled(self, ctx: Context, thing: ClusterObject) -> None:
        scaler = Surroundings(ctx=ctx, thing=thing).autoscaler()
        if scaler:
            what = f"HorizontalPodAutoscaler {scaler} sets how many pods {thing.label} has: it would take a change back"
            hint = "change its minReplicas instead, or take it away for the time of the rollout"
            raise HostError(what, host=thing.cluster(ctx).name, hint=hint)

    def _selectors(self, around: Surroundings, found: Mapping[str, Any], scaled: str) -> None:
        key, chosen, labels = self.track_label, tracks.chosen(found), tracks.labels_of(found)
        beside = {**labels, key: tracks.value(labels, key, CANDIDATE)}
        if key not in chosen:
            hint = (
                f"give it the label {key}: stable in its selector and its pods (a new object: selectors never change)"
            )
            if scaled:
                what = f"HorizontalPodAutoscaler {scaled} would count the candidate's pods as those of {self.label(STABLE)}"
                raise PlanError(f"{what}, whose selector has no {key}", hint=hint)
            what = "its selector takes the candidate's pods too; Kubernetes itself tells them apart by their owners"
            around.note("low", f"{what}, people and other programs may not", hint, "selector")
        for each in around.listed("", "services", "which Services lead to its pods"):
            selector = each["spec"].get("selector")
            if tracks.selects(selector, labels) and tracks.selects(selector, beside):
                what = f"Service {each['metadata']['name']} leads to the candidate's pods as soon as they are ready"
                hint = f'the router "replicas" needs that; for any other let its selector name {key}'
                around.note("info", what, hint, "service")

    def _release(self, around: Surroundings, found: Mapping[str, Any], version: str) -> None:
        """The ConfigMaps and Secrets of a version must be there, and those of the present one must be its own."""
        template = found["spec"]["template"]
        named = templates.refers_to(template)
        for (kind, plain), name in templates.versioned(self.references, self._version(found)).items():
            if (kind, name) not in named:
                what = f"{self.label(STABLE)} does not refer to {kind} {name}, which belongs to {self._version(found)}"
                hint = f"let it refer to a copy of {plain} of that name first, so that going back finds the old content"
                raise PlanError(what, hint=hint)
        changed = templates.with_version(
            template, version, name=self.container, references=self.references, label=self.label(STABLE)
        )
        around.references(changed)
