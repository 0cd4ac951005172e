"""How much instances of one version differ among themselves: what a candidate's difference has to be held against."""

from __future__ import annotations

import math

import numpy as np

from sretoolkit.rollout.evidence import Counts, Matrix

_TOO_MUCH = 1.25
_LAGS = 20  # intervals over which noise may hang together


def dispersion(candidate_before: Counts | None, baseline_before: Counts | None, baseline: Counts) -> float:
    """How much noisier than chance one instance is against the others of its version, autocorrelation included; 1 = chance.

    Every old instance, and every instance before the deploy, is a placebo candidate: its residual against the rest has the
    mean 0, and the long-run variance of the residuals (Bartlett window) over the binomial one is the answer.
    """
    told, expected = 0.0, 0.0
    for group in (_stacked(candidate_before, baseline_before), baseline):
        if group is None or group.total.shape[0] < 3 or group.total.shape[1] < 2:
            continue
        residual, variance = _residuals(group)
        told += _long_run(residual)
        expected += float(variance.sum())
    return max(1.0, told / expected) if expected > 0 else 1.0


def spread(candidate_before: Counts | None, baseline_before: Counts | None, baseline: Counts, noise: float) -> float:
    """The variance of the lasting differences between instances of one version, of the logarithm of their rates.

    By moments, less half a standard error: differences that noise explains are none. What is left is taken for more than
    it is, since a difference that is missed makes a good candidate look bad.
    """
    groups = [group for group in (candidate_before, _joined(baseline_before, baseline)) if group is not None]
    bad = np.concatenate([group.bad.sum(axis=1) for group in groups])
    total = np.concatenate([group.total.sum(axis=1) for group in groups])
    bad, total = bad[total > 0], total[total > 0]
    if len(bad) < 4 or bad.sum() <= 0:
        return 0.0
    expected = total * bad.sum() / total.sum()
    degrees = len(bad) - 1
    excess = float((((bad - expected) ** 2) / expected).sum()) - noise * degrees * (1 + 0.5 * math.sqrt(2 / degrees))
    return _TOO_MUCH * max(0.0, excess / float(expected.sum() - (expected**2).sum() / expected.sum()))


def own_difference(
    candidate_before: Counts | None, baseline_before: Counts | None, noise: float, lasting: float
) -> tuple[float, float]:
    """What the candidate's own instances were like before: mean and variance of their lasting difference, in logarithms."""
    if lasting <= 0 or candidate_before is None or baseline_before is None:
        return 0.0, lasting
    total, rest = candidate_before.total.sum(), baseline_before.total.sum()
    bad, other = candidate_before.bad.sum(), baseline_before.bad.sum()
    if total <= 0 or rest <= 0 or bad + other <= 0:
        return 0.0, lasting
    expected = total * (bad + other) / (total + rest)
    weight = expected / noise
    instances = max(1, candidate_before.total.shape[0])
    variance = 1 / (instances / lasting + weight)
    return float(variance * weight * math.log((bad + 0.5) / (expected + 0.5))), float(variance)


def _residuals(counts: Counts) -> tuple[Matrix, Matrix]:
    """Each instance's bad events less what the others let expect, and its variance if all were chance."""
    total, bad = counts.total, counts.bad
    others, bad_of_others = total.sum(axis=0) - total, bad.sum(axis=0) - bad
    rate = bad.sum() / max(float(total.sum()), 1.0)
    share = total / np.maximum(others, 1.0)
    return bad - share * bad_of_others, total * rate * (1 + share)


def _long_run(residual: Matrix) -> float:
    """The sum of the long-run variances of the rows: the mean square of all moving sums, padded with nothing."""
    lags = min(_LAGS, residual.shape[1] - 1)
    sums = np.cumsum(np.pad(residual, ((0, 0), (lags + 1, lags))), axis=1)
    return float(((sums[:, lags + 1 :] - sums[:, : -lags - 1]) ** 2).sum() / (lags + 1))


def _stacked(first: Counts | None, second: Counts | None) -> Counts | None:
    """Instances of both, where both have the same intervals."""
    if first is None or second is None or first.total.shape[1] != second.total.shape[1]:
        return second if second is not None else first
    return Counts(np.vstack([first.total, second.total]), np.vstack([first.bad, second.bad]))


def _joined(before: Counts | None, now: Counts) -> Counts:
    """One after the other, for instances that were there before."""
    if before is None or before.total.shape[0] != now.total.shape[0]:
        return now
    return Counts(np.hstack([before.total, now.total]), np.hstack([before.bad, now.bad]))
