"""A gate: a question that is asked again and again until the plan may go on or must not."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from sretoolkit.plan.step import Data

if TYPE_CHECKING:
    from sretoolkit.plan.context import Context

Answer = Literal["passed", "failed", "continue", "inconclusive", "error"]


@dataclass(frozen=True)
class Verdict:
    """What a gate answers, why, and how long a decision still needs where that is known."""

    answer: Answer
    reason: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)
    needs: timedelta | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the journal."""
        return {**asdict(self), "needs": self.needs.total_seconds() if self.needs else None}


@dataclass(frozen=True, kw_only=True)
class Gate(Data):
    """A check between steps. The plan does the looping; ``interval``, ``horizon`` and ``patience`` are hashed with it.

    ``continue`` at the horizon counts as ``inconclusive``; ``error`` (no data, source down) pauses the gate for at most
    ``patience`` in a row and then counts as failed; ``inconclusive`` counts as failed unless ``on_inconclusive`` is
    "hold". ``ctx.evidence`` holds the verdicts so far, also those from before a resume.
    """

    interval: timedelta = timedelta(seconds=10)
    horizon: timedelta = timedelta(minutes=10)
    patience: timedelta = timedelta(minutes=2)
    on_inconclusive: Literal["fail", "hold"] = "fail"

    def describe(self) -> str:
        """One line: what is asked."""
        raise NotImplementedError

    def check(self, ctx: Context) -> Verdict:
        """Look once. An exception counts as ``error``."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ManualGate(Gate):
    """Waits for a person to promote the run; the plan itself reads the control row."""

    question: str
    interval: timedelta = timedelta(milliseconds=200)
    horizon: timedelta = timedelta(hours=4)

    def describe(self) -> str:
        """The question that the person answers."""
        return f"a person must promote: {self.question}"

    def check(self, ctx: Context) -> Verdict:
        """Nothing to measure: goes on until a ``promote`` row is seen or the horizon is reached."""
        return Verdict("continue", "waiting for promote")
