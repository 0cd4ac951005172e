"""Judges: what they can tell apart, that they never pass on nothing, and how often they are wrong on simulated canaries."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from benchmarks.judge_score import SCENARIOS, World, cell
from sretoolkit.errors import ConfigError
from sretoolkit.rollout.evidence import Counts, Evidence, Gauges
from sretoolkit.rollout.judge import JUDGES, Criterion, Judge
from sretoolkit.rollout.judges.calibrated import Calibrated
from sretoolkit.rollout.judges.mann_whitney import shift

MINUTE = timedelta(minutes=1)
JUDGED: dict[str, dict[str, Any]] = {"calibrated": {}, "mann-whitney": {}, "threshold": {"limit": 0.005}}
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def counts(instances: int, minutes: int, ratio: float, *, requests: float = 6000) -> Counts:
    """The same every minute."""
    total = np.full((instances, minutes), requests)
    return Counts(total, total * ratio)


def evidence(candidate: Any, baseline: Any, **more: Any) -> Evidence:
    """Of errors, or a gauge."""
    kind = "gauge" if isinstance(candidate, Gauges) else "counts"
    return Evidence(metric="m", kind=kind, candidate=candidate, baseline=baseline, interval=MINUTE, **more)  # type: ignore[arg-type]


def judged(judge: Judge, found: Evidence, minutes: int = 30, **criterion: Any) -> tuple[str, str]:
    """Answer and reason at the end of the time."""
    told = judge.judge(
        [found], [Criterion(name="m", kind=found.kind, **criterion)], elapsed=minutes * MINUTE, horizon=30 * MINUTE
    )
    return told.answer, told.reason


@pytest.fixture(params=sorted(JUDGED))
def judge(request: pytest.FixtureRequest) -> Judge:
    """Each kind of judge there is."""
    return Judge.of({"kind": request.param, **JUDGED[request.param]})


def test_every_judge_is_tested() -> None:
    """A new module in judges/ has to be listed here."""
    assert sorted(JUDGES) == sorted(JUDGED)


def test_as_before_passes_and_ten_times_as_bad_fails(judge: Judge) -> None:
    """The plainest cases, at the end of the time."""
    old = counts(9, 30, 0.001)

    assert "passed" == judged(judge, evidence(counts(1, 30, 0.001), old))[0]
    assert "failed" == judged(judge, evidence(counts(1, 30, 0.01), old))[0]


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        (Counts(np.empty((0, 30)), np.empty((0, 30))), "no data of the candidate"),
        (Counts(np.full((1, 30), np.nan), np.full((1, 30), np.nan)), "no data of the candidate"),
        (counts(1, 30, 0.0, requests=0), "gets no requests"),
    ],
)
def test_nothing_is_never_fine(judge: Judge, candidate: Counts, said: str) -> None:
    """No instance, no sample, no request: three words, and none of them a pass."""
    answer, reason = judged(judge, evidence(candidate, counts(9, 30, 0.001)))

    assert ("error", True) == (answer, said in reason)


def test_a_source_that_is_away_is_said_as_such(judge: Judge) -> None:
    """Not as missing data."""
    nothing = Counts(np.empty((0, 0)), np.empty((0, 0)))

    assert ("error", "m: prod does not answer") == judged(
        judge, evidence(nothing, nothing, trouble="prod does not answer")
    )


def test_a_judge_goes_to_data_and_back(judge: Judge) -> None:
    """A gate holds it as JSON."""
    assert judge == Judge.of(judge.to_dict())


def test_unknown_intervals_change_nothing() -> None:
    """A minute without samples says nothing, in either direction."""
    old, new = counts(9, 30, 0.001), counts(1, 30, 0.001)
    gaps = Counts(np.hstack([new.total, np.full((1, 5), np.nan)]), np.hstack([new.bad, np.full((1, 5), np.nan)]))
    wide = Counts(np.hstack([old.total, np.full((9, 5), np.nan)]), np.hstack([old.bad, np.full((9, 5), np.nan)]))
    both = [Calibrated().judge([evidence(*pair)], [Criterion(name="m")], elapsed=30 * MINUTE, horizon=60 * MINUTE)
            for pair in ((new, old), (gaps, wide))]  # fmt: skip

    assert both[0].metrics[0].numbers["fail"] == pytest.approx(both[1].metrics[0].numbers["fail"], rel=0.02)


def test_more_bad_ones_are_more_evidence() -> None:
    """The evidence for a failure grows with the errors, that for a pass falls."""
    old = counts(9, 20, 0.001)
    told = [
        Calibrated().judge(
            [evidence(counts(1, 20, ratio), old)], [Criterion(name="m")], elapsed=20 * MINUTE, horizon=60 * MINUTE
        )
        for ratio in (0.0005, 0.001, 0.002, 0.004)
    ]
    fails = [each.metrics[0].numbers["fail"] for each in told]
    passes = [each.metrics[0].numbers["passes"] for each in told]

    assert sorted(fails) == fails
    assert sorted(passes, reverse=True) == passes


def test_many_metrics_share_the_false_alarms() -> None:
    """What fails a single metric is not yet enough for one among many."""
    old, new = counts(9, 10, 0.001, requests=600), counts(1, 10, 0.0035, requests=600)
    one = Calibrated().judge([evidence(new, old)], [Criterion(name="m")], elapsed=10 * MINUTE, horizon=30 * MINUTE)
    alike = [evidence(counts(1, 10, 0.001, requests=600), old)] * 99
    many = Calibrated().judge(
        [evidence(new, old), *alike],
        [Criterion(name=f"m{n}") for n in range(100)],
        elapsed=10 * MINUTE,
        horizon=30 * MINUTE,
    )

    assert one.metrics[0].numbers["fail"] > many.metrics[0].numbers["fail"]


def test_an_informational_metric_decides_nothing() -> None:
    """It is judged and shown."""
    old = counts(9, 30, 0.001)
    told = Calibrated().judge(
        [evidence(counts(1, 30, 0.001), old), evidence(counts(1, 30, 0.05), old)],
        [Criterion(name="errors"), Criterion(name="fun", informational=True)],
        elapsed=30 * MINUTE, horizon=30 * MINUTE,
    )  # fmt: skip

    assert ("passed", "failed") == (told.answer, told.metrics[1].answer)


def test_a_gauge_is_compared_with_the_noise_of_its_kind() -> None:
    """Half as much again fails, the same passes, and instances that differ much let nobody tell."""
    random = np.random.default_rng(7)
    steady = 50 + random.normal(0, 1, (9, 30))
    same, more = 50 + random.normal(0, 1, (1, 30)), 75 + random.normal(0, 1, (1, 30))
    wild = 50 + random.normal(0, 40, (9, 1)) + random.normal(0, 1, (9, 30))

    assert "passed" == judged(Calibrated(), evidence(Gauges(same), Gauges(steady)), worth=1.3)[0]
    assert "failed" == judged(Calibrated(), evidence(Gauges(more), Gauges(steady)), worth=1.3)[0]
    assert "inconclusive" == judged(Calibrated(), evidence(Gauges(same), Gauges(wild)), worth=1.3)[0]


@pytest.mark.parametrize(("name", "share", "least", "most"), [
    ("errors as before", "failed", 0, 3), ("errors x2", "passed", 0, 9), ("errors x5", "failed", 90, 100),
])  # fmt: skip
def test_how_often_the_default_judge_is_wrong(name: str, share: str, least: float, most: float) -> None:
    """A sample of `make judge-score`: its bounds are wide enough for a hundred runs, and narrow enough to fail."""
    found = cell(Calibrated(), BY_NAME[name], World(phi=0.5), horizon=30, runs=100, seed=3)

    assert least <= getattr(found, share) <= most


def test_the_shift_is_that_of_ranks() -> None:
    """Two samples a known distance apart; the interval contains it, ties and all."""
    there = np.repeat(np.arange(10.0), 2)
    told = shift(there + 5, there)

    assert 5.0 == told.estimate
    assert told.low <= 5.0 <= told.high
    assert 0.0 == shift(there, there).estimate


@pytest.mark.parametrize("wrong", [{"worth": 1.0}, {"tolerated": 0}, {"worse": "down"}])
def test_a_criterion_that_cannot_be_judged_is_refused(wrong: dict[str, Any]) -> None:
    """Nothing between tolerated and worth, or counting what is good."""
    with pytest.raises(ConfigError):
        Criterion(name="m", **wrong)
