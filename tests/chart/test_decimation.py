"""Decimation: what of many points a picture needs."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from sretoolkit.chart import Chart, Line
from sretoolkit.chart.decimation import MOST, columns, needed

COLUMNS = 7
values_with_gaps = some.lists(some.just(float("nan")) | some.floats(-1e6, 1e6), max_size=200)


@given(values_with_gaps)
def test_every_column_keeps_its_extremes_and_its_ends(values: list[float]) -> None:
    """Whatever the values: lowest, highest, first and last of each column stay, and there are never more than five."""
    array, times = np.array(values), np.arange(len(values), dtype=float)
    places = columns(times, 0.0, max(1.0, len(values)), COLUMNS)
    kept = needed(array, places)
    assert sorted(set(kept.tolist())) == kept.tolist()
    for place in range(COLUMNS):
        inside = array[places == place]
        chosen = array[kept][places[kept] == place]
        seen, shown = inside[~np.isnan(inside)], chosen[~np.isnan(chosen)]
        assert len(seen) == 0 or (seen.min(), seen.max(), seen[0], seen[-1]) == (
            shown.min(), shown.max(), shown[0], shown[-1],
        )  # fmt: skip
        assert len(shown) <= MOST - 1


@given(values_with_gaps)
def test_a_gap_between_columns_stays_and_none_is_made_up(values: list[float]) -> None:
    """Two values that follow each other in the picture are joined exactly if no gap parts them, or it is within a column."""
    array, times = np.array(values), np.arange(len(values), dtype=float)
    places = columns(times, 0.0, max(1.0, len(values)), COLUMNS)
    kept = needed(array, places).tolist()
    seen = [index for index in kept if not np.isnan(array[index])]
    for one, other in itertools.pairwise(seen):
        parted = places[one] != places[other] and bool(np.isnan(array[one:other]).any())
        assert parted == any(one < index < other for index in kept)


def test_lists_and_arrays_make_the_same_picture() -> None:
    """A line of lists (None for a gap) and the same line as arrays are drawn alike, to the byte."""
    values = [1.0, None, 3.0, float("inf"), 2.0, 10**400]
    plainly = Chart("t", "s", [Line("a", list(range(6)), values)])
    floats = [1.0, np.nan, 3.0, np.inf, 2.0, np.inf]
    arrays = Chart("t", "s", [Line("a", np.arange(6), np.array(floats))])
    assert plainly.svg() == arrays.svg()
    assert str(plainly) == str(arrays)
    assert "2 infinite values are not drawn" in plainly.note


def test_a_line_whose_times_and_values_differ_in_number_is_refused() -> None:
    """Nothing is drawn from times and values that do not belong together."""
    with pytest.raises(ValueError, match="line 'a' has 2 times and 3 values"):
        Chart("t", series=[Line("a", [1, 2], [1, 2, 3])]).svg()


def test_what_flickers_makes_no_larger_picture() -> None:
    """A line with a gap at every other sample is at most a stroke a pixel column."""
    values = np.ones(100_000)
    values[::2] = np.nan
    assert len(Chart("t", series=[Line("a", np.arange(100_000) * 1000.0, values)]).svg()) < 200_000


def test_five_hundred_series_are_drawn_at_once() -> None:
    """500 series of 11,000 points take a small part of the six seconds that a loop over them takes."""
    first = datetime(2026, 1, 1, tzinfo=UTC)
    times = first.timestamp() * 1000 + np.arange(11_000) * 15_000.0
    values = np.random.default_rng(1).normal(1, 0.1, (500, 11_000))
    values[123, 4567] = 99.0
    series = [Line(f"pod-{number}", times, row) for number, row in enumerate(values)]
    chart = Chart("t", "s", series, window=(first, first + timedelta(days=2)))
    began = time.process_time()
    picture = chart.svg()
    assert time.process_time() - began < 1.5
    assert "pod-123" in picture
    assert "max 99 s" in picture
