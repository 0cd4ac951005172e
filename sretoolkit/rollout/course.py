"""Writing a rollout down: each change knows what the ones before it will have made of the world."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sretoolkit.plan import Context, Gate, ManualGate, Step
from sretoolkit.rollout.gates import Bake, SplitSeen
from sretoolkit.rollout.router import SPLIT
from sretoolkit.rollout.steps import SetMatch, SetMirror, SetTrack, SetTrackForGood, SetWeight
from sretoolkit.rollout.workload import CANDIDATE, STABLE

if TYPE_CHECKING:
    from sretoolkit.rollout.rollout import Rollout


class Course:
    """The items of a plan in the making; a change that changes nothing is left out."""

    def __init__(self, rollout: Rollout, ctx: Context, *, scaled: bool = False) -> None:
        self.rollout = rollout
        self.ctx = ctx
        self.scaled = scaled  # an autoscaler sets how many instances there are
        self.items: list[Step | Gate] = []
        self.states: dict[str, dict[str, Any] | None] = {}
        self.weight = rollout.router.weight(ctx) if rollout.router else None
        self._workload = rollout.workload.to_dict()
        self._router = rollout.router.to_dict() if rollout.router else None

    def track(self, name: str) -> dict[str, Any] | None:
        """The state of a track at this point of the course."""
        if name not in self.states:
            self.states[name] = self.rollout.workload.track(self.ctx, name)
        return self.states[name]

    def make(self, name: str, state: Mapping[str, Any] | None, *, for_good: tuple[str, ...] = ()) -> None:
        """Make a track that state; keys that are left out stay as they are."""
        now = self.track(name)
        if state is not None and not self.rollout.workload.scales:
            state = {key: value for key, value in state.items() if key != "replicas"}
        if state is not None and now is not None:
            before: dict[str, Any] | None = {key: now.get(key) for key in state}
            changed = before != dict(state)
        else:
            before, changed = now, now != state
        if not changed:
            return
        about: dict[str, Any] = {
            "workload": self._workload,
            "track": name,
            "before": before,
            "after": None if state is None else dict(state),
        }
        self.items.append(SetTrackForGood(**about, because=for_good) if for_good else SetTrack(**about))
        self.states[name] = None if state is None else {**(now or {}), **state}

    def weigh(self, percent: int) -> None:
        """Give the candidate that share."""
        assert self._router is not None
        assert self.weight is not None
        if percent != self.weight:
            self.items.append(SetWeight(router=self._router, before=self.weight, after=percent))
            self.weight = percent
            self._forget_replicas()

    def lead(self, before: dict[str, str] | None, after: dict[str, str] | None) -> None:
        """Let a header or cookie lead to the candidate, or no longer."""
        assert self._router is not None
        self.items.append(SetMatch(router=self._router, before=before, after=after))

    def copy(self, before: int, after: int) -> None:
        """Mirror a part of the requests."""
        assert self._router is not None
        self.items.append(SetMirror(router=self._router, before=before, after=after))

    def split_seen(self) -> None:
        """Ask whether the share comes about, where the router counts."""
        router = self.rollout.router
        if router is not None and SPLIT in router.can:
            expected = router.achieved(self.ctx, self.weight or 0)
            self.items.append(SplitSeen(**self.standing(), expected=expected))

    def bake(self, duration: timedelta) -> None:
        """Wait and see."""
        horizon = duration + timedelta(minutes=1)
        interval = min(timedelta(seconds=10), max(timedelta(milliseconds=200), duration / 10))
        self.items.append(Bake(**self.standing(), duration=duration, horizon=horizon, interval=interval))

    def judge(self, duration: timedelta) -> None:
        """Judge the candidate for at most that long; without metrics, only wait."""
        if self.rollout.measures:
            self.items.append(self.rollout.analysis(duration, **self.standing()))
        else:
            self.bake(duration)

    def ask(self, question: str) -> None:
        """Wait for a person."""
        self.items.append(ManualGate(question=question))

    def standing(self) -> dict[str, Any]:
        """What a gate must find unchanged: all that was made so far, the version that all is held against, and the share."""
        made = {item.track for item in self.items if isinstance(item, SetTrack)}
        tracks = {name: self._lasting(self.states[name]) for name in sorted(made)}
        if CANDIDATE in made and STABLE not in made and (stable := self.track(STABLE)):
            tracks[STABLE] = {"version": stable.get("version")}
        return {"workload": self._workload, "tracks": tracks, "router": self._router, "weight": self.weight}

    def share(self, whole: int, percent: int) -> int:
        """How many instances that share of the requests needs, of ``whole`` that carry all."""
        return max(1, math.ceil(whole * percent / 100))

    def _lasting(self, state: dict[str, Any] | None) -> dict[str, Any] | None:
        """Of a state what stays so: an autoscaler, or a router that weighs by instances, sets their number."""
        by_router = self.rollout.router is not None and self.rollout.router.by_replicas
        return {"version": state.get("version")} if state and (by_router or self.scaled) else state

    def _forget_replicas(self) -> None:
        """A router that weighs by instances has changed how many there are: of the candidate none, when it has no share."""
        if self.rollout.router is None or not self.rollout.router.by_replicas:
            return
        for name, state in self.states.items():
            if state is not None:
                kept = {key: value for key, value in state.items() if key != "replicas"}
                self.states[name] = {**kept, "replicas": 0} if name == CANDIDATE and not self.weight else kept
