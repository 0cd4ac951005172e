"""SeriesFrame: the shape of every answer."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from sretoolkit.errors import ConfigError
from sretoolkit.metrics import SeriesFrame

NAN = float("nan")


def frame(rows: list[list[float]], labels: list[dict[str, str]], **more: Any) -> SeriesFrame:
    """A frame with a row every 15 seconds from 2026-11-23 on."""
    times = 1795392000000 + np.arange(len(rows), dtype=np.int64) * 15_000
    return SeriesFrame(
        times=times, values=np.array(rows), labels=labels, interval=timedelta(seconds=15), query="q", **more
    )


TWO = frame([[1.0, NAN], [3.0, NAN], [NAN, NAN]], [{"__name__": "m", "job": "a"}, {"__name__": "m", "job": "b"}])


def test_names_hold_only_what_differs() -> None:
    """Labels that all series share are left out of their names; a single series keeps all of its own."""
    assert ['{job="a"}', '{job="b"}'] == TWO.names
    assert ['m{job="a"}'] == frame([[1.0]], [{"__name__": "m", "job": "a"}]).names
    assert ["q"] == frame([[1.0]], [{}]).names


def test_names_stay_apart_when_a_label_is_missing() -> None:
    """A series without a label that others have still gets a name of its own."""
    assert ["q", '{job="a \\"b\\""}'] == frame([[1.0, 2.0]], [{}, {"job": 'a "b"'}]).names


def test_a_table_tells_missing_samples_from_zero() -> None:
    """A series without a sample says "no data"; a gap shows in the count and not in the mean."""
    table = TWO.table("t")
    assert [['{job="a"}', "1", "2", "3", "3", "2/3"], ['{job="b"}', "no data", "", "", "", "0/3"]] == table.rows


def test_a_table_shows_infinities_and_units() -> None:
    """Infinite samples are shown as such, and the values carry the frame's unit."""
    table = frame([[0.5], [float("inf")], [float("-inf")]], [{}], unit="s").table()
    assert [["q", "-Inf", "NaN", "+Inf", "-Inf", "3/3"]] == table.rows


def test_long_lists_only_samples() -> None:
    """The long form has a row for each sample with its UTC time, and none for a gap."""
    start = datetime(2026, 11, 23, tzinfo=UTC)
    expected = [(start, TWO.labels[0], 1.0), (start + timedelta(seconds=15), TWO.labels[0], 3.0)]
    assert expected == TWO.long()


def test_a_chart_draws_gaps_as_gaps() -> None:
    """The frame's chart covers the whole grid and has NaN where there is no sample."""
    chart = TWO.chart("title")
    assert ("title", TWO.window) == (chart.title, chart.window)
    assert [1.0, 3.0] == [value for value in chart.series[0].values if value is not None and not np.isnan(value)]
    assert len(chart.series[0].values) == 3


def test_a_frame_shows_itself_in_records_and_terminals() -> None:
    """Both forms have the picture (or its sparkline) and the table."""
    assert "<img src=" in TWO._repr_html_()
    assert "<table" in TWO._repr_html_()
    assert "no data" in repr(TWO)
    assert len(TWO) == 2


def test_shapes_that_do_not_fit_are_refused() -> None:
    """A matrix that does not fit its grid and labels is a programming error, found at once."""
    with pytest.raises(ValueError, match="do not fit 1 times and 2 series"):
        frame([[1.0]], [{}, {}])


def test_without_pandas_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data frame is optional; its absence is explained with the command that mends it."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match="needs pandas") as caught:
        TWO.pandas()
    assert "pip install 'sretoolkit[pandas]'" in caught.value.hint


def test_pandas_gets_utc_times_and_every_label() -> None:
    """The data frame has a UTC index and one column level for each label name."""
    pandas = pytest.importorskip("pandas")
    data = TWO.pandas()
    assert pandas.Timestamp("2026-11-23T00:00:15Z") == data.index[1]
    assert ["__name__", "job"] == list(data.columns.names)
    assert data[("m", "a")].tolist()[:2] == [1.0, 3.0]
    assert ["q"] == list(frame([[1.0]], [{}]).pandas().columns)
