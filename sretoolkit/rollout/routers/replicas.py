"""A plain Service that leads to both tracks: the share of the candidate is its share of the pods."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sretoolkit.errors import HostError, PlanError
from sretoolkit.plan import Context
from sretoolkit.rollout.cluster_object import ClusterObject
from sretoolkit.rollout.kubernetes import tracks
from sretoolkit.rollout.kubernetes.endpoints import wait_for
from sretoolkit.rollout.kubernetes.settling import Settling
from sretoolkit.rollout.kubernetes.surroundings import Surroundings
from sretoolkit.rollout.router import Router
from sretoolkit.rollout.workload import CANDIDATE, STABLE

NOTE = "sretoolkit.io/share"  # an annotation of the candidate: what is asked for, of how many pods, and what was there


@dataclass(frozen=True, kw_only=True)
class Replicas(Router):
    """``service`` leads to the Deployment ``name`` and to its ``candidate`` ("" = NAME-canary); both together keep their size.

    What was asked for is noted at the candidate, so that another process knows it: few pods give few different shares.
    """

    by_replicas: ClassVar[bool] = True

    service: str
    name: str
    context: str = ""
    namespace: str = "default"
    candidate: str = ""
    track_label: str = tracks.LABEL

    @property
    def target(self) -> str:
        """The Service's."""
        return self._service.target

    def check(self, ctx: Context) -> tuple[str, ...]:
        """Refuses a Service that does not lead to both tracks, an autoscaler, and a single pod; tells the shares there are."""
        stable, service = self._deployment(STABLE).read(ctx), self._service.read(ctx)
        labels, selector = tracks.labels_of(stable), service["spec"].get("selector")
        beside = {**labels, self.track_label: tracks.value(labels, self.track_label, CANDIDATE)}
        if not (tracks.selects(selector, labels) and tracks.selects(selector, beside)):
            what = f"{self._service.label} does not lead to both tracks: it selects {selector}"
            hint = f"take {self.track_label} out of its selector, or use a router with a Service for each track"
            raise PlanError(what, hint=hint)
        if scaler := Surroundings(ctx=ctx, thing=self._deployment(STABLE)).autoscaler():
            hint = "use a router that shares out by weights, or take the autoscaler away for that time"
            raise PlanError(f"HorizontalPodAutoscaler {scaler} would undo every share by replicas", hint=hint)
        total = self._total(stable, self._deployment(CANDIDATE).find(ctx))
        if total < 2:
            what = f"{self._deployment(STABLE).label} has {total} pods: they cannot be shared out"
            raise PlanError(what, hint="give it more replicas, or use another router")
        sticky = service["spec"].get("sessionAffinity") == "ClientIP"
        told = f"{total} pods share out the requests in steps of {100 / total:.3g} %, connection by connection"
        return (told, f"{self._service.label} is sticky (ClientIP): clients stay where they are") if sticky else (told,)

    def achieved(self, ctx: Context, percent: int) -> float:
        """The share of the pods."""
        total = self._total(self._deployment(STABLE).read(ctx), self._deployment(CANDIDATE).find(ctx))
        return 100 * shared(total, percent)[1] / max(1, total)

    def weight(self, ctx: Context) -> int:
        """What was asked for, when both Deployments have the pods for it; on the way the greater of the old and the new.

        So a change that broke off in the middle counts as one that has still to be taken back.
        """
        stable, candidate = self._deployment(STABLE).read(ctx), self._deployment(CANDIDATE).find(ctx)
        return self._weight(stable, candidate)

    def set_weight(self, ctx: Context, percent: int) -> None:
        """First more pods of the one that gets more, once these are served fewer of the other: there are never too few."""
        stable, candidate = self._deployment(STABLE), self._deployment(CANDIDATE)
        first, second = stable.read(ctx), candidate.find(ctx)
        if second is None:
            if not percent:
                return
            hint = "make the candidate first"
            raise HostError(f"{candidate.label} is not there", host=stable.cluster(ctx).name, hint=hint)
        total, before = self._total(first, second), self._weight(first, second)
        ours, theirs = shared(total, percent)
        note = {"percent": percent, "before": before, "total": total, "pods": [_replicas(first), _replicas(second)]}
        if theirs >= _replicas(second):
            self._scale(ctx, candidate, theirs, note)
            self._served(ctx, candidate, theirs)
            self._scale(ctx, stable, ours)
        else:
            self._write(ctx, candidate, _replicas(second), note)
            self._scale(ctx, stable, ours)
            self._served(ctx, stable, ours)
            self._scale(ctx, candidate, theirs)

    def by_hand(self, percent: int) -> str:
        """Both scales, by the number of pods that there are."""
        kubectl, name = self._service.kubectl, self._deployment(CANDIDATE).name
        count = f"{kubectl} get deployment/{self.name} deployment/{name} -o jsonpath='{{.items[*].spec.replicas}}'"
        total = f"total=$(( $({count} | tr ' ' +) )) && share=$(( (total * {percent} + 50) / 100 ))"
        scale = f"{kubectl} scale deployment/{name} --replicas=$share"
        return f"{total} && {scale} && {kubectl} scale deployment/{self.name} --replicas=$(( total - share ))"

    @property
    def _service(self) -> ClusterObject:
        return tracks.service(self.context, self.namespace, self.service)

    def _deployment(self, track: str) -> ClusterObject:
        name = tracks.named(self.name, track, self.candidate)
        return tracks.workload(self.context, self.namespace, "Deployment", name)

    def _total(self, stable: Mapping[str, Any], candidate: Mapping[str, Any] | None) -> int:
        """The pods of both; while one changes there are more than that, so it is noted."""
        if candidate is None or not _replicas(candidate):
            return _replicas(stable)
        return int(_note(candidate).get("total") or _replicas(stable) + _replicas(candidate))

    def _weight(self, stable: Mapping[str, Any], candidate: Mapping[str, Any] | None) -> int:
        if candidate is None or not _replicas(candidate):
            return 0
        now, note = (_replicas(stable), _replicas(candidate)), _note(candidate)
        if note:
            meant = shared(int(note["total"]), int(note["percent"]))
            if now == meant:
                return int(note["percent"])
            if now in _way((int(note["pods"][0]), int(note["pods"][1])), meant):
                return max(int(note["percent"]), int(note["before"]))
        return round(100 * now[1] / sum(now))

    def _write(
        self, ctx: Context, thing: ClusterObject, replicas: int, note: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        def change(new: dict[str, Any]) -> None:
            new["spec"]["replicas"] = replicas
            if note is not None:
                new["metadata"].setdefault("annotations", {})[NOTE] = json.dumps(note)

        return thing.edit(ctx, change, _replicas)

    def _scale(self, ctx: Context, thing: ClusterObject, replicas: int, note: Mapping[str, Any] | None = None) -> None:
        """Set the number of pods, and return once they are ready; or, where there are fewer, once the others get nothing."""
        found = thing.read(ctx)
        growing = replicas >= _replicas(found)
        if not growing:
            Surroundings(ctx=ctx, thing=thing).refuse_drain(found, tracks.labels_of(found), replicas)
        Settling(ctx, thing, self._write(ctx, thing, replicas, note), growing=growing).wait()
        if not growing:
            # those that stay may be broken, which is no reason not to go on taking them away
            self._served(ctx, thing, replicas, at_most=True)

    def _served(self, ctx: Context, thing: ClusterObject, replicas: int, *, at_most: bool = False) -> None:
        """Wait until the Service leads to so many pods of a Deployment."""

        def done(names: set[str]) -> bool:
            led = sum(_is_of(name, thing.name) for name in names)
            return led == replicas or (at_most and led < replicas)

        wait_for(ctx, self._service, done, late=f"it does not lead to {replicas} pods of {thing.name}")


def shared(total: int, percent: int) -> tuple[int, int]:
    """So many pods stable and candidate; a share that is neither none nor all has at least one of each."""
    exact = (total * percent + 50) // 100
    candidate = exact if percent in (0, 100) or total < 2 else min(total - 1, max(1, exact))
    return total - candidate, candidate


def _way(was: tuple[int, int], meant: tuple[int, int]) -> set[tuple[int, int]]:
    """What may be found while one becomes the other: the one that gets more is there before the other goes."""
    return {was, (max(was[0], meant[0]), max(was[1], meant[1]))}


def _note(candidate: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((candidate["metadata"].get("annotations") or {}).get(NOTE) or "{}")
        return found if {"percent", "before", "total", "pods"} <= found.keys() else {}
    except (ValueError, AttributeError):
        return {}


def _replicas(found: Mapping[str, Any]) -> int:
    return int(found["spec"].get("replicas", 1))


def _is_of(pod: str, deployment: str) -> bool:
    return re.fullmatch(rf"{re.escape(deployment)}-[a-z0-9]+-[a-z0-9]{{5}}", pod) is not None
