"""How a new version comes in: a strategy compiles a rollout into the steps and gates of one plan."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from sretoolkit.plan import Context, Gate, Step
from sretoolkit.plan.part import Part
from sretoolkit.plugins import Plugins

if TYPE_CHECKING:
    from sretoolkit.rollout.rollout import Rollout


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """The items of a plan, lines that a person should know beside it, and how long is judged at which shares (percent)."""

    items: Sequence[Step | Gate]
    notes: Sequence[str] = ()
    judged: tuple[timedelta, tuple[int, ...]] | None = None


class Strategy(Part):
    """One way; its options are plain data. ``routed``: it needs a router."""

    plugins: ClassVar[Plugins[Any]]
    routed: ClassVar[bool] = True

    @abstractmethod
    def compile(self, rollout: Rollout, version: str, ctx: Context) -> Compiled:
        """Read the world, and say every change and every question from now to the end.

        Raises `PlanError` for what must not be begun, and `HostError` when the world does not answer.
        """


STRATEGIES: Plugins[Strategy] = Plugins("sretoolkit.rollout.strategies", Strategy)  # type: ignore[type-abstract]
Strategy.plugins = STRATEGIES
