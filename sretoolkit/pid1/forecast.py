"""When process ids run out: the growth of counts over time, held against the lowest of all ceilings.

The slope is Theil and Sen's (the median of all pairwise slopes), its interval Sen's (order statistics of those slopes, with
Kendall's variance). A series that grows in bursts, bends or goes down again is "not steady", and no time is told for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from statistics import median
from typing import Literal

from sretoolkit.pid1.ceilings import Ceiling, of_host, of_init
from sretoolkit.pid1.process import Init, Machine
from sretoolkit.pid1.verdict import Ruling, Subject
from sretoolkit.pid1.workload import remedy
from sretoolkit.report import Finding, Severity

Word = Literal["steady", "not steady", "not growing", "unknown"]

HOST = ""  # the name of the series of the whole machine's tasks
_FEWEST = 8  # points
_MOST = 240  # points that are compared in pairs; of more, so many are taken at even distances
_CONFIDENCE = 2.576  # standard deviations: 99 %
_LEAST_GROWTH = 5  # process ids; less may be chance
_LARGEST_JUMP = 0.15  # of the whole growth, beyond what the slope explains
_LARGEST_BEND = 1.6  # one half's slope against the other's
_LARGEST_FALL = 0.15  # of the whole growth, below a height once reached
_FAR = timedelta(days=3650)


@dataclass(frozen=True)
class Sample:
    """One count of process ids; ``at`` in seconds of any clock that does not jump."""

    at: float
    count: int


@dataclass(frozen=True)
class Forecast:
    """What a series says of its ceiling. ``slope`` (ids a second: least, likely, most) and times only where steady.

    ``soonest`` and ``latest``: from the last sample until nothing is left, at the most and the least slope.
    """

    word: Word
    why: str
    slope: tuple[float, float, float] | None = None
    soonest: timedelta | None = None
    likely: timedelta | None = None
    latest: timedelta | None = None

    @property
    def severity(self) -> Severity | None:
        """Critical when it may be less than an hour, high when less than a day; None otherwise."""
        if self.soonest is None:
            return None
        return "critical" if self.soonest < timedelta(hours=1) else "high" if self.soonest < timedelta(days=1) else None

    def __str__(self) -> str:
        if self.soonest is None or self.latest is None or self.slope is None:
            return f"{self.word}: {self.why}"
        pace = _number(self.slope[1] * 60)
        return f"in {_span(self.soonest)} to {_span(self.latest)}, at {pace} process ids a minute"


def forecast(samples: Sequence[Sample], limit: int) -> Forecast:
    """How long until a count reaches a limit, as an interval; words where that cannot be said."""
    points = _thinned(sorted(samples, key=lambda sample: sample.at))
    span = points[-1].at - points[0].at if points else 0.0
    if len(points) < _FEWEST or span <= 0:
        return Forecast("unknown", f"{len(points)} samples are too few")
    if points[-1].count >= limit:
        return Forecast("steady", "nothing is left now", (0.0, 0.0, 0.0), timedelta(), timedelta(), timedelta())
    slope = theil_sen(points)
    growth = slope[1] * span
    change = max(point.count for point in points) - min(point.count for point in points)
    if slope[0] <= 0 or growth < _LEAST_GROWTH:
        third = len(points) // 3
        gained = median(each.count for each in points[-third:]) - median(each.count for each in points[:third])
        if gained >= max(_LEAST_GROWTH, change / 2):
            return Forecast("not steady", f"it gained {gained:g}, and most of the time it did not grow")
        return Forecast("not growing", f"{change} more or fewer in {_span(timedelta(seconds=span))}")
    if unsteady := _unsteady(points, slope[1], span):
        return Forecast("not steady", unsteady)
    left = limit - _level(points, slope[1])
    soonest, likely, latest = (_after(left, pace) for pace in reversed(slope))
    return Forecast("steady", "it grows evenly", slope, soonest, likely, latest)


def theil_sen(points: Sequence[Sample]) -> tuple[float, float, float]:
    """The median of all pairwise slopes, between the ends of Sen's 99 % interval; units a second."""
    slopes = sorted(
        (later.count - earlier.count) / (later.at - earlier.at)
        for index, earlier in enumerate(points)
        for later in points[index + 1 :]
        if later.at > earlier.at
    )
    number, pairs = len(points), len(slopes)
    ties: dict[int, int] = {}
    for point in points:
        ties[point.count] = ties.get(point.count, 0) + 1
    tied = sum(each * (each - 1) * (2 * each + 5) for each in ties.values())
    deviation = math.sqrt(max(0, number * (number - 1) * (2 * number + 5) - tied) / 18)
    reach = _CONFIDENCE * deviation
    low, high = math.floor((pairs - reach) / 2), math.ceil((pairs + reach) / 2)
    return slopes[max(0, low)], median(slopes), slopes[min(pairs - 1, high)]


def earliest(init: Init, machine: Machine, series: Mapping[str, Sequence[Sample]]) -> tuple[Ceiling, Forecast] | None:
    """The ceiling that a namespace reaches first, and when; None when it has none, or none that we see.

    ``series`` by cgroup path; that of `HOST` is the whole machine's. What is not counted itself (a user's tasks, a namespace)
    is taken to grow as its own cgroup does.
    """
    own = series.get(init.levels[0].path, ()) if init.levels else ()
    found = []
    for ceiling in of_init(init) + of_host(machine):
        shift = 0
        if ceiling.path:
            counted = series.get(ceiling.path, ())
        elif ceiling in of_host(machine):
            counted = series.get(HOST, ())
        else:
            counted, shift = own, (ceiling.current - own[0].count if own else 0)
        found.append((ceiling, forecast(counted, ceiling.limit - shift)))
    return min(found, key=_urgency, default=None)


def foretold(subject: Subject, ceiling: Ceiling, seen: Forecast) -> Ruling | None:
    """The finding, when ids run out within a day, or grow in a way that tells no time while little is left."""
    severity = seen.severity
    if severity is None and not (seen.word == "not steady" and ceiling.left < ceiling.limit / 2):
        return None
    if severity is None:
        summary = "process ids are taken in bursts: when they run out cannot be told"
    else:
        summary = f"process ids run out {seen}"
    finding = Finding(
        severity=severity or "medium",
        subject=subject.name,
        summary=summary,
        evidence=f"{ceiling}; {seen.why}",
        proof="inferred",
        remedy=remedy("restart" if severity == "critical" else "raise", subject.workload),
        rule="ids-exhausted-soon" if severity else "ids-bursts",
    )
    return Ruling(finding, subject.host, subject, "restart" if severity == "critical" else "raise")


def _urgency(found: tuple[Ceiling, Forecast]) -> tuple[int, float]:
    """By time where one is told; then those that cannot tell one, by the room left; last those that do not grow."""
    ceiling, seen = found
    if seen.soonest is not None:
        return 0, seen.soonest.total_seconds()
    return {"not steady": 1, "unknown": 2}.get(seen.word, 3), float(ceiling.left)


def _unsteady(points: Sequence[Sample], slope: float, span: float) -> str:
    """Why no straight line describes a series that grows; "" when one does."""
    growth = slope * span
    spare = max(2.0, growth * _LARGEST_JUMP)
    highest = points[0].count
    for before, after in pairwise(points):
        jump = after.count - before.count - slope * (after.at - before.at)
        if jump > spare:
            return f"it jumped by {after.count - before.count} at once"
        highest = max(highest, after.count)
        if highest - after.count > max(2.0, growth * _LARGEST_FALL):
            return f"it fell by {highest - after.count} in between"
    middle = len(points) // 2
    halves = sorted((_median_slope(points[: middle + 1]), _median_slope(points[middle:])))
    if halves[0] <= 0 or halves[1] > halves[0] * _LARGEST_BEND:
        pace = " and ".join(f"{_number(each * 60)} a minute" for each in halves)
        return f"it does not keep its pace: {pace} in its two halves"
    level = [point.count - slope * point.at for point in points]
    if max(level) - min(level) > max(4.0, 2 * spare):
        return "it strays too far from a line"
    return ""


def _median_slope(points: Sequence[Sample]) -> float:
    return theil_sen(points)[1]


def _level(points: Sequence[Sample], slope: float) -> float:
    """Where the line stands at the last sample: one sample's chance is not the forecast's."""
    return points[-1].at * slope + median(point.count - slope * point.at for point in points)


def _after(left: float, pace: float) -> timedelta:
    seconds = max(0.0, left) / pace if pace > 0 else math.inf
    return min(_FAR, timedelta(seconds=min(seconds, _FAR.total_seconds())))


def _thinned(points: Sequence[Sample]) -> Sequence[Sample]:
    if len(points) <= _MOST:
        return points
    return [points[round(index * (len(points) - 1) / (_MOST - 1))] for index in range(_MOST)]


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _span(time: timedelta) -> str:
    seconds = time.total_seconds()
    if seconds >= _FAR.total_seconds():
        return "years"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{_number(seconds / size)} {unit}"
    return f"{seconds:.0f} s"
