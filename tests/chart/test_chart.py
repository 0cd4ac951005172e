"""Chart: the picture that every record can show."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from sretoolkit.chart import Annotation, Chart, Line, Threshold
from sretoolkit.chart.scale import quantity, ticks, time_ticks

START = datetime(2026, 11, 23, 1, tzinfo=UTC)
END = START + timedelta(hours=1)
FIRST = START.timestamp() * 1000
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</text><script>alert('1')</script>\x1b[31m\u202e\ud800\n"


def line(values: Sequence[float | None], name: str = "a") -> Line:
    """A line over the hour with these values at equal distances."""
    step = 3_600_000 / max(1, len(values) - 1)
    return Line(name, [FIRST + number * step for number in range(len(values))], values)


def drawn(chart: Chart) -> ElementTree.Element:
    """The picture out of the HTML, parsed strictly."""
    found = re.fullmatch(
        r'<img src="data:image/svg\+xml;base64,([^"]+)" alt="[^"]*" style="[^"<]*">', chart._repr_html_()
    )
    assert found
    return ElementTree.fromstring(base64.b64decode(found[1]))


def texts(chart: Chart) -> str:
    """Every word in the picture."""
    return "\n".join(element.text or "" for element in drawn(chart).iter(f"{SVG}text"))


def paths(chart: Chart) -> list[list[tuple[float, float]]]:
    """The points of each stroke."""
    strokes = [element.attrib["points"].split() for element in drawn(chart).iter(f"{SVG}polyline")]
    return [[(float(x), float(y)) for x, y in (point.split(",") for point in stroke)] for stroke in strokes]


def test_a_gap_is_drawn_as_a_gap() -> None:
    """NaN and None break the line; a lone sample between gaps is a dot."""
    chart = Chart("t", series=[line([1, 2, math.nan, 5, None, 3, 4])])
    assert [2, 2] == [len(path) for path in paths(chart)]
    assert len(list(drawn(chart).iter(f"{SVG}circle"))) == 1


def test_a_stretch_in_which_nothing_has_a_value_is_shaded() -> None:
    """Where no line has a value, "no data" stands in the picture."""
    values = [1.0] * 20 + [math.nan] * 20 + [1.0] * 20
    assert "no data" in texts(Chart("t", series=[line(values)]))
    assert "no data" not in texts(Chart("t", series=[line(values), line([2.0] * 60, "b")]))


@pytest.mark.parametrize("series", [[], [line([])], [line([math.nan, None])]])
def test_an_empty_chart_says_no_data(series: list[Line]) -> None:
    """Without a single value the picture, its description and its text say so plainly."""
    chart = Chart("t", series=series, window=(START, END))
    assert "no data" in texts(chart)
    assert 'alt="Chart: t, 2026-11-23 01:00 – 02:00 UTC; no data"' in chart._repr_html_()
    assert "  no data" in str(chart)


def test_a_peak_survives_and_the_picture_stays_small() -> None:
    """A hundred thousand points become at most four a pixel, and a single peak among them is still there."""
    values: list[float | None] = [1.0] * 100_000
    values[54_321] = 100.0
    (path,) = paths(Chart("t", series=[line(values)]))
    assert len(path) <= 4 * 815
    assert pytest.approx(48.0) == min(y for _, y in path)


def test_hostile_names_are_harmless_everywhere() -> None:
    """Markup, terminal sequences and broken characters in any text neither break the picture nor get through."""
    series = [line([1, 2], HOSTILE), line([1, 2], "ok")]
    chart = Chart(HOSTILE, HOSTILE, series, [Annotation(START, HOSTILE)], [Threshold(1, HOSTILE)])
    assert "</text><script>" in texts(chart)
    assert not list(drawn(chart).iter(f"{SVG}script"))
    assert "<script>" not in chart._repr_html_()
    assert "\x1b" not in str(chart)
    assert len(str(chart).splitlines()) == 5


def test_too_many_lines_are_counted_and_the_highest_drawn() -> None:
    """Of a hundred lines the 24 highest are drawn, the highest first in the legend, and the note says so."""
    chart = Chart("t", series=[line([number, number], f"line{number}") for number in range(100)])
    assert len(paths(chart)) == 24
    assert "line99" in texts(chart)
    assert "line88" in texts(chart)
    assert "line87" not in texts(chart)
    assert "12 more lines are not listed; the 24 highest of 100 series are drawn, 76 are not" in texts(chart)


def test_infinite_values_are_told() -> None:
    """What no scale can hold is not drawn, and counted."""
    assert "2 infinite values are not drawn" in texts(Chart("t", series=[line([1, math.inf, -math.inf, 2])]))
    assert "no finite value" in texts(Chart("t", series=[line([math.inf, math.inf])]))


def test_a_line_that_ends_early_is_marked() -> None:
    """A series that stops before the window's end says when."""
    values = [1.0] * 30 + [math.nan] * 31
    chart = Chart("t", series=[line(values), line([1.0] * 61, "b")], window=(START, END))
    assert "(ended 23 Nov 01:29:00)" in texts(chart)
    assert str(chart).count("ended") == 1


def test_what_happened_and_what_must_not_be_crossed_are_shown() -> None:
    """Annotations inside the window and thresholds appear with their words; one outside does not."""
    chart = Chart(
        "t",
        "s",
        [line([0.1, 0.2])],
        [Annotation(START + timedelta(minutes=30), "deploy 1.2"), Annotation(END + timedelta(hours=1), "later")],
        [Threshold(0.5, "SLO")],
    )
    assert "deploy 1.2" in texts(chart)
    assert "later" not in texts(chart)
    assert "SLO 500 ms" in texts(chart)
    assert "limit SLO: 500 ms" in str(chart)
    assert "23 Nov 01:30:00 deploy 1.2" in str(chart)


def test_tiny_values_have_short_labels() -> None:
    """However small the values, the words at the axis stay short enough to be read."""
    assert "4e-20" in texts(Chart("t", series=[line([0, 4e-20])]))


@pytest.mark.parametrize("span", [timedelta(minutes=1), timedelta(hours=1), timedelta(days=8), timedelta(days=2880)])
def test_the_last_time_is_written_in_full(span: timedelta) -> None:
    """A window that ends at a round moment has that one at the picture's edge: it is moved in, and not cut off."""
    start = datetime(2026, 11, 23, tzinfo=UTC)
    picture = drawn(Chart("t", series=[line([1.0, 2.0])], window=(start, start + span)))
    middle = [element for element in picture.iter(f"{SVG}text") if element.get("text-anchor") == "middle"]
    ends = [float(each.attrib["x"]) + 3.5 * len(each.text or "") for each in middle]
    assert ends
    assert max(ends) < float(picture.attrib["width"])


def test_points_outside_the_window_are_left_out() -> None:
    """The window decides what is drawn and what the legend tells."""
    chart = Chart("t", series=[line([9, 1, 2, 9])], window=(START + timedelta(minutes=10), END - timedelta(minutes=10)))
    assert "min 1  max 2  last 2" in str(chart)


def test_a_time_without_zone_is_utc() -> None:
    """Naive times in the window mean UTC, whatever the machine's zone."""
    naive = (START.replace(tzinfo=None), END.replace(tzinfo=None))
    assert str(Chart("t", window=(START, END))) == str(Chart("t", window=naive))


def test_the_text_form_has_a_sparkline_a_line() -> None:
    """In a terminal each series is one row of bars with its least, greatest and last value, a blank for a gap."""
    rows = str(Chart("cpu", series=[line([0, 1, math.nan, *([2] * 45)], "web"), line([5] * 48, "db")])).splitlines()
    assert "cpu  2026-11-23 01:00 – 02:00 UTC" == rows[0]
    assert f"  web  ▁▅ {'█' * 45}  min 0  max 2  last 2" == rows[1]
    assert f"  db   {'▄' * 48}  min 5  max 5  last 5" == rows[2]


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.0032, "s", "3.2 ms"),
        (90, "s", "90 s"),
        (600, "s", "10 min"),
        (1.5e9, "bytes", "1.5 GB"),
        (0.0123, "ratio", "1.23 %"),
        (12, "%", "12 %"),
        (12345, "", "12.35k"),
        (0, "B", "0 B"),
        (-2000, "req/s", "-2 kreq/s"),
        (math.inf, "s", "+Inf"),
        (-math.inf, "s", "-Inf"),
        (math.nan, "s", "NaN"),
    ],
)
def test_values_read_as_people_say_them(value: float, unit: str, expected: str) -> None:
    """SI prefixes, time in its natural unit, ratios as percent, and no number for what is none."""
    assert expected == quantity(value, unit)


@given(some.floats(-1e290, 1e290), some.floats(-1e290, 1e290))
@example(0.0, 5e-324)
@example(1e15, 1e15 + 0.125)
def test_ticks_enclose_the_values(one: float, other: float) -> None:
    """Whatever the values, there are two to eight ascending ticks around them."""
    low, high = sorted((one, other))
    found = ticks(low, high)
    assert 2 <= len(found) <= 8
    hair = (found[1] - found[0]) * 1e-6
    assert found[0] <= low + hair
    assert found[-1] >= high - hair


@pytest.mark.parametrize("seconds", [1, 59, 600, 3600, 86_400, 604_800, 31_536_000, 315_360_000])
def test_times_have_few_and_distinct_ticks(seconds: int) -> None:
    """From a second to ten years there are at most nine ticks, each with its own label."""
    found = time_ticks(FIRST, FIRST + seconds * 1000)
    assert 1 <= len(found) <= 9
    assert len({label for _, label in found}) == len(found)


@given(
    some.lists(some.none() | some.floats(), max_size=30),
    some.text(max_size=8),
    some.sampled_from(["", "s", "B", "ratio"]),
)
def test_any_values_make_a_picture(values: list[float | None], name: str, unit: str) -> None:
    """No value and no name breaks the picture, its description or its text."""
    chart = Chart(name, unit, [line(values, name)], [Annotation(START, name)], [Threshold(1.0, name)])
    assert drawn(chart).tag == f"{SVG}svg"
    assert "nan" not in " ".join(element.attrib.get("points", "") for element in drawn(chart).iter())
    assert str(chart)
