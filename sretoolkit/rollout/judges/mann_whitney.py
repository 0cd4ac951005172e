"""The test that Kayenta (NetflixACAJudge) makes, for teams that migrate: ranks of the values of each interval.

Its weakness at ordinary traffic is the false pass: see docs/judge-score.md. With ``quirks`` it classifies as Kayenta does:
beyond a quarter of the *estimated shift* itself, from two samples on. Without, the shift must be beyond a quarter of the
old version's own level, and eight samples are needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from sretoolkit.rollout.evidence import Evidence, Matrix
from sretoolkit.rollout.judge import Criterion, Judge, MetricVerdict
from sretoolkit.rollout.judges.threshold import per_interval

_Z = NormalDist().inv_cdf(0.99)  # Kayenta's two-sided 98 %
_LEAST = 8


class Shift(NamedTuple):
    """How far the candidate's values lie above the others: estimate (Hodges-Lehmann) and 98 % interval."""

    low: float
    estimate: float
    high: float


@dataclass(frozen=True, kw_only=True)
class MannWhitney(Judge):
    """Fails when the shift is surely beyond what is tolerated.

    ``tolerance``: the part within which a shift is none; ``increase``: the ratio of the means that is still allowed;
    ``each_look``: fail at any look, not at the horizon alone (that doubles the false alarms and more).
    """

    tolerance: float = 0.25
    increase: float = 1.0
    each_look: bool = False
    quirks: bool = False

    def decide(
        self, evidence: Evidence, criterion: Criterion, *, elapsed: timedelta, horizon: timedelta, among: int
    ) -> MetricVerdict:
        """Classify at the horizon."""
        here, there = (
            values[~np.isnan(values)] for values in map(per_interval, (evidence.candidate, evidence.baseline))
        )
        least = 2 if self.quirks else _LEAST
        over = elapsed >= horizon
        if not (over or self.each_look):
            what = "it is judged at the end"
            return MetricVerdict(metric=criterion.name, answer="continue", reason=what, needs=horizon - elapsed)
        if min(len(here), len(there)) < least:
            what = f"{min(len(here), len(there))} intervals, {least} are needed"
            return MetricVerdict(metric=criterion.name, answer="inconclusive" if over else "continue", reason=what)
        told = shift(here, there)
        worse = self._worse(told, here, there, criterion.worse == "up")
        said = f"shifted by {told.estimate:.3g} ({told.low:.3g} to {told.high:.3g})"
        numbers = {
            "estimate": told.estimate,
            "low": told.low,
            "high": told.high,
            "fail": float(worse),
            "passes": float(not worse),
        }
        answer = "failed" if worse else ("passed" if over else "continue")
        return MetricVerdict(metric=criterion.name, answer=answer, reason=said, numbers=numbers)  # type: ignore[arg-type]

    def _worse(self, told: Shift, here: Matrix, there: Matrix, up: bool) -> bool:
        level = abs(told.estimate) if self.quirks else abs(float(there.mean()))
        bound = self.tolerance * level
        shifted = told.low > bound if up else told.high < -bound
        mean = float(there.mean())
        if not shifted or mean == 0:  # a ratio to nothing is no ratio: the effect is not asked for then
            return shifted
        ratio = float(here.mean()) / mean
        return ratio >= self.increase if up else ratio <= self.increase


def shift(here: Matrix, there: Matrix) -> Shift:
    """The Hodges-Lehmann shift and its interval by the normal approximation with a correction for ties.

    Both sides alike or constant: the difference itself, without an interval.
    """
    differences = np.sort(np.subtract.outer(here, there), axis=None)
    if differences[0] == differences[-1]:
        return Shift(*(float(differences[0]),) * 3)
    n, m = len(here), len(there)
    _, ties = np.unique(np.concatenate([here, there]), return_counts=True)
    spread = n * m / 12 * ((n + m + 1) - float((ties**3 - ties).sum()) / ((n + m) * (n + m - 1)))
    place = max(0, math.floor(n * m / 2 - 0.5 - _Z * math.sqrt(max(spread, 0.0))))
    return Shift(float(differences[place]), float(np.median(differences)), float(differences[n * m - 1 - place]))
