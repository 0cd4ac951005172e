"""What of some lines goes to the browser."""

from __future__ import annotations

import numpy as np
import pytest

from sretoolkit.chart import Line
from sretoolkit.chart.decimation import MOST
from sretoolkit.widgets.frame import ABSENT, framed


def test_few_points_are_sent_as_they_are() -> None:
    """Lines of few points keep their own times; where another line has none it is absent, and a gap is NaN."""
    lines = [Line("a", [0, 10, 20], [1, None, 3]), Line("b", [10, 15], [4, 5])]
    frame = framed(lines, 0, 20, 100)
    assert frame.complete
    expected = [[0, 10, 15, 20], [1, np.nan, ABSENT, 3], [ABSENT, 4, 5, ABSENT]]
    np.testing.assert_array_equal(frame.table, expected)


def test_a_million_points_become_a_picture_wide() -> None:
    """One long line is thinned to its own samples, with peak and gap, and no more than five a column."""
    times = np.arange(1_000_000) * 10.0
    values = np.sin(times / 1e6)
    values[123_456], values[600_000:700_000] = 9.0, np.nan
    frame = framed([Line("a", times, values)], 0, times[-1], 1000)
    assert not frame.complete
    assert frame.table.shape[1] <= MOST * 1000
    assert 1_234_560.0 == frame.table[0, np.nanargmax(frame.table[1])]
    assert 1 == np.count_nonzero(np.isnan(frame.table[1]))
    assert set(frame.table[0]) <= set(times)


def test_many_long_lines_share_their_times() -> None:
    """Lines that are thinned differently are put on common times; no value moves further than a column is wide."""
    times = np.arange(50_000) * 10.0
    lines = [Line(f"{number}", times, np.random.default_rng(number).normal(size=50_000)) for number in range(24)]
    gappy = lines[3].values
    assert isinstance(gappy, np.ndarray)
    gappy[20_000:30_000] = np.nan
    frame = framed(lines, 0, times[-1], 500)
    assert frame.table.shape[1] <= MOST * 500
    assert (np.diff(frame.table[0]) > 0).all()
    width = times[-1] / 500
    for row, line in enumerate(lines, start=1):
        shown = np.where(np.isfinite(frame.table[row]), frame.table[row], -np.inf)
        values = np.asarray(line.values, dtype=float)
        assert np.nanmax(values) == shown.max()
        assert abs(frame.table[0, shown.argmax()] - times[np.nanargmax(values)]) <= width
    assert 1 == np.count_nonzero(np.isnan(frame.table[4]))


@pytest.mark.parametrize("lines", [[], [Line("a", [], [])], [Line("a", [1, 2], [None, float("nan")])]])
def test_nothing_is_an_empty_table(lines: list[Line]) -> None:
    """Without a value there are no times, and a row for each line all the same."""
    frame = framed(lines, 0, 10, 100)
    assert (len(lines) + 1, 0) == frame.table.shape
