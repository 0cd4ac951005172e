"""What routers have in common whose API shares out requests by weights in a list of rules."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sretoolkit.errors import NoData, PlanError
from sretoolkit.plan import Context
from sretoolkit.rollout.cluster_object import ClusterObject
from sretoolkit.rollout.router import MATCH, MIRROR, SPLIT, WEIGHT, Router, Split

_UNSEEN = (
    "this router counts no requests: give source, stable_requests and candidate_requests (queries for counters), "
    "so that the split is seen to come about"
)


@dataclass(frozen=True, kw_only=True)
class Shares:
    """The weights of the two tracks, and of all others in the same rule."""

    stable: int
    candidate: int
    others: int = 0

    @property
    def percent(self) -> int:
        """The candidate's share of what the two get; 0 and 100 mean exactly that. Raises `PlanError` when they get none."""
        both = self.stable + self.candidate
        if not both:
            hint = "give one of them a weight above 0: now their requests are answered with errors"
            raise PlanError("neither the stable nor the candidate backend has any weight", hint=hint)
        exact = 100 * self.candidate / both
        return round(exact) if exact in (0, 100) else min(99, max(1, round(exact)))

    def at(self, percent: int) -> tuple[int, int]:
        """The weights of both at that percent; what other backends get stays as it is. Raises `PlanError` if it cannot."""
        both = self.stable + self.candidate if self.others else 100
        if not both or both * percent % 100:
            what = (
                f"{percent} % cannot be written beside the other backends, where both together have a weight of {both}"
            )
            raise PlanError(what, hint="give both together 100, and the others in proportion, or choose other percents")
        candidate = both * percent // 100
        return both - candidate, candidate


@dataclass(frozen=True, kw_only=True)
class Weighted(Router):
    """A router that is an object with rules, each with backends and their weights.

    ``rule``: the name of the rule or its place (from 0) among those that name both backends; "" where there is one.
    ``source`` with ``stable_requests`` and ``candidate_requests``, queries for counters of requests in a metrics system: by
    them the split that really comes about is seen.
    """

    rules: ClassVar[str]
    backends: ClassVar[str]
    unset: ClassVar[int]  # the weight of a backend that has none

    context: str = ""
    namespace: str = "default"
    rule: str = ""
    source: str = ""
    stable_requests: str = ""
    candidate_requests: str = ""

    @property
    def can(self) -> frozenset[str]:  # type: ignore[override]
        """All, and the split where it is told how to count."""
        return frozenset({WEIGHT, MATCH, MIRROR} | ({SPLIT} if self.source else set()))

    @property
    @abstractmethod
    def object(self) -> ClusterObject:
        """The object that holds the rules."""

    @abstractmethod
    def side(self, backend: Mapping[str, Any]) -> str:
        """Which track a backend is: "stable", "candidate", "" for another."""

    @property
    @abstractmethod
    def sides(self) -> tuple[str, str]:
        """The two backends as people call them."""

    @property
    @abstractmethod
    def selected(self) -> tuple[str, str]:
        """The conditions of jq by which each of the two backends is told."""

    @property
    def target(self) -> str:
        """The object's."""
        return self.object.target

    def check(self, ctx: Context) -> tuple[str, ...]:
        """Refuses an object that somebody else writes, and rules that do not share out between the two."""
        found = self.object.read(ctx)
        self.object.refuse_managed(found)
        _ = self.shares(found).percent
        return () if self.source else (_UNSEEN,)

    def achieved(self, ctx: Context, percent: int) -> float:
        """Exactly that; raises `PlanError` where other backends of the rule do not let it be written."""
        self.shares(self.object.read(ctx)).at(percent)
        return float(percent)

    def chosen(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """The rule that is ours; raises `PlanError` when it cannot be told or does not name both backends once."""
        rules: Sequence[dict[str, Any]] = (found.get("spec") or {}).get(self.rules) or ()
        both = [rule for rule in rules if {"stable", "candidate"} <= set(self._sides(rule))]
        stable, candidate = self.sides
        label = self.object.label
        if not both:
            hint = f"let one rule of it name both, {stable} with all the weight and {candidate} with 0"
            raise PlanError(f"no rule of {label} names both {stable} and {candidate}", hint=hint)
        named = [rule for rule in both if self.rule and rule.get("name") == self.rule]
        if not named and self.rule.isdecimal():
            named = both[int(self.rule) : int(self.rule) + 1]
        one = named or (both if not self.rule else [])
        if len(one) != 1:
            hint = f"say which by its name or its place from 0, such as rule = {str(len(both) - 1)!r}"
            raise PlanError(f"{len(both)} rules of {label} name both, none is rule {self.rule!r} alone", hint=hint)
        if len(self._sides(one[0])) != 2:
            raise PlanError(f"a rule of {label} names {stable} or {candidate} twice", hint="name each once")
        return one[0]

    def shares(self, found: Mapping[str, Any]) -> Shares:
        """The weights now."""
        weights = {"stable": 0, "candidate": 0, "": 0}
        for backend in self.chosen(found)[self.backends]:
            weights[self.side(backend)] += int(backend.get("weight", self.unset))
        return Shares(stable=weights["stable"], candidate=weights["candidate"], others=weights[""])

    def weigh(self, found: Mapping[str, Any], percent: int) -> None:
        """Write a percent into the object at hand; nothing when it is so already."""
        shares = self.shares(found)
        if shares.stable + shares.candidate and 100 * shares.candidate == percent * (shares.stable + shares.candidate):
            return
        stable, candidate = shares.at(percent)
        for backend in self.chosen(found)[self.backends]:
            if side := self.side(backend):
                backend["weight"] = stable if side == "stable" else candidate

    def split(self, ctx: Context) -> Split:
        """The counters of both by the metrics system; raises `NoData` when one has no value."""
        return Split(
            stable=self._counted(ctx, self.stable_requests), candidate=self._counted(ctx, self.candidate_requests)
        )

    def by_hand(self, percent: int) -> str:
        """Reads the object, sets both weights with jq and patches its rules, if nobody changed it between."""
        return self.object.by_hand(self._program(percent), f"spec: {{{self.rules}: .spec.{self.rules}}}")

    def _program(self, percent: int) -> str:
        stable, candidate = self.selected
        names = f"(any(.{self.backends}[]?; {stable}) and any(.{self.backends}[]?; {candidate}))"
        place = int(self.rule) if self.rule.isdecimal() else 0
        if self.rule and not self.rule.isdecimal():
            names += f" and .name == {json.dumps(self.rule)}"
        listed = f"getpath($rule).{self.backends}"
        total = f"(map(select(({stable}) or ({candidate})) | .weight // {self.unset}) | add)"
        others = f"(map(select((({stable}) or ({candidate})) | not) | .weight // {self.unset}) | add // 0)"
        return (
            f"[path(.spec.{self.rules}[] | select({names}))][{place}] as $rule"
            f" | ({listed} | if {others} > 0 then {total} else 100 end) as $all"
            f" | ({listed}[] | select({stable}) | .weight) = $all * {100 - percent} / 100"
            f" | ({listed}[] | select({candidate}) | .weight) = $all * {percent} / 100"
        )

    def _sides(self, rule: Mapping[str, Any]) -> list[str]:
        return [side for side in map(self.side, rule.get(self.backends) or ()) if side]

    def _counted(self, ctx: Context, query: str) -> int:
        import numpy as np

        from sretoolkit.metrics.source import connect

        if not self.source:
            raise self.cannot(SPLIT)
        source = ctx.use(("source", self.source), lambda: connect(self.source, ctx.config, clock=ctx.clock))
        values = source.instant(query).values[-1]
        seen = values[~np.isnan(values)]
        if not len(seen):
            raise NoData("no requests are counted", source=self.source, query=query)
        return int(seen.sum())
