"""When process ids run out: an interval for what grows evenly, a plain word for everything else."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sretoolkit.errors import HostError
from sretoolkit.pid1.ceilings import Ceiling
from sretoolkit.pid1.forecast import HOST, Forecast, Sample, earliest, forecast, foretold, theil_sen
from sretoolkit.pid1.growth import paths, sample
from sretoolkit.pid1.verdict import Subject
from tests.hosts.scripted import scripted
from tests.pid1.facts import TERM, Scan, only


def _series(*counts: float, every: float = 1.0) -> list[Sample]:
    return [Sample(number * every, round(count)) for number, count in enumerate(counts)]


def _line(slope: float, *, points: int = 20, start: float = 10, noise: float = 0, seed: int = 1) -> list[Sample]:
    chance = random.Random(seed)
    return _series(*[start + slope * number + chance.uniform(-noise, noise) for number in range(points)])


def test_an_even_leak_has_a_time() -> None:
    """Four a second up to 200: what is left of it, within a few percent, as an interval that holds the truth."""
    seen = forecast(_line(4), 200)
    assert seen.word == "steady"
    assert seen.soonest is not None
    assert seen.likely is not None
    assert seen.latest is not None
    truth = (200 - 86) / 4
    assert seen.soonest.total_seconds() <= truth * 1.001
    assert seen.latest.total_seconds() >= truth * 0.999
    assert seen.likely.total_seconds() == pytest.approx(truth, rel=0.02)
    assert seen.severity == "critical"


@given(st.floats(0.5, 50), st.floats(0, 3), st.integers(0, 10**6))
def test_the_interval_holds_the_truth(slope: float, noise: float, seed: int) -> None:
    """Whatever the slope and some noise about it: if a time is told the true one is within it, but for rounding."""
    points = _line(slope, points=40, noise=noise, seed=seed)
    limit = round(10 + slope * 400)
    seen = forecast(points, limit)
    if seen.soonest is None or seen.latest is None:
        assert seen.word in ("not steady", "not growing")
        return
    truth = (limit - 10 - slope * 39) / slope
    assert seen.soonest.total_seconds() <= truth * 1.06
    assert seen.latest.total_seconds() >= truth * 0.94


@given(st.lists(st.integers(0, 10**6), max_size=60), st.integers(1, 10**6))
def test_any_series_is_answered(counts: list[int], limit: int) -> None:
    """Never an exception; a time only with a slope, and soonest before latest."""
    seen = forecast(_series(*counts), limit)
    if seen.soonest is None:
        assert seen.severity is None
    else:
        assert seen.latest is not None
        assert timedelta() <= seen.soonest <= seen.latest
    assert str(seen)


BURSTS: dict[str, Sequence[float]] = {
    "jumps": [10] * 8 + [60] * 8 + [110] * 8,
    "one jump": [10] * 12 + [80] * 12,
    "ever faster": [10 + 1.35**number for number in range(22)],
    "a leak that is cleared": [10 + 5 * (number % 8) + 3 * number for number in range(24)],
    "a leak that ended": [10 + 5 * min(number, 9) for number in range(30)],
}


@pytest.mark.parametrize("case", BURSTS)
def test_what_does_not_grow_evenly_has_no_time(case: str) -> None:
    """Bursts, bends, falls: not steady, and no number that somebody might believe."""
    seen = forecast(_series(*BURSTS[case]), 1000)
    assert (seen.word, seen.soonest, seen.severity) == ("not steady", None, None)


@pytest.mark.parametrize(
    ("counts", "word"),
    [
        ([50] * 20, "not growing"),
        ([50 - number for number in range(20)], "not growing"),
        ([50 + number % 2 for number in range(20)], "not growing"),
        ([40, 60] * 10, "not growing"),
        ([10, 20, 30, 40, 50, 60, 70], "unknown"),
        ([], "unknown"),
    ],
)
def test_what_does_not_grow_or_is_too_short(counts: list[int], word: str) -> None:
    """Level, falling and swinging series do not run out; seven points are too few to say anything."""
    assert forecast(_series(*counts), 1000).word == word


def test_samples_at_one_moment_are_no_series() -> None:
    """No time passed, so no pace is known."""
    assert forecast([Sample(5.0, count) for count in range(20)], 100).word == "unknown"


def test_nothing_left_is_now() -> None:
    """At the limit there is nothing to wait for."""
    seen = forecast(_series(*range(20)), 19)
    assert (seen.soonest, seen.severity) == (timedelta(), "critical")


@pytest.mark.parametrize(
    ("seconds", "severity"), [(3000, "critical"), (4000, "high"), (80_000, "high"), (100_000, None)]
)
def test_how_bad_it_is_goes_by_the_time(seconds: int, severity: str | None) -> None:
    """Less than an hour is critical, less than a day high, by the soonest end."""
    points = _series(*[10 * number for number in range(20)], every=10)
    assert forecast(points, 190 + seconds).severity == severity


def test_the_slope_is_that_of_theil_and_sen() -> None:
    """One wild sample does not move it; for three points it is the middle one of three slopes."""
    assert theil_sen(_series(0, 1, 5))[1] == 2.5
    wild = [*_line(3, points=15), Sample(15.0, 9000), *(Sample(16.0 + n, 58 + 3 * n) for n in range(10))]
    assert theil_sen(wild)[1] == pytest.approx(3, rel=0.02)


def test_long_series_are_thinned() -> None:
    """Thousands of samples are answered as quickly, and alike."""
    seen = forecast(_line(1, points=5000), 10_000)
    assert seen.likely is not None
    assert seen.likely.total_seconds() == pytest.approx(4991, rel=0.02)


def _looked() -> Scan:
    look = Scan(tasks=300)
    look.init(500, caught=TERM, uid=1000, nproc=900, pid_max=5000, levels=[(86, "1000", 0), (186, "250", 0)])
    look.tasks(1000, 186)
    return look


def test_the_ceiling_that_is_reached_first_counts() -> None:
    """Four a second: its parent's limit comes before its own, its user's, its namespace's and the host's."""
    machine = _looked().done()
    leak = _line(4)
    above = [Sample(each.at, each.count + 100) for each in leak]
    found = earliest(only(machine), machine, {"/box": leak, "/": above, HOST: above})
    assert found is not None
    assert (found[0].name, found[0].path) == ("pids.max", "/")
    assert found[1].likely is not None
    assert found[1].likely.total_seconds() == pytest.approx((250 - 186) / 4, rel=0.02)
    user = earliest(only(machine), machine, {"/box": leak})
    assert user is not None
    assert user[0].name == "RLIMIT_NPROC"
    assert user[1].likely is not None
    assert user[1].likely.total_seconds() == pytest.approx((900 - 262) / 4, rel=0.02)


def test_the_finding_names_the_ceiling_and_the_time() -> None:
    """An even leak is to be restarted now; a bursty one is said to have no time; what does not grow says nothing."""
    machine = _looked().done()
    subject = Subject("box", only(machine))
    ceiling = Ceiling("pids.max", 86, 100, "", "/box")
    ruling = foretold(subject, ceiling, forecast(_line(4), 100))
    assert ruling is not None
    assert (ruling.finding.severity, ruling.finding.rule, ruling.fix) == ("critical", "ids-exhausted-soon", "restart")
    assert "pids.max 100 in /box" in ruling.finding.evidence
    assert ruling.finding.summary.startswith("process ids run out in ")
    bursts = foretold(subject, ceiling, Forecast("not steady", "it jumped by 50 at once"))
    assert bursts is not None
    assert (bursts.finding.severity, bursts.finding.rule) == ("medium", "ids-bursts")
    assert foretold(subject, ceiling, Forecast("not growing", "")) is None


def test_what_is_counted_are_the_cgroups_with_ceilings() -> None:
    """Each init's own, and those above that limit it."""
    look = Scan()
    look.init(500, caught=TERM, levels=[(10, "max", 0), (190, "200", 0)])
    assert paths(look.done()) == ["/box", "/"]


def test_a_host_that_answers_garbage_is_an_error() -> None:
    """What was seen instead is in it; a line that is no sample is passed over."""
    machine = Scan().done()
    with pytest.raises(HostError, match="welcome"):
        sample(scripted({"loadavg": "welcome\n"}), machine, ["/box"], every=timedelta(seconds=1), count=2)
    noisy = "motd\nsrt 1.0 0 77\nsrt 1.0 1 5\nsrt x\nsrt 2.0 9 9\nsrt 2.0 0 78\nsrt end\n"
    found = sample(scripted({"loadavg": noisy}), machine, ["/box"], every=timedelta(seconds=1), count=2)
    assert found == {HOST: (Sample(1.0, 77), Sample(2.0, 78)), "/box": (Sample(1.0, 5),)}
