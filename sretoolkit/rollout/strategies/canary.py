"""A canary: the new version runs beside the old one, gets a growing share of the requests, and is judged at each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sretoolkit.errors import PlanError
from sretoolkit.plan import Context
from sretoolkit.rollout.course import Course
from sretoolkit.rollout.rollout import Rollout
from sretoolkit.rollout.router import MATCH, MIRROR, Router
from sretoolkit.rollout.strategy import Compiled, Strategy
from sretoolkit.rollout.workload import BASELINE, CANDIDATE, STABLE, Found


@dataclass(frozen=True, kw_only=True)
class Canary(Strategy):
    """``steps``: the shares in percent, ascending; ``bake``: how long the judge may take at each.

    ``match`` lets a header or cookie lead to the candidate before any share does, ``mirror`` copies that percent of the
    requests to it first. ``baseline`` runs the old version once more, as big as the candidate, to compare with. ``ask``
    waits for a person before the candidate gets everything; ``instances`` sizes the candidate (0 = by its share).
    """

    steps: tuple[int, ...] = (5, 25, 50)
    bake: timedelta = timedelta(minutes=15)
    match: dict[str, str] | None = None
    mirror: int = 0
    baseline: bool = False
    ask: bool = False
    instances: int = 0

    def compile(self, rollout: Rollout, version: str, ctx: Context) -> Compiled:
        """The whole course, from no candidate to none."""
        router = _suitable(self, rollout)
        found = rollout.workload.look(ctx, version)
        notes = [*router.check(ctx), *self._shares(router, ctx), *_unrelieved(rollout)]
        course = Course(rollout, ctx, scaled=found.scaled)
        _refuse_begun(rollout, course, found)
        self._begin(course, rollout, router, found, version)
        for percent in self.steps:
            self._grow(course, router, found, percent)
            course.weigh(percent)
            course.split_seen()
            course.judge(self.bake)
        if self.ask:
            course.ask(f"all requests to {version} of {rollout.name}")
        self._promote(course, router, found, version)
        return Compiled(items=course.items, notes=notes, judged=(self.bake, self.steps))

    def _begin(self, course: Course, rollout: Rollout, router: Router, found: Found, version: str) -> None:
        first = 0 if router.by_replicas else self.instances or course.share(found.replicas, self.steps[0])
        course.make(CANDIDATE, {"version": version, "replicas": first}, for_good=rollout.irreversible)
        if self.baseline:
            course.make(BASELINE, {"version": found.version, "replicas": max(1, first)})
        if self.match:
            course.lead(None, self.match)
            course.ask(f"{version} of {rollout.name} does what it should by its {' '.join(self.match.values())}")
            course.lead(self.match, None)
        if self.mirror:
            course.copy(0, self.mirror)
            course.judge(self.bake)
            course.copy(self.mirror, 0)

    def _grow(self, course: Course, router: Router, found: Found, percent: int) -> None:
        if router.by_replicas or self.instances:
            return
        needed = course.share(found.replicas, percent)
        course.make(CANDIDATE, {"replicas": needed})
        if self.baseline:
            course.make(BASELINE, {"replicas": needed})

    def _promote(self, course: Course, router: Router, found: Found, version: str) -> None:
        """The candidate carries everything while the stable track becomes the new version; so no request waits."""
        workload = course.rollout.workload
        if not router.by_replicas:
            course.make(CANDIDATE, {"replicas": found.replicas})
        if workload.carries_all:
            course.weigh(100)
        if self.baseline:
            course.make(BASELINE, None)
        for batch in [STABLE] if workload.scales else workload.batches(course.ctx, 1):
            course.make(batch, {"version": version})
        course.weigh(0)
        course.make(CANDIDATE, None)

    def _shares(self, router: Router, ctx: Context) -> list[str]:
        """Where a share cannot come about exactly."""
        really = {percent: router.achieved(ctx, percent) for percent in self.steps}
        return [
            f"{percent} % really is {share:.3g} % with this router"
            for percent, share in really.items()
            if abs(share - percent) >= 0.5
        ]


def _suitable(strategy: Canary, rollout: Rollout) -> Router:
    router = rollout.router
    steps = strategy.steps
    if router is None:
        raise PlanError(f"a canary of {rollout.name} needs a router", hint="give router = {kind = ...}")
    if router.only_switches:
        hint = 'use the strategy "blue-green", or another router'
        raise PlanError(f"the router {router.kind!r} gives all requests or none, a canary needs shares", hint=hint)
    if not steps or list(steps) != sorted(set(steps)) or not (0 < steps[0] and steps[-1] < 100):
        raise PlanError(f"the steps {list(steps)} do not fit", hint="whole percents from 1 to 99, ascending")
    for what, wanted in ((MATCH, strategy.match), (MIRROR, strategy.mirror)):
        if wanted and what not in router.can:
            raise router.cannot(what)
    return router


def _unrelieved(rollout: Rollout) -> list[str]:
    """What it costs when the candidate is too small to carry all while the stable instances are changed."""
    if rollout.workload.carries_all:
        return []
    return ["the old instances are changed while they serve: give as many candidates, or each change may lose requests"]


def _refuse_begun(rollout: Rollout, course: Course, found: Found) -> None:
    """A rollout that was left half done is ended first: what is now there is in nobody's plan."""
    label = rollout.workload.label(CANDIDATE)
    if course.track(CANDIDATE) is not None or course.weight:
        state: Any = found.candidate or course.track(CANDIDATE)
        hint = f"`sretoolkit runs` tells whose it is; undo or recover that run, or `sretoolkit rollout abort {rollout.name}`"
        raise PlanError(f"{label} is there already: {state}, with {course.weight} % of the requests", hint=hint)
