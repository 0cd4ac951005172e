"""Graphite: targets no value can break out of, answers that are none, and what Graphite drops in silence."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sretoolkit.clock import FakeClock
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, NoData, NotExpressible, QueryError, SourceError, SourceUnavailable, TooCostly
from sretoolkit.metrics import connect
from sretoolkit.metrics.matcher import Matcher, Selector
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.sources._graphite_target import Template, compiled, denied, fault, whole
from sretoolkit.metrics.sources.graphite import Graphite
from tests.stack.replay import asked, reply, serve

NOW = 1795392000
MOMENT = datetime.fromtimestamp(NOW, UTC)
NASTY = st.text(alphabet=st.sampled_from("ab\"'\\;~=!^,(){}[]*?.|$ \n\tüé€\x00"), max_size=8) | st.text(max_size=12)
TAG = re.compile(r"([^;!=]+)(!?=~?)([^;]*)")


def terms(target: str) -> list[tuple[str, str, str]]:
    """What Graphite's grammar reads in a seriesByTag call: strings without escapes, each a tag expression."""
    assert target.startswith("seriesByTag(")
    at, found = len("seriesByTag("), []
    while True:
        assert target[at] == '"'
        end = target.index('"', at + 1)
        inside = target[at + 1 : end]
        assert not set(inside) & set("\\\r\n")
        match = TAG.fullmatch(inside)
        assert match
        found.append((match[1], match[2], match[3]))
        if target[end + 1 :] == ")":
            return found
        assert target[end + 1] == ","
        at = end + 2


@given(value=NASTY, metric=NASTY)
@example(value='x","name=~.*', metric="m")
@example(value="~x", metric="m")
@example(value="a;b", metric="m")
@example(value="a\\", metric="m")
def test_a_value_is_one_tag_expression_or_not_sent(value: str, metric: str) -> None:
    """Read back by Graphite's own rules, a value is exactly itself; one that cannot be is held against the answer."""
    target = compiled(Selector(metric, (Matcher("v", "=", value),)), {})
    if target is None:
        assert set(metric) & set('"\\;~') or not metric or not metric.isprintable() or re.search(r"[\x00-\x1f]", metric)
        return
    name, *rest = terms(target.text)
    assert ("name", "=", metric) == name
    assert rest in ([], [("v", "=", value)])
    assert bool(rest) is not bool(target.apart)
    assert ({"name": metric, "v": value} == target.labels("any", {"name": metric, "v": value})) is True
    assert target.labels("any", {"name": metric, "v": value + "x"}) is None


@given(
    pattern=st.text(alphabet="ab.*+?|()[]^$\\d-{}1~;\"'", max_size=8), value=st.text(alphabet="ab.1d~-(", max_size=4)
)
@example(pattern="a|b", value="bb")
@example(pattern="a.", value="ab")
def test_a_regular_expression_that_is_sent_never_leaves_out_what_is_wanted(pattern: str, value: str) -> None:
    """What Graphite selects by it (anchored, read by Python's rules there) holds all that our own reading accepts."""
    if re.search(r"\[\[|--|&&|~~|\|\|", pattern):
        return  # Python warns that these will mean something else
    try:
        matcher = Matcher("v", "=~", pattern)
        wanted = matcher.accepts({"v": value})
    except re.error:
        return
    target = compiled(Selector("m", (matcher, matcher._replace(operator="!~"))), {})
    assert target
    for tag, operator, spec in terms(target.text)[1:]:
        assert ("v", "=~", "^") == (tag, operator, spec[0])
        assert not wanted or re.match(spec, value)
    assert target.apart[-1].operator == "!~"


@given(value=NASTY, host=st.text(alphabet="ab.*-{}", max_size=4))
def test_a_value_is_one_node_of_a_path(value: str, host: str) -> None:
    """A node is the value itself or a wildcard, and nothing else of the path moves."""
    selector = Selector("requests", (Matcher("code", "=", value), Matcher("host", "=", host)))
    target = compiled(selector, {"requests": "web.{host}.requests.{code}"})
    assert target
    nodes = target.text.split(".")
    assert ["web", "requests", 4] == [nodes[0], nodes[2], len(nodes)]
    assert nodes[1] in ("*", host)
    assert nodes[3] in ("*", value)
    assert set("".join(nodes)) <= set(string.ascii_letters + string.digits + "*_:@%+-")
    path = f"web.{host}.requests.{value}"
    fits = "." not in host + value
    assert ({"host": host, "code": value} if fits else None) == target.labels(path, {})


def test_paths_that_are_none_are_refused() -> None:
    """A template with blanks, brackets that do not close, or one label twice is no path."""
    for wrong in ("a b", "a.{b", "a.{}", "{a}.{a}", 'a"', "a,b", ""):
        if wrong:
            with pytest.raises(ConfigError, match="no path"):
                Template(wrong)
    config = Config.of(sources={"g": {"kind": "graphite", "url": "http://127.0.0.1:1", "path": 5}})
    with pytest.raises(ConfigError, match="neither text nor a table"):
        connect("g", config)
    config = Config.of(sources={"g": {"kind": "graphite", "url": "http://127.0.0.1:1", "rollup": "middle"}})
    with pytest.raises(ConfigError, match="rollup is not 'middle'"):
        connect("g", config)


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("sum(", 3), ("sumSeries(a.b))", 14), ("a.b c", 3), ("sumSeries(a) b", 12), ("sumSeries(a)b", 12), ('"a"', 0),
        ('alias(a,"b)', 8), ("a)", 1), ("a, b", 1), ("sumSeries(a)|", None), ("a.{b,c}.d", None), ("a | sumSeries()", None),
        ("a|sumSeries()|scale(2)", None), ("alias(a,'x (y')", None), ('alias(a,"it\'s")', None), ("a.b", None), ("f(a, b)", None),
        ("  a.b  ", None), ("a.{b,c", None), (r"a.b\(c", None),
    ],
)  # fmt: skip
def test_what_graphite_would_drop_is_found(target: str, place: int | None) -> None:
    """Graphite reads a prefix and answers as if it were all; the place where the rest begins is told."""
    found = fault(target)
    assert place == (found[1] if found else None)


def test_a_selector_becomes_a_target_where_it_can() -> None:
    """Denials are written in Graphite's own way; what its grammar cannot carry is refused."""
    with connect("graphite+http://127.0.0.1:1") as source:
        native = source.native(Selector.parse('m{a="x", b!="y", c=~"1|2", d!~"3."}'))
        assert 'seriesByTag("name=m","a=x","c=~^(1|2)$","b!=y","d!=~^(3.)$")' == native
        assert "m" == Selector.parse("m").metric
        with pytest.raises(NotExpressible, match="cannot carry") as caught:
            source.native(Selector.of("m", a='"'))
        assert caught.value.nearest
    assert "" == denied(Matcher("a", "=", "b"))
    plain = compiled(Selector.of("m", a="b"), "{metric}.{a}")
    assert plain
    assert "m.b" == whole(plain)


class Server:
    """Answers render as told: ``series`` is path -> (step, first time, values)."""

    def __init__(self, series: dict[str, tuple[int, int, list[Any]]]) -> None:
        self.series = series
        self.finest: dict[str, int] = {}
        self.asked: list[dict[str, Any]] = []

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        """One request."""
        given = asked(request)["parameters"]
        self.asked.append(given)
        if given["format"] == "raw":
            late = int(given["from"]) >= NOW - 5
            lines = [
                f"{path},{first},{first + step},{self.finest.get(path, step) if late else step}|None\n"
                for path, (step, first, _) in self.series.items()
            ]
            return reply(request, 200, "".join(lines).encode(), "text/plain")
        body = []
        for path, (step, first, values) in self.series.items():
            name, *pairs = path.split(";")
            tags = {"name": name, **dict(pair.split("=", 1) for pair in pairs)}
            points = [[value, first + step * number] for number, value in enumerate(values)]
            body.append({"target": path, "tags": tags, "datapoints": points})
        return reply(request, 200, json.dumps(body).encode())


@contextmanager
def answering(handle: Callable[[BaseHTTPRequestHandler], Any], **options: Any) -> Iterator[Graphite]:
    """A source whose server is ``handle``."""
    with serve(handle) as url:
        config = Config.of(sources={"prod": {"kind": "graphite", "url": url, "timeout": "2s", **options}})
        source = connect("prod", config, clock=FakeClock(MOMENT))
        assert isinstance(source, Graphite)
        with source:
            yield source


def test_points_are_never_put_together_by_graphite() -> None:
    """Neither maxDataPoints nor noNullPoints is ever sent, whatever the step."""
    server = Server({"a": (10, NOW - 590, [1.0] * 60)})
    with answering(server) as source:
        frame = source.range("a", window=timedelta(minutes=10), step=timedelta(minutes=5), end=MOMENT)
        SLI.throughput("t", total="a").measure(source, end=MOMENT)
    assert 2 == len(frame.times) - 1
    assert not [given for given in server.asked if {"maxDataPoints", "noNullPoints"} & given.keys()]


def test_a_finer_step_than_the_archives_is_told() -> None:
    """Gaps that only come of the step have a warning; without a step there are none."""
    server = Server({"a": (60, NOW - 600, [1.0] * 11)})
    with answering(server) as source:
        frame = source.range("a", window=timedelta(minutes=5), step=timedelta(seconds=30), end=MOMENT)
        assert ["Graphite has a point every 60 s: a finer step shows gaps"] == list(frame.warnings)
        even = source.range("a", window=timedelta(minutes=5), end=MOMENT)
    assert (60.0, [], [1.0] * 6) == (even.interval.total_seconds(), list(even.warnings), even.values[:, 0].tolist())


def test_a_beginning_that_is_gone_is_incomplete() -> None:
    """Where the retention has cut the window, the frame says so."""
    server = Server({"a": (10, NOW - 100, [1.0] * 11)})
    with answering(server) as source:
        frame = source.range("a", window=timedelta(minutes=10), step=timedelta(seconds=10), end=MOMENT)
        assert not frame.complete
        sli = SLI.throughput("t", total="a", window=timedelta(minutes=10)).measure(source, end=MOMENT)
    assert (False, True) == (sli.complete, any("beginning" in text for text in sli.warnings))


@pytest.mark.parametrize(
    ("rollup", "kind", "value"),
    [("", "throughput", None), ("max", "throughput", None), ("sum", "throughput", 12 / 120), ("average", "throughput", 0.6),
     ("max", "saturation", 6.0), ("average", "saturation", None), ("sum", "availability", None),
     ("average", "availability", 6.0)],
)  # fmt: skip
def test_a_roll_up_counts_only_as_what_it_is(rollup: str, kind: str, value: float | None) -> None:
    """By what the configuration says of roll-ups, an indicator is right or refused."""
    server = Server({"a": (60, NOW - 60, [6.0, 6.0])})
    server.finest = {"a": 10}
    make = {
        "throughput": SLI.throughput("i", total="a", window=timedelta(minutes=2)),
        "saturation": SLI.saturation("i", metric="a", window=timedelta(minutes=2)),
        "availability": SLI.availability("i", metric="a", window=timedelta(minutes=2)),
    }
    with answering(server, **({"rollup": rollup} if rollup else {})) as source:
        if value is None:
            with pytest.raises(NotExpressible, match="roll-ups of 60 s"):
                make[kind].measure(source, end=MOMENT)
        else:
            frame = make[kind].measure(source, end=MOMENT)
            assert value == frame.values[0, 0]
            assert any("roll-ups" in text for text in frame.warnings)


def test_infinite_and_odd_numbers() -> None:
    """Infinities are samples, null is none, and of two at one time the later counts."""

    def handle(request: BaseHTTPRequestHandler) -> None:
        if asked(request)["parameters"]["format"] == "raw":
            return reply(request, 200, f"a,1,{NOW},10|None\n".encode(), "text/plain")
        points = f"[1e9999,{NOW - 20}],[-1e9999,{NOW - 10}],[null,{NOW}],[5,{NOW - 30}],[7,{NOW - 30}]"
        return reply(request, 200, f'[{{"target": "a", "datapoints": [{points}]}}]'.encode())

    with answering(handle) as source:
        frame = source.range("a", window=timedelta(seconds=30), step=timedelta(seconds=10), end=MOMENT)
    np.testing.assert_array_equal(frame.values[:, 0], [7.0, np.inf, -np.inf, np.nan])


@pytest.mark.parametrize(
    ("status", "kind", "body", "error"),
    [
        (200, "text/html", b"<html>welcome</html>", SourceUnavailable),
        (200, "text/plain", b"hello", SourceUnavailable),
        (401, "text/html", b"<html>who?</html>", SourceError),
        (403, "text/html", b"", SourceError),
        (404, "text/html", b"<html>gone</html>", SourceError),
        (429, "text/plain", b"slow down", SourceUnavailable),
        (500, "text/html", b"<pre>\nTraceback\nOperationalError: database is locked\n</pre>", SourceUnavailable),
        (500, "text/html", b"<pre>\nTraceback\nTypeError: takes 2 &lt;arguments&gt;\n</pre>", QueryError),
        (400, "text/html", b"Invalid parameters (x &lt; y)", QueryError),
        (502, "text/html", b"bad gateway", SourceUnavailable),
        (302, "text/html", b"", SourceError),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_an_error(status: int, kind: str, body: bytes, error: type[SourceError]) -> None:
    """Pages, refusals and failures are told apart, and none of them is no data."""
    with answering(lambda request: reply(request, status, body, kind, Retry_After="9")) as source:
        with pytest.raises(error) as caught:
            source.range("a", window=timedelta(minutes=1), end=MOMENT)
        assert type(caught.value) is error
        assert caught.value.hint
        assert not {"&lt;", "<pre>"} & set(caught.value.message.split())


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[", b"[{]", b'[{"target": "a"}]', b'[{"target": 1, "datapoints": []}]', b"[1]", b"null", b"[[",
     b'[{"target": "a", "datapoints": [[1]]}]',
     b'[{"target": "a", "datapoints": [["x", 1795391999]]}]', b'[{"target": "a", "datapoints": [[1, null]]}]',
     b"[" * 100_000 + b"]",
     b'[{"target": "a", "datapoints": [[1, 1795391990]]}, {"tar'],
)  # fmt: skip
def test_half_an_answer_is_none(body: bytes) -> None:
    """JSON that is cut, or of another shape, is an error and never a part of the series."""

    def handle(request: BaseHTTPRequestHandler) -> None:
        if asked(request)["parameters"]["format"] == "raw":
            return reply(request, 200, f"a,1,{NOW},10|None\n".encode(), "text/plain")
        return reply(request, 200, body)

    with answering(handle) as source, pytest.raises(SourceUnavailable, match="not Graphite's JSON"):
        source.range("a", window=timedelta(minutes=1), end=MOMENT)


def test_a_hundred_thousand_series_are_refused_before_they_are_asked_for() -> None:
    """The look at the names is enough to know."""
    server = Server({f"m;n={number}": (1, NOW, []) for number in range(100_000)})
    with answering(server) as source, pytest.raises(TooCostly, match="360,100,000 samples"):
        source.range('seriesByTag("name=m")', window=timedelta(hours=1), step=timedelta(seconds=1), end=MOMENT)
    assert ["raw"] == [given["format"] for given in server.asked]


def test_foreign_series_in_the_answer_are_left_out() -> None:
    """A server whose tag search is looser than asked (without case, say) changes no sum."""
    server = Server(
        {"m;s=web": (10, NOW - 10, [1.0, 2.0]), "m;s=WEB": (10, NOW - 10, [100.0, 100.0]), "M;s=web": (10, NOW, [9.0])}
    )
    sli = SLI.throughput("t", total='m{s="web"}', by=["s"], window=timedelta(seconds=20))
    with answering(server) as source:
        frame = sli.measure(source, end=MOMENT)
    assert ([{"s": "web"}], [[0.15]]) == (frame.labels, frame.values.tolist())


def test_no_series_is_no_data_and_no_errors_are_zero() -> None:
    """Nothing is NoData; a total without its bad part is a true 0; another metric's absence is not."""
    with answering(Server({})) as source, pytest.raises(NoData):
        SLI.throughput("t", total="m").measure(source, end=MOMENT)
    with answering(Server({"m;code=200": (10, NOW, [4.0])})) as source:
        part = SLI.error_ratio("e", bad='m{code="500"}', total="m").measure(source, end=MOMENT)
        assert [[0.0]] == part.values.tolist()
        with pytest.raises(NoData):
            SLI.error_ratio("e", bad="failures", total="m").measure(source, end=MOMENT)


def test_health_tells_a_clock_that_differs_and_points_that_are_old() -> None:
    """Each is a finding with what to do."""

    def handle(request: BaseHTTPRequestHandler) -> None:
        request.date_time_string = lambda timestamp=None: "Sun, 01 Nov 2026 00:00:00 GMT"  # type: ignore[method-assign]
        if request.path == "/version/":
            return reply(request, 200, b"1.1.10\n", "text/html")
        asked(request)
        return reply(request, 200, f'[{{"target": "carbon", "datapoints": [[1, {NOW - 900}]]}}]'.encode())

    with answering(handle) as source:
        report = source.health()
    assert {"clock": "medium", "points": "high"} == {one.subject: one.severity for one in report.findings}
    assert "1.1.10" == report.facts["version"]
    assert all(one.remedy for one in report.findings)
