"""What of some lines goes to the browser: one table of float64, no larger than the picture is wide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sretoolkit.chart import Line
from sretoolkit.chart.decimation import MOST, columns, needed
from sretoolkit.chart.track import Track, tracked

Points = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]  # times, values, columns
ABSENT = np.inf  # a line has nothing at this time, which is no gap; NaN is one


class Frame(NamedTuple):
    """Lines on common times: the first row is the times (milliseconds), then one row a line.

    NaN is a gap, ``ABSENT`` no sample of this line at this time. ``complete``: every sample of the window is in it.
    """

    table: NDArray[np.float64]
    complete: bool


def framed(lines: Sequence[Line], start: float, end: float, count: int) -> Frame:
    """The lines from ``start`` to ``end`` (milliseconds), in at most ``MOST`` points for each of ``count`` columns."""
    tracks = [tracked(line, start, end) for line in lines]
    points = [_whole(track) for track in tracks]
    if sum(len(times) for times, _, _ in points) <= MOST * count or _alike(tracks, MOST * count):
        return Frame(_joined(points), complete=True)
    points = [_thinned(track, start, end, count) for track in tracks]
    if sum(len(times) > 0 for times, _, _ in points) == 1:
        return Frame(_joined(points), complete=False)
    return Frame(_slotted(points, start, end, count), complete=False)


def _alike(tracks: Sequence[Track | None], most: int) -> bool:
    """Few points, and of all lines at the same times."""
    times = [track.times for track in tracks if track]
    return all(len(each) <= most and np.array_equal(each, times[0]) for each in times)


def _whole(track: Track | None) -> Points:
    if track is None:
        return np.empty(0), np.empty(0), np.empty(0, dtype=np.int64)
    return track.times, track.values, np.zeros(len(track.times), dtype=np.int64)


def _thinned(track: Track | None, start: float, end: float, count: int) -> Points:
    if track is None:
        return _whole(None)
    places = np.minimum(columns(track.times, start, end, count), count - 1)
    kept = needed(track.values, places)
    values, column = track.values[kept], places[kept]
    gaps = np.flatnonzero(np.isnan(values))
    column[gaps] = column[gaps - 1]  # a gap belongs to what it is behind
    return track.times[kept], values, column


def _joined(points: Sequence[Points]) -> NDArray[np.float64]:
    """Every line's own times, those of all lines together."""
    times = np.unique(np.concatenate([np.empty(0), *(each for each, _, _ in points)]))
    table = np.full((len(points) + 1, len(times)), ABSENT)
    table[0] = times
    for row, (own, values, _) in enumerate(points, start=1):
        table[row, np.searchsorted(times, own)] = values
    return table


def _slotted(points: Sequence[Points], start: float, end: float, count: int) -> NDArray[np.float64]:
    """Lines with times of their own share ``MOST`` moments a column; no value moves by more than a column's width."""
    slots = np.arange(count * MOST)
    table = np.full((len(points) + 1, len(slots)), ABSENT)
    table[0] = start + (slots + 0.5) * ((end - start) / len(slots))
    for row, (_, values, column) in enumerate(points, start=1):
        firsts = np.searchsorted(column, column, "left")
        table[row, column * MOST + np.arange(len(column)) - firsts] = values
    used = (table[1:] != ABSENT).any(axis=0)
    return np.ascontiguousarray(table[:, used])
