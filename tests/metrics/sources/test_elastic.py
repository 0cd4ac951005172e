"""Elastic: values and regular expressions that mean what they mean, parts that are missing, answers that are none."""

from __future__ import annotations

import json
import re
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
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.matcher import Matcher, Selector
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.sources._elastic_regex import Untranslatable, lucene, numbers
from sretoolkit.metrics.sources._elastic_search import Remarks
from sretoolkit.metrics.sources.elastic import Elastic
from tests.stack.replay import asked, reply, serve

NOW = 1795392000
MOMENT = datetime.fromtimestamp(NOW, UTC)
INSIDE = st.sampled_from([*'ab.1"#@&~<>^$\\/ é𝄞\n-', "\\.", "\\d", "\\w", "\\\\", '\\"', "\\-", "\\n"])
SIMPLE = st.one_of(
    INSIDE, st.just("[ab]"), st.just('[^a"]'), st.just("[a-z1]"), st.just("[\\d-]"), st.just("[]a]"), st.just("[~&]")
)


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Greater expressions of smaller ones."""
    repeat = st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}", "*?", "+?", "??"])
    group = inner.map(lambda text: f"({text})") | inner.map(lambda text: f"(?:{text})")
    repeated = st.tuples(SIMPLE.filter(lambda text: text not in "^$") | group, repeat).map("".join)
    return st.one_of(group, repeated, st.tuples(inner, inner).map("".join), st.tuples(inner, inner).map("|".join))


PATTERNS = st.recursive(SIMPLE | st.just(""), grown, max_leaves=6)
VALUES = st.text(alphabet='ab.1"#@&~<>^$\\/ é𝄞\n-z', max_size=5)


def from_lucene(text: str) -> str:
    r"""Lucene's syntax (flags NONE) as Python's, read by rules of our own: only . | * + ? { } [ ] ( ) " and \ mean anything."""
    at, found = 0, ""
    while at < len(text):
        sign = text[at]
        if sign == "\\":
            found += re.escape(text[at + 1])
            at += 2
            continue
        if sign == '"':  # a string between quotes: all of it is literal
            end = text.index('"', at + 1)
            found += re.escape(text[at + 1 : end])
            at = end + 1
            continue
        if sign == "[":
            end = at + 1
            inside = "["
            if text[end] == "^":
                inside, end = "[^", end + 1
            while text[end] != "]":
                step = 2 if text[end] == "\\" else 1
                member = text[end + step - 1]
                inside += "-" if step == 1 and member == "-" else re.escape(member)
                end += step
            found += inside + "]"
            at = end + 1
            continue
        found += sign if sign in ".|*+?{}(),0123456789" else re.escape(sign)
        at += 1
    return found


@given(pattern=PATTERNS, value=VALUES)
@example(pattern='a"b', value='a"b')
@example(pattern="^ab$", value="ab")
@example(pattern="a|", value="")
@example(pattern="#", value="#")
@example(pattern="<1-9>", value="5")
def test_a_translated_expression_matches_the_same_values(pattern: str, value: str) -> None:
    """Read back by Lucene's rules, it accepts just what it accepted; or it was refused."""
    try:
        expected = bool(re.fullmatch(pattern, value, re.S | re.A))
        translated = lucene(pattern)
    except (re.error, Untranslatable):
        return
    assert expected is bool(re.fullmatch(from_lucene(translated), value, re.S)), translated


@pytest.mark.parametrize(
    "pattern",
    ["(?i)a", "(?=a)", "(?P<n>a)", "(a)\\1", "\\bx", "a\\Z", "^a|b", "a$|b", "a^", "[a&&b]", "[[a]", "\\p{L}", "a**",
     "a{1}{2}", "(", "a)", "[a", "\\", "a{,2}", "*a", "x+*"],
)  # fmt: skip
def test_what_lucene_lacks_is_not_translated(pattern: str) -> None:
    """Look-arounds, flags, references, boundaries and set operations are refused by name."""
    with pytest.raises(Untranslatable):
        lucene(pattern)


@given(
    parts=st.lists(
        st.lists(st.sampled_from(["1", "5", "0", ".", "\\d", "[0-9]"]), min_size=1, max_size=4), min_size=1, max_size=3
    ),
    number=st.integers(-12000, 12000),
)
@example(parts=[["5", ".", "."]], number=-55)
def test_patterns_of_digits_are_ranges_of_numbers(parts: list[list[str]], number: int) -> None:
    """On a field of numbers, ``5..`` is just those numbers that, written out, match it."""
    pattern = "|".join("".join(part) for part in parts)
    try:
        ranges = numbers(pattern)
    except Untranslatable:
        return
    assert bool(re.fullmatch(pattern, str(number))) is any(low <= number <= high for low, high in ranges)


@pytest.mark.parametrize("pattern", ["5.*", "(5|4)..", "a", ".5", "05", "5..|x", "", "5{3}", "[45].."])
def test_other_patterns_on_numbers_are_refused(pattern: str) -> None:
    """What is no range of whole numbers is not guessed."""
    with pytest.raises(Untranslatable):
        numbers(pattern)


class Cluster:
    """Answers field capabilities by ``kinds``, and each search by the next of ``answers``."""

    def __init__(self, *answers: dict[str, Any], kinds: dict[str, Any] | None = None) -> None:
        self.answers = list(answers)
        self.kinds = {"service": "keyword", "code": "keyword", "n": "long", "status": "integer", "message": "text"}
        self.kinds = self.kinds if kinds is None else kinds
        self.searches: list[dict[str, Any]] = []

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        """One request."""
        got = asked(request)
        if got["path"].endswith("/_field_caps"):
            names = [name for name in got["parameters"]["fields"].split(",") if name in self.kinds]
            names = list(self.kinds) if got["parameters"]["fields"] == "*" else names
            fields = {name: {kind: {"aggregatable": True} for kind in self.kinds[name].split("/")} for name in names}
            return reply(request, 200, json.dumps({"indices": ["i"], "fields": fields}).encode())
        self.searches.append(got["json"])
        answer = self.answers.pop(0) if self.answers else {}
        whole = {"timed_out": False, "_shards": {"total": 1, "failed": 0}, "hits": {"hits": []}, **answer}
        return reply(request, 200, json.dumps(whole).encode())


@contextmanager
def answering(handle: Callable[[BaseHTTPRequestHandler], Any], **options: Any) -> Iterator[Elastic]:
    """A source whose server is ``handle``."""
    with serve(handle) as url:
        config = Config.of(sources={"prod": {"kind": "elastic", "url": url, "timeout": "2s", **options}})
        source = connect("prod", config, clock=FakeClock(MOMENT))
        assert isinstance(source, Elastic)
        with source:
            yield source


@given(value=st.text(max_size=8), label=st.sampled_from(["service", "code"]))
@example(value='"}}', label="service")
@example(value="\\", label="code")
def test_a_value_is_one_term(value: str, label: str) -> None:
    """Whatever is in it, a value is one JSON string in one term, and exactly itself."""
    source = connect("elastic+http://127.0.0.1:1")
    assert isinstance(source, Elastic)
    from sretoolkit.metrics.sources._elastic_fields import Fields

    fields = Fields(source, {name: {"keyword": {}} for name in ("service", "code", "service.keyword", "code.keyword")})
    query = json.loads(json.dumps(fields.query(Selector("n", (Matcher(label, "=", value),)), "")))
    (condition,) = query["bool"]["filter"]
    term = condition if value else condition["bool"]["should"][0]
    assert {"term": {label: {"value": value}}} == term


def part(value: float, count: int) -> dict[str, Any]:
    """A filter bucket that was summed."""
    return {"doc_count": count, "value": {"value": value}, "count": {"value": count}}


SHARE = SLI.error_ratio("e", bad='n{code="500"}', total="n", window=timedelta(minutes=1))


def answered(bad: float, total: float, **more: Any) -> dict[str, Any]:
    """A search's answer with one window."""
    bucket = {"key": (NOW - 60) * 1000 + 1, "doc_count": 9, "bad": part(bad, 1 if bad else 0), "total": part(total, 3)}
    return {"aggregations": {"windows": {"buckets": [bucket]}}, **more}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"timed_out": True}, "ran out of time"),
        (
            {"_shards": {"total": 5, "failed": 2, "failures": [{"reason": {"type": "x", "reason": "disk gone"}}]}},
            "2 of 5 shards did not answer: x: disk gone",
        ),
        ({"_clusters": {"total": 2, "skipped": 1}}, "1 of 2 clusters"),
    ],
)
def test_a_part_of_an_answer_says_so(more: dict[str, Any], says: str) -> None:
    """Failed shards, a search cut short and clusters left out make the frame incomplete, with a warning."""
    with answering(Cluster(answered(1, 10, **more))) as source:
        frame = SHARE.measure(source, end=MOMENT)
    assert (False, [[0.1]]) == (frame.complete, frame.values.tolist())
    assert any(says in text for text in frame.warnings)


def test_no_errors_are_zero_and_no_requests_are_no_data() -> None:
    """A total without bad documents is a true 0; without a total there is nothing to say."""
    with answering(Cluster(answered(0, 10))) as source:
        assert [[0.0]] == SHARE.measure(source, end=MOMENT).values.tolist()
    with answering(Cluster({"aggregations": {"windows": {"buckets": []}}})) as source, pytest.raises(NoData):
        SHARE.measure(source, end=MOMENT)
    other = SLI.error_ratio("e", bad="status", total="n", window=timedelta(minutes=1))
    with answering(Cluster(answered(0, 10))) as source, pytest.raises(NoData):
        other.measure(source, end=MOMENT)


def test_the_window_is_open_at_its_start_and_the_same_in_the_filter_and_the_buckets() -> None:
    """(t - window, t] to the millisecond: gt and lte, and buckets that begin one millisecond later."""
    cluster = Cluster(answered(1, 2))
    with answering(cluster) as source:
        SHARE.measure(source, end=MOMENT)
    (body,) = cluster.searches
    between = body["query"]["bool"]["filter"][0]["range"]["@timestamp"]
    assert {"gt": (NOW - 60) * 1000, "lte": NOW * 1000, "format": "epoch_millis"} == between
    histogram = body["aggs"]["windows"]["date_histogram"]
    assert ("60000ms", "+1ms") == (histogram["fixed_interval"], histogram["offset"])
    assert (0, False) == (body["size"], body["track_total_hits"])


def test_groups_are_paged_to_the_end() -> None:
    """Each page asks for what follows the one before, until one is empty."""

    def page(name: str | None) -> dict[str, Any]:
        bucket = {"key": {"0": name}, "windows": answered(1, 4)["aggregations"]["windows"]}
        return {"aggregations": {"groups": {"buckets": [bucket], "after_key": {"0": name}}}}

    cluster = Cluster(page(None), page("a"), page('b"'), {"aggregations": {"groups": {"buckets": []}}})
    by = SLI.error_ratio("e", bad='n{code="500"}', total="n", by=["service"], window=timedelta(minutes=1))
    with answering(cluster) as source:
        frame = by.measure(source, end=MOMENT)
    assert [{"service": ""}, {"service": "a"}, {"service": 'b"'}] == frame.labels
    after = [body["aggs"]["groups"]["composite"].get("after") for body in cluster.searches]
    assert [None, {"0": None}, {"0": "a"}, {"0": 'b"'}] == after


def test_groups_beyond_the_limit_are_refused() -> None:
    """The count of samples is held while the pages come: the rest is not asked for."""

    def page(number: int) -> dict[str, Any]:
        buckets = [{"key": {"0": f"{number}-{at}"}, "windows": {"buckets": []}} for at in range(1000)]
        return {"aggregations": {"groups": {"buckets": buckets, "after_key": {"0": f"{number}"}}}}

    cluster = Cluster(*(page(number) for number in range(100)))
    by = SLI.throughput("t", total="n", by=["service"], window=timedelta(minutes=1))
    with answering(cluster, most_samples=5_000) as source, pytest.raises(TooCostly) as caught:
        by.measure(source, end=MOMENT)
    assert len(cluster.searches) < 10
    assert "aggregate" in caught.value.hint


@pytest.mark.parametrize(
    "sli",
    [
        SLI.availability("a", entity="h1"),
        SLI.saturation("s", metric="n", capacity="n"),
        SLI.throughput("t", total="n", counter="cumulative"),
        SLI.latency_quantile("q", metric="*"),
        SLI.throughput("t", total='n{message="x"}'),
        SLI.throughput("t", total='n{status=~"(?i)x"}'),
        SLI.throughput("t", total="n", by=["mixed"]),
    ],
    ids=str,
)
def test_what_documents_cannot_tell_is_refused(sli: SLI) -> None:
    """With the reason, and what comes nearest."""
    kinds = {"n": "long", "message": "text", "status": "integer", "mixed": "keyword/long"}
    with answering(Cluster(kinds=kinds)) as source, pytest.raises(NotExpressible) as caught:
        sli.compiled(source, end=MOMENT)
    assert caught.value.reason
    assert caught.value.nearest


ERROR = {
    "error": {
        "type": "search_phase_execution_exception", "reason": "all shards failed",
        "root_cause": [{"type": "query_shard_exception", "reason": "Failed to parse query [x:(]"}],
        "caused_by": {"type": "parse", "reason": "outer", "caused_by": {"type": "parse", "reason": "line 1"}},
    },
    "status": 400,
}  # fmt: skip


JSON = "application/json"


def error(kind: str, reason: str) -> bytes:
    """A refusal's body."""
    return json.dumps({"error": {"type": kind, "reason": reason}}).encode()


@pytest.mark.parametrize(
    ("status", "kind", "body", "expected", "says"),
    [
        (400, JSON, json.dumps(ERROR).encode(), QueryError, "Failed to parse query [x:(]: line 1"),
        (404, JSON, error("index_not_found_exception", "no such index [x]"), QueryError, "no such index"),
        (503, JSON, error("too_many_buckets_exception", "65535"), TooCostly, "too_many_buckets"),
        (400, JSON, error("too_many_buckets_exception", "65535"), TooCostly, "too_many_buckets"),
        (401, JSON, error("security_exception", "token expired"), SourceError, "token expired"),
        (403, "text/html", b"<html>", SourceError, "refused us"),
        (429, JSON, error("circuit_breaking_exception", "too large"), SourceUnavailable, "too large"),
        (500, JSON, b'{"error": "boom"}', SourceUnavailable, "boom"),
        (200, "text/html", b"<html>Kibana</html>", SourceUnavailable, "not Elasticsearch or OpenSearch's JSON"),
        (200, JSON, b"[]", SourceUnavailable, "not Elasticsearch"),
        (200, JSON, b"{}", SourceError, "something else"),
        (200, JSON, b'{"hits": {"hits": [', SourceUnavailable, "not Elasticsearch"),
        (302, "text/html", b"", SourceError, "elsewhere"),
    ],
)
def test_what_is_no_answer_is_an_error(
    status: int, kind: str, body: bytes, expected: type[SourceError], says: str
) -> None:
    """The root cause is told, and refusals, failures and pages are told apart."""
    with answering(lambda request: reply(request, status, body, kind, Retry_After="9")) as source:
        with pytest.raises(expected) as caught:
            source.range("x:(", window=timedelta(minutes=1), end=MOMENT)
        assert type(caught.value) is expected
        assert says in caught.value.message
        assert caught.value.hint


def test_empty_buckets_of_ones_own_query_are_gaps() -> None:
    """A sum of no documents is no 0; NaN and null are no samples; infinity is one."""
    query = '{"aggs": {"t": {"date_histogram": {"field": "@timestamp"}, "aggs": {"s": {"sum": {"field": "n"}}}}}}'
    buckets = [
        {"key": (NOW - 180) * 1000 + 1, "doc_count": 2, "s": {"value": 5.0}},
        {"key": (NOW - 120) * 1000 + 1, "doc_count": 0, "s": {"value": 0.0}},
        {"key": (NOW - 60) * 1000 + 1, "doc_count": 1, "s": {"value": None}},
    ]
    with answering(Cluster({"aggregations": {"t": {"buckets": buckets}}})) as source:
        frame = source.range(query, window=timedelta(minutes=2), step=timedelta(minutes=1), end=MOMENT)
    np.testing.assert_array_equal(frame.values[:, 0], [5.0, np.nan, np.nan])


def test_an_answer_of_another_shape_is_an_error() -> None:
    """Aggregations that come back as something else are not read as nothing."""
    query = '{"aggs": {"t": {"date_histogram": {"field": "@timestamp"}}}}'
    for odd in ({"t": {"buckets": [1]}}, {"t": {"buckets": [{"doc_count": 1}]}}, {"t": [1]}):
        with answering(Cluster({"aggregations": odd})) as source, pytest.raises(SourceError):
            source.range(query, window=timedelta(minutes=2), step=timedelta(minutes=1), end=MOMENT)


def test_events_as_others_write_them() -> None:
    """Times as text or milliseconds, a message for a title, one tag without a list, or nothing but a time."""
    documents: list[dict[str, Any]] = [
        {"@timestamp": NOW * 1000, "message": "one\ntwo", "tags": "x"},
        {"@timestamp": "2026-11-23T00:00:00Z", "event": {"action": "deploy"}},
        {"@timestamp": "never", "event": "x"},
        {},
    ]
    hits = [
        {"_index": "i", "_id": str(at), "sort": [NOW * 1000], "_source": one} for at, one in enumerate(documents, 1)
    ]

    def handle(request: BaseHTTPRequestHandler) -> None:
        path = asked(request)["path"]
        if path == "/":
            return reply(request, 200, b'{"version": {"number": "8.1.0"}}')
        if path.endswith("_pit"):
            return reply(request, 200, b'{"id": "p", "succeeded": true}')
        return reply(request, 200, json.dumps({"hits": {"hits": hits}}).encode())

    with answering(handle) as source:
        found = source.events(Window(MOMENT - timedelta(hours=1), MOMENT + timedelta(hours=1)))
    assert Event(start=MOMENT, title="one", text="one\ntwo", tags=["x"], source="prod", id="i/1") == found[0]
    assert [("deploy", "i/2"), ("", "i/3"), ("", "i/4")] == [(one.title, one.id) for one in found[1:]]


def test_without_a_point_in_time_documents_are_still_read() -> None:
    """An old server, or a login that may not open one, gives its pages all the same."""
    searched = []

    def handle(request: BaseHTTPRequestHandler) -> None:
        got = asked(request)
        if got["path"] == "/":
            return reply(request, 200, b'{"version": {"number": "7.9.0"}}')
        if got["path"].endswith("_pit"):
            return reply(request, 400, b'{"error": "no handler found for uri", "status": 400}')
        searched.append(got["path"])
        return reply(request, 200, b'{"hits": {"hits": []}}')

    with answering(handle, events_index="marks") as source:
        assert [] == source.events(Window(MOMENT, MOMENT))
        assert [] == list(source.search.documents("i", [], "@timestamp", Remarks(), ""))
    assert ["/marks/_search", "/i/_search"] == searched


def test_a_marker_that_is_gone_is_fine_and_a_server_that_is_gone_is_not() -> None:
    """404 is what was wanted; a refusal or silence is an error, never a marker taken back."""
    with answering(lambda request: reply(request, 404, b'{"result": "not_found"}')) as source:
        source.retract("i/1")
    with answering(lambda request: reply(request, 403, b'{"error": "no"}')) as source, pytest.raises(SourceError):
        source.retract("i/1")
    with connect("elastic+http://127.0.0.1:1") as source, pytest.raises(SourceUnavailable):
        source.retract("i/1")


def test_the_word_before_the_token_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """An API key is sent as such; a wrong scheme or list of documents is refused before anything is sent."""
    monkeypatch.setenv("KEY", "c2VjcmV0")
    seen = []

    def handle(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.headers["Authorization"])
        reply(request, 200, b'{"version": {"number": "8.1.0"}}')

    with answering(handle, token="env:KEY", scheme="ApiKey") as source:
        assert "8.1.0" == source.version()
    assert ["ApiKey c2VjcmV0"] == seen
    for wrong in ({"scheme": 5}, {"documents": "requests"}, {"documents": [1]}):
        config = Config.of(sources={"e": {"kind": "elastic", "url": "http://127.0.0.1:1", **wrong}})
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            connect("e", config)


def test_health_tells_a_red_cluster_and_a_full_disk() -> None:
    """Missing primaries are critical, indices that refuse writes are high, a clock that differs is medium."""
    blocked = {
        "logs-1": {"settings": {"index.blocks.read_only_allow_delete": "true"}},
        "logs-0": {"settings": {"index.blocks.read_only": True}},
    }

    def handle(request: BaseHTTPRequestHandler) -> None:
        request.date_time_string = lambda timestamp=None: "Sun, 01 Nov 2026 00:00:00 GMT"  # type: ignore[method-assign]
        path = asked(request)["path"]
        if path == "/":
            return reply(request, 200, b'{"version": {"number": "9.2.0"}}')
        if path == "/_cluster/health":
            return reply(
                request, 200, b'{"status": "red", "cluster_name": "c", "number_of_nodes": 3, "unassigned_shards": 4}'
            )
        return reply(request, 200, json.dumps(blocked).encode())

    with answering(handle) as source:
        report = source.health()
    assert {("cluster", "critical"), ("indices", "high"), ("indices", "info"), ("clock", "medium")} == {
        (one.subject, one.severity) for one in report.findings
    }
    assert "Elasticsearch" == report.facts["product"]


def test_a_selector_becomes_a_search() -> None:
    """Documents are counted, a field has its statistics, and the range takes it as it is."""
    with answering(Cluster(), documents=["requests"]) as source:
        counted = json.loads(source.native(Selector.parse('requests{service="a\\"b"}')))
        field = json.loads(source.native(Selector.parse("n")))
    assert {"query": {"bool": {"filter": [{"term": {"service": {"value": 'a"b'}}}]}}} == counted
    assert {"n": {"stats": {"field": "n"}}} == field["aggs"]["steps"]["aggs"]
