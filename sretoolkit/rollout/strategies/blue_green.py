"""Blue-green: the new version is made whole beside the old one, all requests flip to it at once, the old one is kept a while."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sretoolkit.errors import PlanError
from sretoolkit.plan import Context
from sretoolkit.rollout.course import Course
from sretoolkit.rollout.rollout import Rollout
from sretoolkit.rollout.strategy import Compiled, Strategy
from sretoolkit.rollout.workload import CANDIDATE, STABLE


@dataclass(frozen=True, kw_only=True)
class BlueGreen(Strategy):
    """The two colours are the tracks; the router tells which of them is live, and the other one gets the new version.

    ``ask`` waits for a person to look at the preview before the flip; ``verify``: how long the judge may take after it;
    ``keep``: how long the old colour stays whole after that, 0s = until the next rollout.
    """

    ask: bool = False
    verify: timedelta = timedelta(minutes=10)
    keep: timedelta = timedelta(minutes=10)

    def compile(self, rollout: Rollout, version: str, ctx: Context) -> Compiled:
        """Make the idle colour whole, flip, verify, and in the end let the old one go."""
        router = rollout.router
        if router is None:
            hint = "give router = {kind = ...}"
            raise PlanError(f"a blue-green rollout of {rollout.name} needs a router", hint=hint)
        found = rollout.workload.look(ctx, version)
        notes = [*router.check(ctx)]
        course = Course(rollout, ctx, scaled=found.scaled)
        if course.weight not in (0, 100):
            hint = "let a canary end, or set the router to 0 or 100 by hand"
            raise PlanError(f"{rollout.name} has {course.weight} % on the candidate: no colour is live", hint=hint)
        live, idle = (CANDIDATE, STABLE) if course.weight else (STABLE, CANDIDATE)
        serving = course.track(live) or {}
        if serving.get("version") == version:
            raise PlanError(f"{rollout.name} serves {version} already", hint="nothing is to be done")
        course.make(
            idle,
            {"version": version, "replicas": serving.get("replicas", found.replicas)},
            for_good=rollout.irreversible,
        )
        if self.ask:
            course.ask(f"the preview of {version} ({rollout.workload.label(idle)}) does what it should")
        course.weigh(100 - course.weight)
        course.split_seen()
        course.judge(self.verify)
        if self.keep:
            course.bake(self.keep)
            course.make(live, {"replicas": 0})
        else:
            notes.append(f"{rollout.workload.label(live)} stays whole, for an instant rollback")
        return Compiled(items=course.items, notes=notes)
