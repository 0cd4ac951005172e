"""A rolling change: the instances become the new version batch after batch, with a question between."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sretoolkit.errors import PlanError
from sretoolkit.plan import Context
from sretoolkit.rollout.course import Course
from sretoolkit.rollout.rollout import Rollout
from sretoolkit.rollout.strategy import Compiled, Strategy


@dataclass(frozen=True, kw_only=True)
class Rolling(Strategy):
    """``max_unavailable``: instances of a batch, or a percent of all ("25%"); ``bake``: how long all must stay well after it.

    ``ask`` waits for a person after the first batch.
    """

    routed = False

    max_unavailable: str = "25%"
    bake: timedelta = timedelta(minutes=1)
    ask: bool = False

    def compile(self, rollout: Rollout, version: str, ctx: Context) -> Compiled:
        """A change for each batch, a wait after each."""
        found = rollout.workload.look(ctx, version)
        if found.version == version:
            raise PlanError(f"{rollout.name} runs {version} already", hint="nothing is to be done")
        course = Course(rollout, ctx, scaled=found.scaled)
        batches = rollout.workload.batches(ctx, self._size(found.replicas))
        for number, batch in enumerate(batches):
            course.make(batch, {"version": version}, for_good=rollout.irreversible)
            course.bake(self.bake)
            if self.ask and number == 0 and len(batches) > 1:
                course.ask(f"{version} in the other {len(batches) - 1} batches of {rollout.name}")
        return Compiled(items=course.items)

    def _size(self, whole: int) -> int:
        text = self.max_unavailable.strip()
        number = text.removesuffix("%")
        if not number.isdecimal() or not int(number):
            raise PlanError(f"max_unavailable {text!r} is no number", hint='write "2" or "25%"')
        return max(1, whole * int(number) // 100) if text.endswith("%") else int(number)
