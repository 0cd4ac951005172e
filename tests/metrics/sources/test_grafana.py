"""Grafana: every kind of data frame, annotations beyond a page, and answers that are none."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sretoolkit.clock import FakeClock
from sretoolkit.config import Config
from sretoolkit.errors import NoData, NotExpressible, QueryError, SourceError, SourceUnavailable, TooCostly
from sretoolkit.metrics import MetricSource, connect
from sretoolkit.metrics.events import Kept, Window
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.sources._grafana_alerts import moment, own_labels, states
from sretoolkit.metrics.sources._grafana_frames import Answer, Malformed, series
from sretoolkit.metrics.states import CheckState
from tests.stack.dataset import ERRORS
from tests.stack.replay import asked, reply, serve

NOW = 1795392000
MOMENT = datetime.fromtimestamp(NOW, UTC)
MINUTE = 60_000
GRID = Grid(NOW * 1000 - 3 * MINUTE, MINUTE, 4)
TIMES = GRID.moments.tolist()
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["schema", "fields", "name", "type", "labels", "config", "data", "values", "entities", "nanos"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


def source(url: str, **options: Any) -> MetricSource:
    """A configured source named ``prod`` over a Prometheus, which gives up soon."""
    known = {"datasource": "u1", "datasource_type": "prometheus"}
    given = {"kind": "grafana", "url": url, "timeout": "2s", **known, **options}
    return connect("prod", Config.of(sources={"prod": given}), clock=FakeClock(MOMENT))


@contextmanager
def answering(handle: Callable[[BaseHTTPRequestHandler], Any], **options: Any) -> Iterator[MetricSource]:
    """A source, and the server behind it."""
    with serve(handle) as url, source(url, **options) as opened:
        yield opened


def fixed(status: int, body: Any, kind: str = "application/json") -> Callable[[BaseHTTPRequestHandler], None]:
    """A server that always says the same."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda request: reply(request, status, content, kind)


def frame(*columns: tuple[str, str, list[Any]], labels: dict[str, str] | None = None, **data: Any) -> dict[str, Any]:
    """A data frame of (name, type, values); the labels are the last one's."""
    fields: list[dict[str, Any]] = [{"name": name, "type": kind} for name, kind, _ in columns]
    fields[-1]["labels"] = labels
    return {"schema": {"refId": "A", "fields": fields}, "data": {"values": [values for *_, values in columns], **data}}


def values(*frames: dict[str, Any], grid: Grid = GRID) -> Any:
    """The matrix and the labels that come of them."""
    found, undefined = series(frames)
    made = Answer("prod", "q", found, undefined, ()).frame(grid)
    matrix = [[None if math.isnan(cell) else cell for cell in row] for row in made.values.tolist()]
    return matrix, made.labels, made.warnings


def test_what_json_has_no_number_for_is_read_from_beside() -> None:
    """NaN, both infinities and nulls of a nullable integer each become what they are."""
    beside = [None, {"NaN": [0], "Inf": [1], "NegInf": [2]}]
    first = frame(("t", "time", TIMES), ("v", "number", [None, None, None, 9007199254740993]), entities=beside)
    matrix, _, warnings = values(first)
    assert [[None], [math.inf], [-math.inf], [9007199254740992.0]] == matrix
    assert ["1 samples are NaN (as of 0/0) and count as missing"] == warnings


def test_a_time_between_two_milliseconds_belongs_to_the_later() -> None:
    """What happened some nanoseconds after a moment does not count as of that moment."""
    found, _ = series([frame(("t", "time", [1000, 2000]), ("v", "number", [1, 2]), nanos=[[1, 0], None])])
    assert [1001, 2000] == found[0].times.tolist()


def test_series_of_the_same_labels_are_told_apart() -> None:
    """Without labels the name tells, with the same ones the name and at last a number."""
    one, two = ("v", "number", [1.0] * 4), ("v", "number", [2.0] * 4)
    time = ("t", "time", TIMES)
    _, bare, _ = values(frame(time, one), frame(time, two))
    _, same, _ = values(frame(time, one, labels={"a": "b"}), frame(time, ("w", "number", [2.0] * 4), labels={"a": "b"}))
    assert [{"__name__": "v"}, {"__name__": "v", "series": "2"}] == bare
    assert [{"a": "b", "__name__": "v"}, {"a": "b", "__name__": "w"}] == same


def test_a_table_with_text_is_a_series_for_each_text() -> None:
    """Rows of a long frame belong to the series that their text columns name, null being empty."""
    columns = ("t", "time", [TIMES[0], TIMES[0], TIMES[1]]), ("host", "string", ["a", None, "a"])
    matrix, labels, _ = values(frame(*columns, ("v", "number", [1, 2, 3]), labels={"dc": "x"}))
    assert ([{"host": "a", "dc": "x"}, {"host": "", "dc": "x"}], [[1, 2], [3, None]]) == (labels, matrix[:2])


@pytest.mark.parametrize(
    ("times", "expected", "warning"),
    [
        (TIMES, [1, 2, 3, 4], None),
        ([at - MINUTE // 2 for at in TIMES], [2, 3, 4], "moved every moment by 30 s"),
        ([TIMES[0], TIMES[2]], [1, 2], "every 120 s, not every 60 s"),
        ([TIMES[0] + 1, TIMES[1] + 7, TIMES[1] + 9, TIMES[3]], [None, 1, 3, 4], "several samples in a step"),
        ([TIMES[3]], [None, None, None, 1], None),
    ],
)
def test_the_grid_is_the_one_that_was_answered(times: list[int], expected: list[Any], warning: str | None) -> None:
    """Moments that the data source chose itself are kept and told; uneven ones are gathered on the asked grid."""
    numbers: list[Any] = list(range(1, len(times) + 1))
    matrix, _, warnings = values(frame(("t", "time", times), ("v", "number", numbers)))
    assert [[one] for one in expected] == matrix
    assert (warning is None) is (warnings == [])
    assert warning is None or warning in warnings[0]


def test_a_gap_does_not_make_the_step_longer() -> None:
    """Samples that are missing in every series leave gaps; the step stays as it was asked."""
    grid = Grid(NOW * 1000 - 9 * MINUTE, MINUTE, 10)
    at = grid.moments
    times = [int(at[place]) for place in (0, 2, 6, 8)]
    matrix, _, warnings = values(frame(("t", "time", times), ("v", "number", [1, 2, 3, 4])), grid=grid)
    assert ([1, None, 2, None, None, None, 3, None, 4, None], []) == ([row[0] for row in matrix], warnings)


@pytest.mark.parametrize(
    "broken",
    [
        {"schema": {}},
        "text",
        frame(("t", "time", TIMES), ("v", "number", [1])),
        frame(("t", "time", ["soon"]), ("v", "number", [1])),
        frame(("t", "time", [1000]), ("v", "number", ["x"])),
        frame(("t", "time", [1000]), ("v", "number", [1]), entities=[None, {"NaN": [7]}]),
    ],
)
def test_a_broken_frame_is_refused(broken: Any) -> None:
    """A frame whose parts do not fit raises, and is never half read."""
    with pytest.raises(Malformed):
        series([broken])


@given(st.lists(anything, max_size=3))
def test_any_frame_is_read_or_refused(frames: list[Any]) -> None:
    """Whatever stands in place of frames gives series or `Malformed`."""
    try:
        found, _ = series(frames)
    except Malformed:
        return
    assert all(len(one.times) == len(one.values) for one in found)


@given(st.text(), st.integers(0, 10**9))
def test_a_query_arrives_as_it_is(query: str, uid: int) -> None:
    """PromQL is a JSON string in the request: no text can become another field of it."""
    with source("http://127.0.0.1:1", datasource=str(uid)) as opened:
        model = opened._model(f"x{query}", MINUTE, at_once=False)  # type: ignore[attr-defined]
    assert f"x{query}" == json.loads(json.dumps(model))["expr"]


def test_the_request_names_data_source_and_grid() -> None:
    """From, to, step and number of points are those of the grid, and the organisation goes in a header."""
    seen: list[Any] = []

    def handle(request: BaseHTTPRequestHandler) -> None:
        seen.append((asked(request)["json"], request.headers["X-Grafana-Org-Id"]))
        good = frame(("t", "time", TIMES), ("v", "number", [1, 2, 3, 4]))
        reply(request, 200, json.dumps({"results": {"A": {"frames": [good]}}}).encode())

    with answering(handle, org=7) as opened:
        opened.range("up", window=timedelta(minutes=3), step=timedelta(minutes=1))
    ((body, org),) = seen
    assert (str(TIMES[0]), str(TIMES[-1]), "7") == (body["from"], body["to"], org)
    (query,) = body["queries"]
    assert ({"uid": "u1", "type": "prometheus"}, MINUTE, 4) == (
        query["datasource"], query["intervalMs"], query["maxDataPoints"],
    )  # fmt: skip


def annotated(count: int) -> Callable[[BaseHTTPRequestHandler], None]:
    """A Grafana with so many annotations, which gives as many as are asked for, the newest first."""

    def handle(request: BaseHTTPRequestHandler) -> None:
        limit = int(parse_qs(urlsplit(request.path).query).get("limit", ["100"])[0])
        found = [{"id": at, "time": (NOW - at) * 1000, "text": f"deploy {at}"} for at in range(count)][:limit]
        reply(request, 200, json.dumps(found).encode())

    return handle


@pytest.mark.parametrize("count", [0, 99, 1_500, 12_000])
def test_annotations_beyond_the_first_page_are_read(count: int) -> None:
    """Grafana gives 100 by default and never says that there are more; all of them are read."""
    with answering(annotated(count)) as opened:
        events = opened.events(Window(MOMENT - timedelta(days=1), MOMENT))
    assert isinstance(events, Kept)
    assert (count, "") == (len(events), events.lost)
    assert sorted(one.start for one in events) == [one.start for one in events]


def test_too_many_annotations_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the last limit the answer says that some are missing."""
    monkeypatch.setattr("sretoolkit.metrics.sources.grafana._LIMITS", (10, 20))
    with answering(annotated(50)) as opened:
        events = opened.events(Window(MOMENT - timedelta(days=1), MOMENT))
    assert isinstance(events, Kept)
    assert (20, "there are more than 20 annotations") == (len(events), events.lost.partition(":")[0])


@pytest.mark.parametrize(
    ("handle", "error", "says"),
    [
        (fixed(200, b"<html>", "text/html"), SourceUnavailable, "which is not Grafana's JSON"),
        (fixed(200, {"results": {}}), SourceUnavailable, "which is not Grafana's JSON"),
        (fixed(200, {"results": {"A": {"frames": [{"schema": 1}]}}}), SourceUnavailable, "no series"),
        (fixed(200, {"results": {"A": {"status": 200, "frames": []}}}), NoData, "no data for up"),
        (fixed(401, {"message": "Invalid API key"}), SourceError, "Invalid API key"),
        (fixed(403, {"message": "You'll need additional permissions"}), SourceError, "additional permissions"),
        (fixed(404, {"message": "Data source not found"}), QueryError, "Data source not found"),
        (fixed(302, b"", "text/html"), SourceError, "sends us elsewhere"),
        (fixed(500, {"message": "Query data error"}), SourceUnavailable, "Query data error"),
        (fixed(429, {"message": "slow down"}), SourceUnavailable, "slow down"),
        (fixed(207, {"results": {"A": {"error": "bad \x1b[31m", "status": 400}}}), QueryError, r"bad \x1b[31m"),
    ],
)  # fmt: skip
def test_answers_that_are_none_are_told_apart(handle: Any, error: type[SourceError], says: str) -> None:
    """Pages, refusals, empty results and errors within a good answer each have their own words and a hint."""
    with answering(handle) as opened, pytest.raises(error) as caught:
        opened.range("up", window=timedelta(minutes=3), step=timedelta(minutes=1))
    assert says in caught.value.message
    assert caught.value.hint
    assert "up" == caught.value.query


def test_a_question_beyond_the_limit_is_not_asked() -> None:
    """More moments than the source may bring are refused before anything is sent."""
    with answering(lambda request: pytest.fail("asked"), most_samples=10) as opened, pytest.raises(TooCostly):
        opened.range("up", window=timedelta(minutes=20), step=timedelta(minutes=1))


def test_an_unknown_data_source_is_said() -> None:
    """Neither a uid nor a name: the error says what was looked for."""
    missing = answering(fixed(404, {"message": "Data source not found"}), datasource="lost", datasource_type="")
    with missing as opened, pytest.raises(SourceError, match="no data source 'lost'"):
        opened.instant("up")


def test_an_indicator_is_compiled_for_what_stands_behind() -> None:
    """For a Prometheus it is PromQL, for a Graphite its own; any other kind is refused with what comes nearest."""
    with source("http://127.0.0.1:1") as opened:
        compiled = ERRORS.compiled(opened, end=MOMENT)
        assert "increase(requests" in compiled.native
        assert "through Grafana's prometheus u1" in compiled.reason
        assert compiled.estimated
        assert 'up{job="a"}' == opened.native(Selector.of("up", job="a"))
    with source("http://127.0.0.1:1", datasource_type="graphite") as opened:
        assert "seriesByTag" in ERRORS.compiled(opened, end=MOMENT).native
    with source("http://127.0.0.1:1", datasource_type="loki") as opened, pytest.raises(NotExpressible) as caught:
        ERRORS.compiled(opened, end=MOMENT)
    assert "graphite, prometheus" in caught.value.nearest


def test_verbs_that_grafana_lacks_are_refused() -> None:
    """It has no hosts to discover, and an alert instance cannot be acknowledged in it."""
    with source("http://127.0.0.1:1") as opened:
        with pytest.raises(NotExpressible):
            opened.discover()
        with pytest.raises(NotExpressible):
            opened.acknowledge(CheckState(entity="a", check="b", state="ok"), "on it")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22T23:59:40.123456789Z", datetime(2026, 11, 22, 23, 59, 40, 123456, UTC)),
        ("2026-11-23T00:59:40+01:00", datetime(2026, 11, 22, 23, 59, 40, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        (None, None),
    ],
)
def test_a_time_of_an_alert_is_read(text: Any, expected: datetime | None) -> None:
    """Nanoseconds are cut, zones become UTC, and the year 1 means never."""
    assert expected == moment(text)


@given(st.dictionaries(st.sampled_from(["name", "rules", "interval"]), anything))
def test_any_rule_group_is_read(group: dict[str, Any]) -> None:
    """Missing and wrong fields never break the reading of alert rules."""
    for state in states([group], {}, MOMENT, "prod"):
        assert state.state in ("critical", "warning", "unknown", "pending", "ok")
    assert isinstance(own_labels(group), dict)


def test_unsilencing_at_a_wrong_address_is_not_taken_for_done() -> None:
    """A 404 page that is not Grafana's own leaves the silence in doubt, and is an error."""
    with answering(fixed(404, b"nothing here", "text/plain")) as opened, pytest.raises(SourceError):
        opened.unsilence("5a1b")
