"""The default judge: it may look every minute and stop at once in either direction, and is wrong as rarely as it says.

It counts bad events and asks on which side they fell. *Fail*: an e-process against "the candidate is at most ``tolerated``
times as bad"; *pass*: one against "it is at least ``worth`` times as bad" (a regression of that size is ruled out); by
Ville's inequality each is crossed wrongly with at most its ``alpha`` or ``beta``, however often one looks. Most of each is
spent on a Brownian boundary for the planned horizon: nearly all that is found late is found by it. The evidence is divided by
the noise that old instances have among themselves (in ruling a regression out, by what a candidate so bad would have), and
lasting differences between instances are averaged over, less what the candidate's own past tells of them.
Gauges are compared by the difference of their means against the same noise, by the same two boundaries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sretoolkit.errors import ConfigError
from sretoolkit.rollout.evidence import Counts, Evidence, Gauges
from sretoolkit.rollout.judge import Criterion, Judge, MetricVerdict, Power
from sretoolkit.rollout.judges._noise import dispersion, own_difference, spread

Vector = NDArray[np.float64]
_NORMAL = NormalDist()
_NODES, _SHARES = (np.asarray(each) for each in np.polynomial.hermite_e.hermegauss(7))
_SHARES = _SHARES / _SHARES.sum()
_UP = np.exp(np.linspace(0.02, math.log(30), 80))
_UP_WEIGHTS = (1 / _UP) / (1 / _UP).sum()
_AT_ANY_TIME = 0.1  # the part of alpha and beta that the e-processes get
_OVERSHOOT = 0.5826  # Siegmund: who looks now and then, and not always, sees a boundary crossed later, by so many steps
# The window of the dispersion sees four to five sixths of noise that hangs together as AR(1) with 0.8. Ruling out is given
# more room: a pass is not taken back. Both were chosen on simulated canaries, with other seeds than those of the score.
_UNSEEN, _UNSEEN_PASSING = 1.2, 1.3


@dataclass(frozen=True, kw_only=True)
class Calibrated(Judge):
    """``alpha``: how often a good candidate may ever be failed; ``beta``: how often one that is ``worth`` times as bad may pass.

    ``least``: looks before which nothing is decided.
    """

    alpha: float = 0.01
    beta: float = 0.05
    least: int = 5

    def __post_init__(self) -> None:
        if not (0 < self.alpha < 0.5 and 0 < self.beta < 0.5 and self.least >= 1):
            raise ConfigError(
                "alpha and beta lie between 0 and 0.5, least is at least 1", hint="alpha = 0.01, beta = 0.05"
            )

    def decide(
        self, evidence: Evidence, criterion: Criterion, *, elapsed: timedelta, horizon: timedelta, among: int
    ) -> MetricVerdict:
        """One metric: counts by where the bad events fell, gauges by their means."""
        part = min(1.0, max(elapsed / horizon, 1e-6)) if horizon else 1.0
        if isinstance(evidence.candidate, Gauges):
            told = self._gauge(evidence, criterion, part, among)
        else:
            told = self._counts(evidence, criterion, part, among, max(1.0, horizon / evidence.interval))
        looks = (
            evidence.candidate.total.shape[1]
            if isinstance(evidence.candidate, Counts)
            else evidence.candidate.value.shape[1]
        )
        return _answered(criterion, told, looks >= self.least, elapsed, horizon)

    def power(
        self, evidence: Evidence, criterion: Criterion, *, horizon: timedelta, share: float, among: int = 1
    ) -> Power | None:
        """From the old version's past: what ``share`` of its requests tells by the horizon."""
        before = evidence.baseline_before
        if not isinstance(before, Counts) or not before.samples or not 0 < share < 1:
            return None
        known = before.known
        seen = int(np.count_nonzero(~np.isnan(before.total).all(axis=0)))  # intervals of which anything is known
        minutes = seen * evidence.interval.total_seconds() / 60
        rate = float(known.bad.sum()) / minutes  # bad events a minute, all requests
        noise = dispersion(None, known, known)
        expected = rate * share * horizon.total_seconds() / 60
        needed = self._needed(criterion.worth / criterion.tolerated, share) * (
            1 + _UNSEEN_PASSING * criterion.worth * (noise - 1)
        )
        needs = timedelta(minutes=needed / (rate * share)) if rate > 0 else None
        return Power(
            metric=criterion.name,
            expected=expected,
            smallest=self._smallest(expected, noise, share, criterion),
            needs=needs,
            horizon=horizon,
        )

    def _needed(self, ratio: float, share: float) -> float:
        """Bad events at the candidate with which ``ratio`` is ruled out with 90 % probability, when it is as the old version."""
        odds = share, ratio * share / (ratio * share + 1 - share)
        distance = odds[0] * math.log(odds[0] / odds[1]) + (1 - odds[0]) * math.log((1 - odds[0]) / (1 - odds[1]))
        margin = -_NORMAL.inv_cdf((1 - _AT_ANY_TIME) * self.beta / 2) + _NORMAL.inv_cdf(0.9)
        return max(margin**2 / 2, 1.0) / distance * share

    def _smallest(self, expected: float, noise: float, share: float, criterion: Criterion) -> float | None:
        for ratio in criterion.tolerated * np.exp(np.linspace(0.02, math.log(50), 200)):
            if self._needed(float(ratio), share) * (1 + _UNSEEN_PASSING * float(ratio) * (noise - 1)) <= expected:
                return float(ratio)
        return None

    def _counts(
        self, evidence: Evidence, criterion: Criterion, part: float, among: int, looks: float
    ) -> dict[str, float]:
        """Evidence for each side as parts of its boundary, and the numbers behind it; ``looks``: so many until the horizon."""
        candidate, baseline = _known(evidence.candidate), _known(evidence.baseline)
        before, old = _maybe(evidence.candidate_before), _maybe(evidence.baseline_before)
        seen = dispersion(before, old, baseline)
        worse, better = criterion.tolerated, criterion.worth
        noise, noisier = 1 + _UNSEEN * (seen - 1), 1 + _UNSEEN_PASSING * better * (seen - 1)
        mean, variance = own_difference(before, old, noise, spread(before, old, baseline, seen))
        x, nx = float(candidate.bad.sum()), float(candidate.total.sum())
        y, ny = float(baseline.bad.sum()), float(baseline.total.sum())
        lasting = np.exp(mean + math.sqrt(variance) * _NODES)
        fall, fall_of_worse = _Fall(x / noise, nx, y / noise, ny), _Fall(x / noisier, nx, y / noisier, ny)
        alpha, beta = self.alpha / among, self.beta
        down = np.exp(np.linspace(math.log(0.2), math.log(better) - 0.02, 80))
        failing = max(
            fall.against(worse * lasting, _UP * worse, _UP_WEIGHTS) / -math.log(_AT_ANY_TIME * alpha),
            fall.beyond(worse * lasting, up=True) * math.sqrt(part) / _boundary(alpha, looks),
        )
        passing = max(
            fall_of_worse.against(better * lasting, down, _near_one(down)) / -math.log(_AT_ANY_TIME * beta),
            fall_of_worse.beyond(better * lasting, up=False) * math.sqrt(part) / _boundary(beta, 4 * looks),
        )
        ratio = (x / nx) / (y / ny) if y > 0 and nx > 0 else math.nan
        return {
            "fail": failing, "passes": passing, "ratio": ratio, "dispersion": seen, "lasting": math.sqrt(variance),
            "bad": x, "total": nx, "bad_old": y, "total_old": ny,
        }  # fmt: skip

    def _gauge(self, evidence: Evidence, criterion: Criterion, part: float, among: int) -> dict[str, float]:
        """The same for means: instances are told apart from each other, and each from itself over time."""
        assert isinstance(evidence.candidate, Gauges)
        assert isinstance(evidence.baseline, Gauges)
        here, there = _means(evidence.candidate), _means(evidence.baseline)
        past = [
            _means(each) if isinstance(each, Gauges) else None
            for each in (evidence.candidate_before, evidence.baseline_before)
        ]
        if past[0] is not None and past[1] is not None and past[0].size and past[1].size:
            shift = float(past[0].mean() - past[1].mean())
        else:
            shift = 0.0
        old = float(there.mean())
        error = math.sqrt(_variance(there, past[1]) * (1 / len(here) + 1 / len(there)))
        sign = 1.0 if criterion.worse == "up" else -1.0
        difference = sign * (float(here.mean()) - old - shift)
        limits = [
            sign * old * (factor - 1) if sign > 0 else old * (1 - 1 / factor)
            for factor in (criterion.tolerated, criterion.worth)
        ]
        wide = max(error, 1e-12 + abs(old) * 1e-6)
        degrees = max(3, len(there) - 1)
        alpha, beta = (_student(1 - each, degrees) for each in (self.alpha / among / 2, self.beta / 2))
        root = math.sqrt(part)
        return {
            "fail": (difference - limits[0]) / wide * root / alpha,
            "passes": (limits[1] - difference) / wide * root / beta,
            "ratio": (float(here.mean()) - shift) / old if old else math.nan,
            "dispersion": 1.0, "here": float(here.mean()), "there": old, "error": error,
        }  # fmt: skip


class _Fall:
    """Where the bad events fell: ``x`` at the candidate that had ``nx`` of the requests, ``y`` of ``ny`` at the old version."""

    def __init__(self, x: float, nx: float, y: float, ny: float) -> None:
        self.x, self.y = x, y
        self.nx, self.ny = nx, ny

    def against(self, null: Vector, other: Vector, weights: Vector) -> float:
        """The logarithm of the e-value of "it is one of ``other``" against "it is ``null``", lasting differences averaged."""
        centre = null[len(null) // 2]
        moved = other[:, None] * (null / centre)[None, :]
        return _mean(self._likelihood(moved), weights[:, None] * _SHARES[None, :]) - _mean(
            self._likelihood(null), _SHARES
        )

    def beyond(self, null: Vector, *, up: bool) -> float:
        """How many standard deviations the candidate is above (or below) the null, by the signed root of the deviance."""
        n = self.x + self.y
        if n <= 0:
            return 0.0
        chance = null * self.nx / (null * self.nx + self.ny)
        x = max(0.0, self.x - 0.5) if up else min(n, self.x + 0.5)
        deviance = _plogp(x, n * chance) + _plogp(n - x, n * (1 - chance))
        size = np.sqrt(2 * np.maximum(deviance, 0.0)) * np.where(x > n * chance, 1.0, -1.0) * (1.0 if up else -1.0)
        tail = float((_SHARES * np.array([_upper(each) for each in size])).sum())
        return -_NORMAL.inv_cdf(min(max(tail, 1e-300), 1 - 1e-16))

    def _likelihood(self, rates: Vector) -> Vector:
        share = rates * self.nx / (rates * self.nx + self.ny)
        found: Vector = self.x * np.log(share) + self.y * np.log1p(-share)
        return found


def _answered(
    criterion: Criterion, told: dict[str, float], ready: bool, elapsed: timedelta, horizon: timedelta
) -> MetricVerdict:
    """The answer, the sentence, and how much longer it takes when things go on so."""
    said = _sentence(told)
    about: dict[str, Any] = {"metric": criterion.name, "numbers": told}
    if ready and told["fail"] >= 1:
        return MetricVerdict(
            answer="failed", reason=f"{said}: worse than the {criterion.tolerated:g}x that is tolerated", **about
        )
    if ready and told["passes"] >= 1:
        return MetricVerdict(answer="passed", reason=f"{said}: {criterion.worth:g}x is ruled out", **about)
    if elapsed >= horizon:
        return MetricVerdict(answer="inconclusive", reason=f"{said}: that cannot be told in {horizon}", **about)
    near = max(told["fail"], told["passes"])
    needs = elapsed * (1 / near - 1) if near > 0.02 else None
    more = f", about {max(1, math.ceil(needs / timedelta(minutes=1)))} more minutes at this rate" if needs else ""
    return MetricVerdict(answer="continue", reason=f"{said}: not decided{more}", needs=needs, **about)


def _sentence(told: dict[str, float]) -> str:
    if "bad" in told:
        counts = (
            f"{told['bad']:,.0f} of {told['total']:,.0f} against {told['bad_old']:,.0f} of {told['total_old']:,.0f}"
        )
        ratio = "" if math.isnan(told["ratio"]) else f"{told['ratio']:.2g}x of the old version, "
        return f"{ratio}{counts}"
    return f"{told['ratio']:.3g}x of the old version, {told['here']:.4g} against {told['there']:.4g}"


def _boundary(error: float, looks: float) -> float:
    """How many standard deviations at the horizon a Brownian motion passes, at one of so many looks, with that probability."""
    return -_NORMAL.inv_cdf((1 - _AT_ANY_TIME) * error / 2) - _OVERSHOOT / math.sqrt(looks)


def _known(data: Counts | Gauges) -> Counts:
    assert isinstance(data, Counts)
    return data.known


def _maybe(data: Counts | Gauges | None) -> Counts | None:
    return data.known if isinstance(data, Counts) and data.samples else None


def _means(data: Gauges) -> Vector:
    """The mean of each instance that has samples."""
    rows = data.value[~np.isnan(data.value).all(axis=1)]
    found: Vector = np.nanmean(rows, axis=1) if len(rows) else np.empty(0)
    return found


def _variance(now: Vector, past: Vector | None) -> float:
    """Of one instance's mean among those of its version; less what lasts, where the past tells."""
    if past is not None and len(past) == len(now) and len(now) > 2:
        return float(np.var(now - past, ddof=1))
    return float(np.var(now, ddof=1)) if len(now) > 2 else math.inf


def _student(level: float, degrees: int) -> float:
    """The quantile of Student's t, by Hill's expansion: few instances tell little of their own noise."""
    z = _NORMAL.inv_cdf(level)
    g1 = (z**3 + z) / 4
    g2 = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    g3 = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + g1 / degrees + g2 / degrees**2 + g3 / degrees**3


def _near_one(ratios: Vector) -> Vector:
    """Weights for a candidate that is about as the old version."""
    weights = np.exp(-0.5 * (np.log(ratios) / 0.2) ** 2)
    found: Vector = weights / weights.sum()
    return found


def _mean(logarithms: Vector, weights: Vector) -> float:
    """The logarithm of the weighted mean."""
    top = float(logarithms.max())
    return top + math.log(float((weights * np.exp(logarithms - top)).sum()))


def _plogp(x: float, expected: Vector) -> Vector:
    found: Vector = x * np.log(x / expected) if x > 0 else np.zeros_like(expected)
    return found


def _upper(z: float) -> float:
    return 0.5 * math.erfc(float(z) / math.sqrt(2))
