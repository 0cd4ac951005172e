"""A line, as it is given and as it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HUGE = 1e300  # infinite, or so near to it that scaling it would overflow
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 48


class Line(NamedTuple):
    """One named series: ascending times (milliseconds since the epoch, UTC), a value for each; NaN or None is a gap.

    Lists will do; arrays are not copied, and drawn many times faster.
    """

    name: str
    times: Sequence[float] | NDArray[Any]
    values: Sequence[float | None] | NDArray[Any]


class Track(NamedTuple):
    """A line made ready: its points in the window, NaN for a gap, and what the legend says of them."""

    line: Line
    times: NDArray[np.float64]
    values: NDArray[np.float64]
    low: float
    high: float
    last: float
    until: float

    @property
    def name(self) -> str:
        """What the line is called."""
        return self.line.name

    @property
    def spacing(self) -> float:
        """Milliseconds between two points, on average."""
        return float(self.times[-1] - self.times[0]) / max(1, len(self.times) - 1)


def arrays(line: Line) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Its times and values, as they came (infinities too). Raises `ValueError` when they are not equally many."""
    import numpy as np

    times, values = np.asarray(line.times, dtype=np.float64), _numbers(line.values)
    if times.shape != values.shape:
        raise ValueError(f"line {line.name!r} has {times.size} times and {values.size} values")
    return times, values


def _numbers(values: Sequence[float | None] | NDArray[Any]) -> NDArray[np.float64]:
    import numpy as np

    try:
        return np.asarray(values, dtype=np.float64)
    except OverflowError:  # an integer beyond every float
        return np.array([np.inf if value is not None and abs(value) > HUGE else value for value in values], dtype=float)


def infinities(line: Line) -> int:
    """How many of its values no picture can show."""
    import numpy as np

    _, values = arrays(line)
    if not len(values) or (np.fmax.reduce(values) <= HUGE and np.fmin.reduce(values) >= -HUGE):
        return 0
    return int(np.count_nonzero(np.abs(values) > HUGE))


def tracked(line: Line, start: float, end: float) -> Track | None:
    """The line within the window; None when it has no value there."""
    import numpy as np

    times, values = arrays(line)
    inside = slice(np.searchsorted(times, start, "left"), np.searchsorted(times, end, "right"))
    times, values = times[inside], np.ascontiguousarray(values[inside])
    if not len(values):
        return None
    low, high = np.fmin.reduce(values), np.fmax.reduce(values)
    if low < -HUGE or high > HUGE:
        values = np.where(np.abs(values) > HUGE, np.nan, values)
        low, high = np.fmin.reduce(values), np.fmax.reduce(values)
    if np.isnan(low):
        return None
    last = len(values) - 1 - int(np.argmax(~np.isnan(values[::-1])))
    return Track(line, times, values, float(low), float(high), float(values[last]), float(times[last]))


def spark(track: Track, start: float, end: float) -> str:
    """The line in one row of text: the highest value of each slice of time, a space where there is none."""
    import numpy as np

    slices = np.full(_SPARK_WIDTH, np.nan)
    places = ((track.times - start) / (end - start) * _SPARK_WIDTH).astype(int)
    np.fmax.at(slices, np.minimum(places, _SPARK_WIDTH - 1), track.values)
    low = np.fmin.reduce(slices)
    span = np.fmax.reduce(slices) - low
    marks = [None if np.isnan(value) else (value - low) / span * 7 if span else 3 for value in slices]
    return "".join(" " if mark is None else _SPARKS[round(mark)] for mark in marks)
