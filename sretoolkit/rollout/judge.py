"""Judging a candidate: what is asked of each metric, what a judge answers, and how the answers make one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, ClassVar, Literal

from sretoolkit.clock import format_duration
from sretoolkit.errors import ConfigError
from sretoolkit.plan.gate import Answer, Verdict
from sretoolkit.plan.part import Part
from sretoolkit.plugins import Plugins
from sretoolkit.report import Table
from sretoolkit.rollout.evidence import Counts, Evidence, Kind

Worse = Literal["up", "down"]


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """What is asked of one metric.

    ``tolerated``: the ratio of the candidate to the old version that is still fine (r0); ``worth``: the regression that is
    worth catching (r1): below it the candidate passes. For a gauge both are ratios of means. ``critical``: when this one
    fails, all has failed; ``informational``: it is shown and decides nothing. ``weight`` counts within ``group`` for judges
    that make a score.
    """

    name: str
    kind: Kind = "counts"
    worse: Worse = "up"
    tolerated: float = 1.0
    worth: float = 2.0
    critical: bool = True
    informational: bool = False
    group: str = ""
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.worth > self.tolerated > 0:
            hint = "such as tolerated = 1.0 and worth = 2.0: a doubled rate is worth catching"
            raise ConfigError(f"{self.name}: worth must be above tolerated, and that above 0", hint=hint)
        if self.kind == "counts" and self.worse == "down":
            raise ConfigError(f"{self.name}: of counts, more is worse", hint="count what is bad, not what is good")


@dataclass(frozen=True, kw_only=True)
class MetricVerdict:
    """The answer for one metric, in words and in numbers.

    ``numbers`` are plain: ``ratio`` (candidate to old version), ``fail`` and ``passes`` (the evidence for each, where 1 is
    its boundary), ``dispersion``, counts. ``needs``: how much longer a decision takes at this rate, None when nobody can say.
    """

    metric: str
    answer: Answer
    reason: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    needs: timedelta | None = None
    informational: bool = False


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The answer for all metrics together."""

    answer: Answer
    reason: str
    metrics: Sequence[MetricVerdict] = ()

    @property
    def needs(self) -> timedelta | None:
        """The longest time that one of them still needs; None when one of them cannot say."""
        open_ones = [each.needs for each in self.metrics if each.answer == "continue" and not each.informational]
        known = [each for each in open_ones if each is not None]
        return max(known) if known and len(known) == len(open_ones) else None

    def verdict(self, **about: Any) -> Verdict:
        """As a gate answers it: small, so that a journal may keep one a look."""
        metrics = {
            each.metric: {
                "answer": each.answer,
                "reason": each.reason,
                **{name: float(f"{value:.6g}") for name, value in each.numbers.items()},
            }
            for each in self.metrics
        }
        return Verdict(self.answer, self.reason, {**about, "metrics": metrics}, self.needs)

    def table(self) -> Table:
        """A row a metric."""
        rows = [
            (each.metric, each.answer, each.reason, "" if each.needs is None else format_duration(each.needs))
            for each in self.metrics
        ]
        return Table("judged", ("metric", "answer", "why", "needs"), rows)


@dataclass(frozen=True, kw_only=True)
class Power:
    """What a judge can decide about one metric by the horizon, said before the start.

    ``expected``: bad events at the candidate by then, when it is as the old version; ``smallest``: the smallest ratio that
    can be excluded with 90 % probability, None when none can; ``needs``: the time for the ratio that is worth catching.
    """

    metric: str
    expected: float
    smallest: float | None
    needs: timedelta | None
    horizon: timedelta

    @property
    def decides(self) -> bool:
        """Whether a good candidate is likely to pass in time."""
        return self.needs is not None and self.needs <= self.horizon


class Judge(Part):
    """One way to judge. What it is given is never changed; it keeps nothing between two looks."""

    plugins: ClassVar[Plugins[Any]]

    def judge(
        self, evidence: Sequence[Evidence], criteria: Sequence[Criterion], *, elapsed: timedelta, horizon: timedelta
    ) -> Judgement:
        """Look at all that there is after ``elapsed``, of at most ``horizon``. Evidence and criteria go by their order."""
        live = sum(1 for criterion in criteria if not criterion.informational)
        verdicts = [
            self._metric(one, criterion, elapsed, horizon, max(1, live))
            for one, criterion in zip(evidence, criteria, strict=True)
        ]
        return combined(verdicts, criteria)

    @abstractmethod
    def decide(
        self, evidence: Evidence, criterion: Criterion, *, elapsed: timedelta, horizon: timedelta, among: int
    ) -> MetricVerdict:
        """Judge one metric of which there is data on both sides; ``among`` so many that together may err once."""

    def power(
        self, evidence: Evidence, criterion: Criterion, *, horizon: timedelta, share: float, among: int = 1
    ) -> Power | None:
        """What it can decide, from the old version's history and the candidate's ``share`` (0 to 1); None = cannot tell."""
        return None

    def _metric(
        self, evidence: Evidence, criterion: Criterion, elapsed: timedelta, horizon: timedelta, among: int
    ) -> MetricVerdict:
        told = missing(evidence)
        if told:
            found = MetricVerdict(metric=criterion.name, answer="error", reason=told)
        else:
            found = self.decide(evidence, criterion, elapsed=elapsed, horizon=horizon, among=among)
        return replace(found, informational=criterion.informational)


def missing(evidence: Evidence) -> str:
    """Why nothing can be said: the source is away, it has no data, or the candidate gets no requests; "" when all is there."""
    if evidence.trouble:
        return evidence.trouble
    for side, data in (("the candidate", evidence.candidate), ("the old version", evidence.baseline)):
        if not data.samples:
            return f"there is no data of {side}"
    for side, data in (("the candidate", evidence.candidate), ("the old version", evidence.baseline)):
        if isinstance(data, Counts) and not data.known.total.sum() > 0:
            return f"{side} gets no requests"
    return ""


def combined(verdicts: Sequence[MetricVerdict], criteria: Sequence[Criterion]) -> Judgement:
    """One answer: a failure outweighs all, then missing data, then what is open; all that decide must have passed."""
    deciding = [
        (each, criterion) for each, criterion in zip(verdicts, criteria, strict=True) if not criterion.informational
    ]
    if not deciding:
        return Judgement(answer="error", reason="no metric decides anything", metrics=verdicts)
    order: tuple[Answer, ...] = ("failed", "error", "inconclusive", "continue", "passed")
    for answer in order:
        hit = [each for each, _ in deciding if each.answer == answer]
        if hit:
            more = f" (and {len(hit) - 1} more)" if len(hit) > 1 else ""
            return Judgement(answer=answer, reason=f"{hit[0].metric}: {hit[0].reason}{more}", metrics=verdicts)
    raise AssertionError("a verdict has one of the five answers")


JUDGES: Plugins[Judge] = Plugins("sretoolkit.rollout.judges", Judge)  # type: ignore[type-abstract]
Judge.plugins = JUDGES
