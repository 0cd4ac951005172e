"""A chart that goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from sretoolkit.chart import Chart, Line
from sretoolkit.chart.growth import grown

FIRST = datetime(2026, 11, 23, tzinfo=UTC)
AT = FIRST.timestamp() * 1000
SHORT = Chart("t", series=[Line("a", [AT, AT + 1000], [1, None])], window=(FIRST, FIRST + timedelta(seconds=1)))


def test_new_samples_come_behind_the_old() -> None:
    """The line of that name goes on, its gap stays one, a new name is a new line, and the window reaches to the newest."""
    chart = grown(SHORT, [Line("a", [AT + 2000], [3]), Line("b", [AT + 9000], [4])])
    a, b = chart.series
    assert [AT, AT + 1000, AT + 2000] == list(a.times)
    assert [True, False, True] == [bool(value) for value in ~np.isnan(np.asarray(a.values))]
    assert ("b", [4]) == (b.name, list(b.values))
    assert (AT, AT + 9000) == chart.span
    assert 2 == len(SHORT.series[0].times)


def test_what_is_older_than_kept_is_dropped() -> None:
    """With `keep`, the window has that length and ends with the newest sample."""
    chart = grown(SHORT, [Line("a", [AT + 5000], [3])], keep=timedelta(seconds=4))
    assert (AT + 1000, AT + 5000) == chart.span
    assert [AT + 1000, AT + 5000] == list(chart.series[0].times)


@pytest.mark.parametrize("times", [[AT + 1000], [AT + 3000, AT + 2000]])
def test_time_does_not_go_back(times: list[float]) -> None:
    """A sample that is not newer than its line is refused, with both times or the line's name."""
    with pytest.raises(ValueError, match="'a'"):
        grown(SHORT, [Line("a", times, [1] * len(times))])
