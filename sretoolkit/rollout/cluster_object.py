"""One object of a cluster that a rollout changes: read, edited without losing what others write, watched."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sretoolkit.errors import HostError, PlanError
from sretoolkit.hosts import gitops
from sretoolkit.hosts.cluster import MANAGER, Cluster, ClusterError
from sretoolkit.plan import Context
from sretoolkit.rollout.json_patch import dropped, operations

_TRIES = 5  # its own controller changes the object too, by its status
_WATCH = 20.0  # seconds; a quiet watch is begun anew, so that a connection that died unnoticed is
_SHOWN = 4  # differences that an error names
_OURS = ("spec", "status")


@dataclass(frozen=True, kw_only=True)
class ClusterObject:
    """Names only; ``versions``: those of its API group that are understood, the best first.

    Every method raises `ClusterError` when the API server refuses, and `Unreachable` when it does not answer.
    """

    context: str
    namespace: str
    kind: str
    name: str
    group: str
    plural: str
    versions: tuple[str, ...]

    @property
    def label(self) -> str:
        """``HTTPRoute shop/web``."""
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def target(self) -> str:
        """What is leased: ``kubernetes:CONTEXT/NAMESPACE/KIND/NAME``."""
        return f"kubernetes:{self.context}/{self.namespace}/{self.kind}/{self.name}"

    @property
    def resource(self) -> str:
        """As kubectl takes it: ``httproutes.gateway.networking.k8s.io/web``."""
        return f"{self.plural}{'.' if self.group else ''}{self.group}/{self.name}"

    @property
    def kubectl(self) -> str:
        """How a person begins a command about it."""
        context = f" --context {self.context}" if self.context and self.context != "in-cluster" else ""
        return f"kubectl{context} -n {self.namespace}"

    def by_hand(self, program: str, written: str) -> str:
        """The command that lets jq alter the object by a program and patches the ``written`` fields, as jq names them.

        It is refused (409) when somebody changes the object between. ``kubectl replace`` would not do: it writes the
        resource version into what a later ``kubectl apply`` compares with, which then fails.
        """
        patch = f"{program} | {{metadata: {{resourceVersion: .metadata.resourceVersion}}, {written}}}"
        read = f"{self.kubectl} get {self.resource} -o json | jq {shlex.quote(patch)}"
        return f'{self.kubectl} patch {self.resource} --type=merge -p "$({read})"'

    def cluster(self, ctx: Context) -> Cluster:
        """The connection that the steps of a plan share."""
        return Cluster.shared(ctx, self.context)

    def collection(self, ctx: Context) -> str:
        """The path of all such objects of the namespace; raises `PlanError` where no understood version is served."""
        if not self.group:
            return f"/api/v1/namespaces/{quote(self.namespace)}/{self.plural}"
        served = self.cluster(ctx).served(self.group, timeout=min(30, ctx.remaining()))
        version = next((each for each in self.versions if each in served), "")
        if not version:
            has = f"only {', '.join(served)}" if served else "none at all"
            what = f"{self.cluster(ctx).name} serves no {self.kind} of {self.group} {' or '.join(self.versions)}: {has}"
            raise PlanError(what, hint="install its custom resources, or choose another kind")
        return f"/apis/{self.group}/{version}/namespaces/{quote(self.namespace)}/{self.plural}"

    def find(self, ctx: Context) -> dict[str, Any] | None:
        """The object now, None when there is none."""
        path = f"{self.collection(ctx)}/{quote(self.name)}"
        try:
            return self.cluster(ctx).get(path, timeout=min(30, ctx.remaining()))
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    def read(self, ctx: Context) -> dict[str, Any]:
        """The object now; raises `HostError` when there is none."""
        found = self.find(ctx)
        if found is None:
            hint = f"{self.kubectl} get {self.resource.rpartition('/')[0]}"
            raise HostError(f"there is no {self.label}", host=self.cluster(ctx).name, hint=hint)
        return found

    def refuse_managed(self, found: Mapping[str, Any]) -> None:
        """Raise `PlanError` when somebody else would take a change back."""
        if by := gitops.managed_by(found):
            raise PlanError(f"{self.label} is managed by {by}, which would take the change back", hint=gitops.HINT)
        owners = found["metadata"].get("ownerReferences") or ()
        if owner := next((each for each in owners if each.get("controller")), None):
            what = f"{self.label} is made by {owner['kind']} {owner['name']}, which would take the change back"
            raise PlanError(what, hint=f"change the {owner['kind']} instead")

    def edit(
        self,
        ctx: Context,
        change: Callable[[dict[str, Any]], None],
        mine: Callable[[Mapping[str, Any]], Any],
        *,
        part: str = "",
        rehearsed: bool = False,
    ) -> dict[str, Any]:
        """Let ``change`` alter a copy, and write what differs, if the object is still the one that was read.

        Somebody else may change what is not ``mine`` meanwhile. ``part``: a subresource ("status"). ``rehearsed``: the
        server is asked for a dry run first, so that a field that it would drop is found before anything is written.
        Raises `HostError` when somebody else changes what is ours, and when the server drops a field.
        """
        found = self.read(ctx)
        ours = mine(found)
        for attempt in range(1, _TRIES + 1):
            meant = deepcopy(found)
            change(meant)
            wanted = operations(found, meant)
            if not wanted:
                return found
            try:
                if rehearsed:
                    self._kept(ctx, meant, self._patch(ctx, found, wanted, part=part, rehearsal=True))
                answer = self._patch(ctx, found, wanted, part=part)
                break
            except ClusterError as error:
                if error.status != 409 or attempt == _TRIES:
                    raise
            found = self.read(ctx)
            if mine(found) not in (ours, mine(meant)):  # what is meant may have come about though its answer was lost
                raise self.changed(ctx, mine(found), ours, by=gitops.last_writer(found, but=MANAGER))
        self._kept(ctx, meant, answer)
        return answer

    def wait(
        self,
        ctx: Context,
        found: dict[str, Any],
        done: Callable[[Mapping[str, Any]], bool],
        *,
        late: str,
        within: float = float("inf"),
    ) -> dict[str, Any]:
        """Watch the object until it is ``done``, which may raise to end it, at most ``within`` seconds.

        Raises `HostError` with ``late`` when that or the step's own time is over.
        """
        end = ctx.clock.monotonic() + within
        while not done(found):
            left = min(ctx.remaining(), end - ctx.clock.monotonic())
            if left <= 0.2:
                hint = f"{self.kubectl} describe {self.resource}"
                raise HostError(f"{self.label}: {late}", host=self.cluster(ctx).name, hint=hint)
            found = self._next(ctx, found, min(_WATCH, left))
        return found

    def changed(self, ctx: Context, seen: Any, left: Any, *, by: str = "") -> HostError:
        """What is raised when somebody else has changed what is ours; ``by``: who, where that is known."""
        hint = f"see who ({self.kubectl} get {self.resource} -o yaml --show-managed-fields), then plan anew"
        whole = f"it is {seen!r}, it was {left!r}"
        parts = ", ".join(f"{each['path']} is {each.get('value')!r}" for each in operations(left, seen)[:_SHOWN])
        told = parts if isinstance(seen, Mapping) and isinstance(left, Mapping) else whole
        what = f"{self.label} was changed by {by or 'somebody else'} meanwhile: {told}"
        return HostError(what, host=self.cluster(ctx).name, hint=hint)

    def _next(self, ctx: Context, found: Mapping[str, Any], left: float) -> dict[str, Any]:
        cluster, version = self.cluster(ctx), str(found["metadata"]["resourceVersion"])
        for event in cluster.watch(self.collection(ctx), version=version, name=self.name, timeout=left):
            if event["type"] == "DELETED":
                raise HostError(f"{self.label} was deleted meanwhile", host=cluster.name, hint="see who did that")
            if event["type"] == "ERROR":  # the version is too old by now
                break
            return dict(event["object"])
        return self.read(ctx)

    def _patch(
        self,
        ctx: Context,
        found: Mapping[str, Any],
        wanted: list[dict[str, Any]],
        *,
        part: str,
        rehearsal: bool = False,
    ) -> dict[str, Any]:
        # the present version is "replaced" by the one that was read: a conflict (409) when it is another by now
        same = {"op": "replace", "path": "/metadata/resourceVersion", "value": found["metadata"]["resourceVersion"]}
        path = f"{self.collection(ctx)}/{quote(self.name)}{f'/{part}' if part else ''}"
        return self.cluster(ctx).patch_json(path, [same, *wanted], dry_run=rehearsal, timeout=min(30, ctx.remaining()))

    def _kept(self, ctx: Context, meant: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        lost = dropped({key: meant[key] for key in _OURS if key in meant}, answer)
        if lost:
            what = (
                f"the API server dropped {lost} of {self.label}: its release of that resource does not know the field"
            )
            raise HostError(what, host=self.cluster(ctx).name, hint="upgrade its custom resources, or leave that out")
