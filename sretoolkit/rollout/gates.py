"""What is asked between the changes of a rollout: does the world still stand as we left it, and do the shares come about."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sretoolkit.clock import format_duration
from sretoolkit.plan import Context, Gate, Verdict
from sretoolkit.rollout.router import Router, Split
from sretoolkit.rollout.workload import Workload

_ENOUGH = 100  # requests; fewer tell nothing of a share
_SIGMAS = 4.5  # it is looked at again and again: one wrong alarm in some 100,000 looks
_COARSE = 0.005  # a share is set in whole percent


@dataclass(frozen=True, kw_only=True)
class Standing(Gate):
    """A gate that also sees when somebody else changes the tracks or the weight: it fails then, and nobody is fought.

    ``tracks``: the states that this rollout has made, of the keys given alone; ``weight``: the candidate's share in percent,
    None where there is no router.
    """

    workload: dict[str, Any]
    tracks: dict[str, Any] = field(default_factory=dict)
    router: dict[str, Any] | None = None
    weight: int | None = None

    def unchanged(self, ctx: Context) -> Verdict | None:
        """None while all is as it was left, else the verdict that ends the gate. Raises `HostError` as its parts do."""
        workload = Workload.of(self.workload)
        for track, meant in self.tracks.items():
            seen = workload.track(ctx, track)
            written = seen if seen is None or meant is None else {key: seen.get(key) for key in meant}
            if written != meant:
                return _elsewhere(workload.label(track), seen, meant)
            trouble = workload.trouble(ctx, track) if meant else ""
            if trouble:
                return Verdict("failed", f"{workload.label(track)}: {trouble}")
        if self.router is not None and self.weight is not None:
            router = Router.of(self.router)
            weight = router.weight(ctx)
            if weight != self.weight:
                return _elsewhere(f"the share of the candidate at {router.target}", weight, self.weight)
        return None


def elapsed(ctx: Context) -> timedelta:
    """How long the open gate has been looked at: by the monotonic clock, and without the time in which no runner lived.

    A gate that needs it keeps it as ``elapsed`` (seconds) in the evidence of each verdict.
    """
    evidence = ctx.evidence
    earlier = [look["evidence"]["elapsed"] for look in evidence if "elapsed" in look.get("evidence", {})]

    def begin() -> tuple[Any, float, float]:
        return evidence, ctx.clock.monotonic(), max(earlier, default=0.0)

    _, begun, carried = ctx.use(("gate", id(evidence)), begin)  # the list is kept, so that no other gets its id
    return timedelta(seconds=round(carried + ctx.clock.monotonic() - begun, 3))


def _elsewhere(what: str, seen: Any, meant: Any) -> Verdict:
    return Verdict("failed", f"somebody else changed {what}: it is {seen!r}, this rollout left {meant!r}")


@dataclass(frozen=True, kw_only=True)
class Bake(Standing):
    """Waits, and sees that nothing breaks or is changed meanwhile."""

    duration: timedelta

    def describe(self) -> str:
        """How long."""
        return f"for {format_duration(self.duration)} all instances stay ready, and nobody else changes them"

    def check(self, ctx: Context) -> Verdict:
        """Whether the time is over."""
        since = elapsed(ctx)
        wrong = self.unchanged(ctx)
        if wrong is not None:
            return wrong
        left = self.duration - since
        about = {"elapsed": since.total_seconds()}
        if left <= timedelta(0):
            return Verdict("passed", f"all stood for {format_duration(self.duration)}", about)
        return Verdict("continue", f"{math.ceil(left.total_seconds())} s to go", about, needs=left)


@dataclass(frozen=True, kw_only=True)
class SplitSeen(Standing):
    """Whether the requests that the router counts are shared out as it was told."""

    expected: float
    interval: timedelta = timedelta(seconds=1)
    horizon: timedelta = timedelta(minutes=5)

    def describe(self) -> str:
        """The share."""
        return f"the router is seen to give the candidate {self.expected:g} % of the requests"

    def check(self, ctx: Context) -> Verdict:
        """Compare what was counted since the first look; a counter that began anew begins this anew."""
        wrong = self.unchanged(ctx)
        if wrong is not None:
            return wrong
        assert self.router is not None
        now = Router.of(self.router).split(ctx)
        first = _first(ctx, now)
        stable, candidate = now.stable - first.stable, now.candidate - first.candidate
        total = stable + candidate
        about = {"first": [first.stable, first.candidate], "stable": stable, "candidate": candidate}
        if total < _ENOUGH:
            return Verdict("continue", f"{total} requests so far, {_ENOUGH} are needed to tell", about)
        share = self.expected / 100
        off = abs(candidate / total - share)
        allowed = _SIGMAS * math.sqrt(share * (1 - share) / total) + _COARSE + 2 / total
        said = f"{100 * candidate / total:.1f} % of {total:,} requests went to the candidate"
        if off <= allowed:
            return Verdict("passed", said, about)
        return Verdict("failed", f"{said}, not {self.expected:g} %", about)


def _first(ctx: Context, now: Split) -> Split:
    """The counters at the first look since they began."""
    seen = [look["evidence"]["first"] for look in ctx.evidence if "first" in look.get("evidence", {})]
    if not seen or seen[-1][0] > now.stable or seen[-1][1] > now.candidate:
        return now
    return Split(stable=seen[-1][0], candidate=seen[-1][1])
