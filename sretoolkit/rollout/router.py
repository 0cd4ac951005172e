"""What shares out the requests between the tracks of a service."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sretoolkit.errors import PlanError
from sretoolkit.plan import Context
from sretoolkit.plan.part import Part
from sretoolkit.plugins import Plugins

WEIGHT, MATCH, MIRROR, SPLIT = "weight", "match", "mirror", "split"


@dataclass(frozen=True, kw_only=True)
class Split:
    """Requests that the router has given to each track since it began to count; counters only grow, or begin anew at 0."""

    stable: int
    candidate: int


class Router(Part):
    """Gives the candidate a share of the requests, in whole percent: 0 = none, 100 = all.

    A weight counts as set when the router itself says so, not when it was written somewhere. ``can`` says what it does
    besides: ``match`` (a header or cookie leads to the candidate), ``mirror`` (the candidate gets copies whose answers are
    dropped), ``split`` (it counts requests by track). Every method raises `HostError` when the router does not answer.
    """

    plugins: ClassVar[Plugins[Any]]
    can: ClassVar[frozenset[str]] = frozenset({WEIGHT})
    only_switches: ClassVar[bool] = False  # True: 0 and 100 are all it knows
    by_replicas: ClassVar[bool] = False  # True: it shares out by how many instances each track has, and so sets them

    @property
    @abstractmethod
    def target(self) -> str:
        """What is leased: ``kind:where/what``."""

    def check(self, ctx: Context) -> tuple[str, ...]:
        """What a person should know before it is used (lines for the plan). Raises `PlanError` when it cannot be used."""
        return ()

    def achieved(self, ctx: Context, percent: int) -> float:
        """The share in percent that really comes about when ``percent`` is asked for."""
        return float(percent)

    @abstractmethod
    def weight(self, ctx: Context) -> int:
        """The candidate's share now, in whole percent, as the router has it in effect."""

    @abstractmethod
    def set_weight(self, ctx: Context, percent: int) -> None:
        """Give the candidate that share; returns once it is in effect. Safe to call again after having died in the middle."""

    def match(self, ctx: Context) -> Mapping[str, str] | None:
        """The header or cookie that leads to the candidate: ``{"header": "X-Canary", "value": "yes"}``; None = none."""
        raise self.cannot(MATCH)

    def set_match(self, ctx: Context, match: Mapping[str, str] | None) -> None:
        """Let requests with that header (or ``{"cookie": ..., "value": ...}``) lead to the candidate, None ends it."""
        raise self.cannot(MATCH)

    def mirror(self, ctx: Context) -> int:
        """The percent of requests of which the candidate gets a copy."""
        raise self.cannot(MIRROR)

    def set_mirror(self, ctx: Context, percent: int) -> None:
        """Copy that percent of the requests to the candidate; 0 ends it."""
        raise self.cannot(MIRROR)

    def split(self, ctx: Context) -> Split:
        """What the router has counted so far, for those that can."""
        raise self.cannot(SPLIT)

    def settle(self, ctx: Context) -> None:
        """Make what is written agree with what is in effect, where those are two things: a runner may die between them."""

    def by_hand(self, percent: int) -> str:
        """The exact command by which a person sets a weight; "" when there is none."""
        return ""

    def cannot(self, what: str) -> PlanError:
        """The refusal of something that ``can`` does not name."""
        return PlanError(f"the router {self.kind!r} cannot {what}", hint="choose another router, or leave that out")


ROUTERS: Plugins[Router] = Plugins("sretoolkit.rollout.routers", Router)  # type: ignore[type-abstract]
Router.plugins = ROUTERS
