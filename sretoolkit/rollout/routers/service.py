"""A Service whose selector is turned from one track to the other: all requests or none, for blue-green."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

from sretoolkit.errors import HostError, PlanError
from sretoolkit.plan import Context
from sretoolkit.rollout.cluster_object import ClusterObject
from sretoolkit.rollout.kubernetes import tracks
from sretoolkit.rollout.kubernetes.endpoints import wait_for
from sretoolkit.rollout.kubernetes.pods import ready
from sretoolkit.rollout.router import Router
from sretoolkit.rollout.workload import CANDIDATE, STABLE


@dataclass(frozen=True, kw_only=True)
class Service(Router):
    """``service`` selects the pods of the Deployment (``object``) ``name`` by ``track_label``, or those of its candidate."""

    only_switches: ClassVar[bool] = True

    service: str
    name: str
    context: str = ""
    namespace: str = "default"
    object: str = "Deployment"
    track_label: str = tracks.LABEL

    @property
    def target(self) -> str:
        """The Service's."""
        return self._service.target

    def check(self, ctx: Context) -> tuple[str, ...]:
        """Refuses a Service that somebody else writes, or that does not tell the tracks apart."""
        self._service.refuse_managed(self._service.read(ctx))
        self.weight(ctx)
        return (
            f"connections that are open stay with the old pods until they end: {self._service.label} only leads new ones",
        )

    def weight(self, ctx: Context) -> int:
        """0 or 100, by the selector. Raises `PlanError` when it selects neither track."""
        return self._colour(self._service.read(ctx), self._values(ctx))

    def set_weight(self, ctx: Context, percent: int) -> None:
        """Turn it, when there is a ready pod to turn to, and return once no other pod is led to."""
        if percent not in (0, 100):
            raise PlanError(f"{self._service.label} gives all requests or none, not {percent} %", hint="give 0 or 100")
        values = self._values(ctx)
        wanted = values[CANDIDATE if percent else STABLE]
        found = self._service.read(ctx)
        selector = {**found["spec"]["selector"], self.track_label: wanted}
        names = self._ready(ctx, selector)
        if not names:
            hint = "nothing was changed; make them ready first"
            what = f"no pod with {self.track_label}={wanted} is ready: {self._service.label} would lead nowhere"
            raise HostError(what, host=self._service.cluster(ctx).name, hint=hint)

        def change(new: dict[str, Any]) -> None:
            new["spec"]["selector"][self.track_label] = wanted

        self._service.edit(ctx, change, lambda new: new["spec"].get("selector"))

        foreign: set[str] = set()

        def done(seen: set[str]) -> bool:
            if (
                seen - names - foreign
            ):  # a pod that was not known may have become ready since: only then they are read again
                names.update(self._ready(ctx, selector))
                foreign.update(seen - names)
            return bool(seen) and seen <= names

        wait_for(
            ctx, self._service, done, late=f"its endpoints do not become the pods with {self.track_label}={wanted}"
        )

    def by_hand(self, percent: int) -> str:
        """The kubectl patch; the label's value is read from the stable workload's pods."""
        path = f"jsonpath={{.spec.template.metadata.labels.{self.track_label}}}"
        own = f"{self._service.kubectl} get {self.object.lower()}/{self.name} -o {shlex.quote(path)}"
        beside = f'case "$own" in {STABLE}) own={CANDIDATE};; *) own="$own-{CANDIDATE}";; esac && ' if percent else ""
        change = json.dumps({"spec": {"selector": {self.track_label: "OWN"}}})
        before, _, after = change.partition("OWN")
        patch = (
            f'{self._service.kubectl} patch {self._service.resource} -p {shlex.quote(before)}"$own"{shlex.quote(after)}'
        )
        return f"own=$({own}) && {beside}{patch}"

    @property
    def _service(self) -> ClusterObject:
        return tracks.service(self.context, self.namespace, self.service)

    def _values(self, ctx: Context) -> dict[str, str]:
        stable = tracks.workload(self.context, self.namespace, self.object, self.name)
        labels = tracks.labels_of(stable.read(ctx))
        if not labels.get(self.track_label):
            what = f"the pods of {stable.label} have no label {self.track_label}: no Service can tell them from others"
            hint = f"give them {self.track_label}: {STABLE} in their template first"
            raise PlanError(what, hint=hint)
        return {track: tracks.value(labels, self.track_label, track) for track in (STABLE, CANDIDATE)}

    def _colour(self, found: Mapping[str, Any], values: Mapping[str, str]) -> int:
        selected = (found["spec"].get("selector") or {}).get(self.track_label, "")
        if selected not in values.values():
            what = f"{self._service.label} selects {self.track_label}={selected or 'anything'}, which is neither track"
            change = json.dumps({"spec": {"selector": {self.track_label: values[STABLE]}}})
            hint = f"{self._service.kubectl} patch {self._service.resource} -p {shlex.quote(change)}"
            raise PlanError(what, hint=hint)
        return 100 if selected == values[CANDIDATE] else 0

    def _ready(self, ctx: Context, selector: Mapping[str, str]) -> set[str]:
        path = f"/api/v1/namespaces/{quote(self.namespace)}/pods"
        chosen = tracks.query(selector)
        listed = self._service.cluster(ctx).items(path, timeout=min(30, ctx.remaining()), labelSelector=chosen)
        return {str(pod["metadata"]["name"]) for pod in listed if ready(pod)}
