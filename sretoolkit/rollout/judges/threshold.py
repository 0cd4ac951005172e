"""Count the intervals beyond a limit, as Flagger does: for teams that migrate. It compares with nothing.

Unlike there, an interval without data is no failure and no success: with too few intervals nothing passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from sretoolkit.rollout.evidence import Evidence, Gauges, Matrix
from sretoolkit.rollout.judge import Criterion, Judge, MetricVerdict


@dataclass(frozen=True, kw_only=True)
class Threshold(Judge):
    """Fails at the ``failures``-th interval beyond ``limit``.

    ``limit``: the part of the requests that may be bad (0.01 = 1 %), or the greatest value of a gauge. ``known``: the part
    of the intervals that must have data for a pass.
    """

    limit: float
    failures: int = 5
    known: float = 0.5

    def decide(
        self, evidence: Evidence, criterion: Criterion, *, elapsed: timedelta, horizon: timedelta, among: int
    ) -> MetricVerdict:
        """Count so far; passes at the horizon."""
        values = per_interval(evidence.candidate)
        seen = values[~np.isnan(values)]
        beyond = int((seen > self.limit).sum() if criterion.worse == "up" else (seen < self.limit).sum())
        numbers = {"fail": beyond / self.failures, "passes": min(1.0, elapsed / horizon), "beyond": float(beyond)}
        said = f"{beyond} of {len(seen)} intervals were beyond {self.limit:g}"
        if beyond >= self.failures:
            return MetricVerdict(metric=criterion.name, answer="failed", reason=said, numbers=numbers)
        if elapsed < horizon:
            left = horizon - elapsed
            return MetricVerdict(metric=criterion.name, answer="continue", reason=said, numbers=numbers, needs=left)
        if len(seen) < self.known * len(values):
            what = f"{said}, and of {len(values) - len(seen)} nothing is known"
            return MetricVerdict(metric=criterion.name, answer="inconclusive", reason=what, numbers=numbers)
        return MetricVerdict(metric=criterion.name, answer="passed", reason=said, numbers=numbers)


def per_interval(data: object) -> Matrix:
    """One value an interval, of all instances together: the part that was bad, or the mean; NaN where nothing is known."""
    if isinstance(data, Gauges):
        known = ~np.isnan(data.value)
        total, count = np.where(known, data.value, 0.0).sum(axis=0), known.sum(axis=0)
    else:
        counts = data.known  # type: ignore[attr-defined]
        total, count = counts.bad.sum(axis=0), counts.total.sum(axis=0)
    found: Matrix = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return found
