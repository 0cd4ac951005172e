"""Grids: the moments at which a range is looked at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sretoolkit.clock import FakeClock
from sretoolkit.errors import ConfigError
from sretoolkit.metrics import Grid

END = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "step"),
    [
        (timedelta(seconds=30), timedelta(seconds=1)),
        (timedelta(hours=1), timedelta(seconds=15)),
        (timedelta(days=1), timedelta(minutes=10)),
        (timedelta(days=7), timedelta(hours=1)),
        (timedelta(days=365), timedelta(days=2)),
    ],
)
def test_a_step_is_chosen_for_about_240_points(window: timedelta, step: timedelta) -> None:
    """Without a step, the smallest round one that gives at most 240 intervals is taken."""
    grid = Grid.of(window=window, end=END)
    assert step // timedelta(milliseconds=1) == grid.step
    assert grid.count <= 241


def test_a_window_ends_now_by_default() -> None:
    """The last moment is the clock's now, to the millisecond, and the first one window earlier."""
    now = datetime(2026, 11, 23, 2, 0, 0, 123_456, tzinfo=UTC)
    grid = Grid.of(window=timedelta(hours=1), clock=FakeClock(now))
    assert (1795399200123 - 3_600_000, 1795399200123, 241) == (grid.first, grid.last, grid.count)


def test_a_window_that_is_no_multiple_of_the_step_begins_later() -> None:
    """The end stays where it was asked; the beginning gives way."""
    grid = Grid.of(window=timedelta(seconds=100), step=timedelta(seconds=30), end=END)
    assert [-90, -60, -30, 0] == [
        (grid.first + number * grid.step) / 1000 - END.timestamp() for number in range(grid.count)
    ]


def test_a_time_without_zone_is_utc() -> None:
    """A naive end means UTC and never the machine's zone."""
    window = timedelta(hours=1)
    assert Grid.of(window=window, end=END) == Grid.of(window=window, end=END.replace(tzinfo=None))
    assert Grid.at(END) == Grid.at(END.replace(tzinfo=None))


@pytest.mark.parametrize("count", [1, 2, 10, 11, 21, 100])
def test_chunks_cover_the_grid_once(count: int) -> None:
    """The pieces of a grid hold each moment once, in order, and none is larger than allowed."""
    grid = Grid(1000, 7, count)
    chunks = list(grid.chunks(10))
    moments = [chunk.first + number * chunk.step for chunk in chunks for number in range(chunk.count)]
    assert [1000 + number * 7 for number in range(count)] == moments
    assert max(chunk.count for chunk in chunks) <= 10


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"window": timedelta(0)}, "the window must be a duration"),
        ({"window": "1h"}, "the window must be a duration, not '1h'"),
        ({"window": timedelta(hours=1), "step": timedelta(seconds=-1)}, "the step must be a duration"),
        ({"window": timedelta(hours=1), "step": timedelta(hours=2)}, "is longer than the window"),
    ],
)
def test_a_senseless_window_is_refused(arguments: dict[str, Any], says: str) -> None:
    """Nothing, a negative duration, text, or a step beyond the window are configuration errors with a hint."""
    with pytest.raises(ConfigError, match=says) as caught:
        Grid.of(**arguments)
    assert caught.value.hint


def test_the_last_moment_is_not_after_the_end() -> None:
    """What began at the last moment lies within the window."""
    end = END.replace(microsecond=172_900)
    for grid in (Grid.of(window=timedelta(minutes=5), end=end), Grid.at(end)):
        assert grid.last == round(END.timestamp() * 1000) + 172
