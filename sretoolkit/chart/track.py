"""A line, as it is given and as it is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 48


class Line(NamedTuple):
    """One named series: ascending times (milliseconds since the epoch, UTC), a value for each; NaN or None is a gap."""

    name: str
    times: Sequence[float]
    values: Sequence[float | None]


class Track(NamedTuple):
    """A line made ready: its points in the window, None for a gap, and what the legend says of them."""

    name: str
    points: list[tuple[float, float | None]]
    low: float
    high: float
    last: float
    until: float

    @property
    def spacing(self) -> float:
        """Milliseconds between two points, on average."""
        return (self.points[-1][0] - self.points[0][0]) / max(1, len(self.points) - 1)


def is_huge(value: float | None) -> bool:
    """Infinite, or so near to it that scaling it would overflow."""
    return value is not None and abs(value) > 1e300


def tracked(line: Line, start: float, end: float) -> Track | None:
    """The line within the window; None when it has no value there."""
    points = [
        (float(time), None if value is None or math.isnan(value) or is_huge(value) else float(value))
        for time, value in zip(line.times, line.values, strict=True)
        if start <= time <= end
    ]
    seen = [(time, value) for time, value in points if value is not None]
    if not seen:
        return None
    values = [value for _, value in seen]
    return Track(line.name, points, min(values), max(values), values[-1], seen[-1][0])


def stretches(track: Track) -> Iterator[list[tuple[float, float]]]:
    """The stretches between gaps."""
    run: list[tuple[float, float]] = []
    for time, value in track.points:
        if value is not None:
            run.append((time, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def spark(track: Track, start: float, end: float) -> str:
    """The line in one row of text: the highest value of each slice of time, a space where there is none."""
    slices: list[float | None] = [None] * _SPARK_WIDTH
    for time, value in track.points:
        place = min(_SPARK_WIDTH - 1, int((time - start) / (end - start) * _SPARK_WIDTH))
        known = slices[place]
        if value is not None and (known is None or value > known):
            slices[place] = value
    values = [value for value in slices if value is not None]
    low, span = min(values), max(values) - min(values)
    marks = (None if value is None else (value - low) / span * 7 if span else 3 for value in slices)
    return "".join(" " if mark is None else _SPARKS[round(mark)] for mark in marks)
