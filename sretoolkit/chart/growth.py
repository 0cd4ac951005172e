"""A chart that goes on: new samples behind what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sretoolkit.chart.chart import Chart
from sretoolkit.chart.track import Line, arrays

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def grown(chart: Chart, lines: Sequence[Line], *, keep: timedelta | None = None) -> Chart:
    """The chart with the samples of ``lines`` behind those of its lines of the same names; a new name is a new line.

    A fixed window grows with them. With ``keep`` the window is that long and ends with the newest sample, and what is
    older is dropped. Raises `ValueError` when a sample is not newer than its line.
    """
    series = list(chart.series)
    for line in lines:
        place = next((number for number, known in enumerate(series) if known.name == line.name), None)
        if place is None:
            series.append(Line(line.name, *_ascending(line)))
        else:
            series[place] = _extended(series[place], line)
    newest = max((float(line.times[-1]) for line in series if len(line.times)), default=None)
    if newest is None:
        return replace(chart, series=series)
    if keep:
        oldest = newest - keep / timedelta(milliseconds=1)
        series = [_since(line, oldest) for line in series]
        return replace(chart, series=series, window=(_moment(oldest), _moment(newest)))
    window = chart.window and (chart.window[0], _moment(max(newest, chart.span[1])))
    return replace(chart, series=series, window=window)


def _ascending(line: Line) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    times, values = arrays(line)
    if (times[1:] <= times[:-1]).any():
        raise ValueError(f"the new samples of {line.name!r} are not in the order of time")
    return times, values


def _extended(known: Line, more: Line) -> Line:
    import numpy as np

    (times, values), (new_times, new_values) = arrays(known), _ascending(more)
    if len(times) and len(new_times) and new_times[0] <= times[-1]:
        raise ValueError(
            f"a sample of {known.name!r} at {_moment(new_times[0])} is not newer than its last at {_moment(times[-1])}"
        )
    return Line(known.name, np.concatenate([times, new_times]), np.concatenate([values, new_values]))


def _since(line: Line, oldest: float) -> Line:
    import numpy as np

    times, values = arrays(line)
    first = int(np.searchsorted(times, oldest))
    return Line(line.name, times[first:], values[first:])


def _moment(milliseconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=float(milliseconds))
