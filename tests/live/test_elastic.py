"""Against a real server of the API that Elasticsearch and OpenSearch share (osmem-server)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from sretoolkit.clock import FakeClock
from sretoolkit.config import Config
from sretoolkit.errors import NoData, NotExpressible, QueryError, SourceError, TooCostly
from sretoolkit.metrics import connect
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.matcher import Matcher, Selector
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.sources import _elastic_search as search
from sretoolkit.metrics.sources.elastic import Elastic as Source
from tests.stack.dataset import ERRORS, METRIC, Dataset
from tests.stack.elastic import Elastic

pytestmark = pytest.mark.live

SECOND = timedelta(seconds=1)
HOSTILE = [
    'a"b', "a\\b", "a'b", "a\\", '"', "'", "ü€𝄞", "a,b)c", "a*b", "a{b}[c]", "~x", "a|b", "^a$", "(a", "a;b", "a\nb",
    "", "x AND y", "<1-9>", "@", "#", "a&b", "\x00", 'x" OR "1', "*", ".*",
]  # fmt: skip
TEXT = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}
LOGS = {
    "properties": {
        "@timestamp": {"type": "date"}, "message": {"type": "text"}, "service": TEXT, "status": {"type": "integer"},
        "latency": {"type": "double"}, "host": {"properties": {"name": TEXT, "ip": {"type": "ip"}}},
    }
}  # fmt: skip


def requests(end: int) -> Iterator[dict[str, Any]]:
    """A document a request, as Logstash and Beats write them: 1,200 in the ten minutes up to ``end`` (seconds)."""
    for number in range(1200):
        status = 503 if number % 40 == 0 else 404 if number % 9 == 0 else 200
        yield {
            "@timestamp": end * 1000 - 500 * number,
            "service": "web" if number % 3 else "api",
            "status": status,
            "latency": (number * 37 % 1000) / 1000,
            "message": f"GET /{number} gave {status}",
            "host": {"name": f"h{number % 2 + 1}", "ip": f"192.0.2.{number % 2 + 1}"},
        }


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Requests that ended a minute ago."""
    return Dataset.recent()


@pytest.fixture(scope="module")
def server(dataset: Dataset) -> Iterator[Elastic]:
    """A server with the data set, a document a request, hostile values and many groups."""
    try:
        started = Elastic()
        started.__enter__()
    except RuntimeError as error:
        pytest.skip(str(error))
    with started as server:
        server.load(dataset)
        server.index("logs-1", LOGS)
        server.bulk("logs-1", requests(dataset.end))
        keyword = {"type": "keyword", "ignore_above": 1000}
        server.index("odd-1", {"properties": {"@timestamp": {"type": "date"}, "v": keyword, "n": {"type": "long"}}})
        odd = [{"@timestamp": dataset.end * 1000, "v": value, "n": 1 + at} for at, value in enumerate(HOSTILE)]
        server.bulk("odd-1", [*odd, {"@timestamp": dataset.end * 1000, "n": 1000}])
        server.index("many-1", {"properties": {"@timestamp": {"type": "date"}, "g": keyword, "n": {"type": "long"}}})
        server.bulk("many-1", ({"@timestamp": dataset.end * 1000, "g": f"g{n:05}", "n": n} for n in range(2500)))
        yield server


def opened(server: Elastic, **options: Any) -> Source:
    """Connected, with options of its own."""
    given = {**server.options, **options}
    source = connect("it", Config.of(sources={"it": given}))
    assert isinstance(source, Source)
    return source


@pytest.fixture
def source(server: Elastic) -> Iterator[Source]:
    """Connected to the data set."""
    with opened(server) as source:
        yield source


@pytest.fixture
def logs(server: Elastic) -> Iterator[Source]:
    """Connected to the documents of single requests."""
    with opened(server, index="logs-*", documents=["requests"]) as source:
        yield source


def test_the_error_ratio_is_exact(source: Source, dataset: Dataset) -> None:
    """The SLI over the data set equals the value from whole numbers, at its end and at every step before it."""
    frame = ERRORS.measure(source, end=dataset.moment)
    exact = dataset.exact()
    assert [{"service": "api"}, {"service": "web"}] == frame.labels
    np.testing.assert_allclose(frame.values[0], [exact["api"], exact["web"]], rtol=1e-9)
    assert (True, "ratio", []) == (frame.complete, frame.kind, frame.warnings)


@pytest.mark.parametrize(("window", "step"), [(600, 50), (60, 60), (90, 35), (20, 70), (100, 10)])
def test_windows_that_overlap_or_leave_gaps_are_exact_too(
    source: Source, dataset: Dataset, window: int, step: int
) -> None:
    """Whatever window and step share, each value is that of (t - window, t]."""
    sli = replace(ERRORS, window=timedelta(seconds=window))
    frame = sli.range(source, window=timedelta(seconds=5 * step), step=timedelta(seconds=step), end=dataset.moment)
    moments = [at // 1000 for at in frame.times.tolist()]
    expected = [list(dataset.exact(timedelta(seconds=window), at).values()) for at in moments]
    np.testing.assert_allclose(frame.values, expected, rtol=1e-9)


def test_a_long_range_is_asked_in_pieces(source: Source, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """More buckets than the cluster makes at once come in several answers, and are the same."""
    whole = ERRORS.range(source, window=timedelta(minutes=9), step=timedelta(seconds=30), end=dataset.moment)
    monkeypatch.setattr("sretoolkit.metrics.sources._elastic_sli.MOST_BUCKETS", 25)
    parts = ERRORS.range(source, window=timedelta(minutes=9), step=timedelta(seconds=30), end=dataset.moment)
    np.testing.assert_array_equal(whole.values, parts.values)
    monkeypatch.setattr("sretoolkit.metrics.sources._elastic_sli.MOST_BUCKETS", 10)
    with pytest.raises(TooCostly, match="share only buckets of 1s"):
        ERRORS.range(source, window=timedelta(minutes=9), step=timedelta(seconds=31), end=dataset.moment)


def test_single_requests_are_counted_by_document(logs: Source, dataset: Dataset) -> None:
    """Text with a keyword beside it groups, numbers take patterns of digits, each document is one."""
    sli = SLI.error_ratio(
        "e", bad='requests{status=~"5.."}', total="requests", by=["service"], window=timedelta(minutes=5)
    )
    frame = sli.measure(logs, end=dataset.moment)
    inside = [one for one in requests(dataset.end) if one["@timestamp"] > (dataset.end - 300) * 1000]
    expected = [
        sum(one["status"] == 503 for one in inside if one["service"] == name)
        / sum(one["service"] == name for one in inside)
        for name in ("api", "web")
    ]
    np.testing.assert_allclose(frame.values[0], expected, rtol=1e-12)
    rate = SLI.throughput("t", total='*{status!="200", host.name="h1"}', window=timedelta(minutes=5))
    count = sum(one["status"] != 200 and one["host"]["name"] == "h1" for one in inside)
    assert [[count / 300]] == rate.measure(logs, end=dataset.moment).values.tolist()


def test_quantiles_maxima_and_means(logs: Source, dataset: Dataset) -> None:
    """A quantile is near on the server and exact from the raw values; the greatest value and the mean are exact."""
    window = timedelta(minutes=4)
    inside = [one for one in requests(dataset.end) if one["@timestamp"] > (dataset.end - 240) * 1000]
    split = {name: [one["latency"] for one in inside if one["service"] == name] for name in ("api", "web")}
    sli = SLI.latency_quantile("p99", metric="latency", quantile=0.99, by=["service"], window=window)
    assert "TDigest" in sli.compiled(logs, end=dataset.moment).estimated
    exact = [np.quantile(split[name], 0.99) for name in ("api", "web")]
    np.testing.assert_allclose(sli.measure(logs, end=dataset.moment).values[0], exact, rtol=0.02)
    raw = sli.measure(logs, end=dataset.moment, exact=True)
    np.testing.assert_allclose(raw.values[0], exact, rtol=1e-12)
    assert ("quantile", "s", "") == (raw.kind, raw.unit, sli.compiled(logs, end=dataset.moment, exact=True).estimated)
    ranged = sli.range(logs, window=timedelta(minutes=2), step=timedelta(seconds=30), end=dataset.moment)
    np.testing.assert_allclose(ranged.values[-1], exact, rtol=0.02)
    assert (5, 2) == ranged.values.shape
    most = SLI.saturation("s", metric="latency", by=["service"], window=window).measure(logs, end=dataset.moment)
    assert [max(split["api"]), max(split["web"])] == most.values[0].tolist()
    mean = SLI.availability("a", metric="latency", by=["service"], window=window).measure(logs, end=dataset.moment)
    np.testing.assert_allclose(mean.values[0], [np.mean(split["api"]), np.mean(split["web"])])


@pytest.mark.parametrize("value", HOSTILE)
def test_any_value_finds_its_documents_and_no_other(server: Elastic, dataset: Dataset, value: str) -> None:
    """Quotes, backslashes, line breaks, wildcards, operators and unicode are one value; a missing one is empty."""
    sli = SLI.throughput("t", total=Selector("n", (Matcher("v", "=", value),)), by=["v"], window=SECOND)
    with opened(server, index="odd-*") as source:
        frame = sli.measure(source, end=dataset.moment)
    expected = 1.0 + HOSTILE.index(value) + (1000 if value == "" else 0)
    assert ([{"v": value}], [expected]) == (frame.labels, frame.values[0].tolist())


@pytest.mark.parametrize(
    "pattern",
    ["a.b", "a.*", ".*", ".+", "[a-z]'b", "a|ü.*", "a\\\\", "\\(a", "~x|a,b\\)c", "a?", "", "^a.b$", "^(?:a'b|@)$",
     "\\^a\\$", "[^a].*", "<1-9>|#", '"', "a[&|]b", "[\\w*]+", "a\\sb", "(a(.b)?|x)+.*", ".{1}", "a.{2,}", "\\.\\*", "a\\{b}.*?"],
)  # fmt: skip
@pytest.mark.parametrize("operator", ["=~", "!~"])
def test_regular_expressions_mean_what_they_mean_here(
    server: Elastic, dataset: Dataset, pattern: str, operator: str
) -> None:
    """In Lucene's dialect the same documents come back as by our own reading."""
    matcher = Matcher("v", operator, pattern)  # type: ignore[arg-type]
    expected = sorted(value for value in HOSTILE if matcher.accepts({"v": value}))
    sli = SLI.throughput("t", total=Selector("n", (matcher,)), by=["v"], window=SECOND)
    with opened(server, index="odd-*") as source:
        try:
            found = [labels["v"] for labels in sli.measure(source, end=dataset.moment).labels]
        except NoData:
            found = []
    assert expected == sorted(found)


@pytest.mark.parametrize("pattern", ["(?i)a", "a(?=b)", "(a)\\1", "a\\b", "a|^b", "x{2}+", "[[:alpha:]]"])
def test_what_lucene_does_not_have_is_refused(server: Elastic, dataset: Dataset, pattern: str) -> None:
    """Flags, look-arounds, back-references and the like are named, not approximated."""
    sli = SLI.throughput("t", total=Selector("n", (Matcher("v", "=~", pattern),)))
    with opened(server, index="odd-*") as source, pytest.raises(NotExpressible, match="Lucene") as caught:
        sli.measure(source, end=dataset.moment)
    assert caught.value.nearest


def test_no_group_is_dropped(server: Elastic, dataset: Dataset) -> None:
    """2,500 groups come in several pages; a native query that drops some says so."""
    sli = SLI.throughput("t", total="n", by=["g"], window=SECOND)
    with opened(server, index="many-*") as source:
        frame = sli.measure(source, end=dataset.moment)
        assert (list(range(2500)), True) == (frame.values[0].tolist(), frame.complete)
        query = '{"aggs": {"g": {"terms": {"field": "g", "size": 10}, "aggs": {"n": {"sum": {"field": "n"}}}}}}'
        cut = source.instant(query, at=dataset.moment)
    assert (10, False) == (len(cut), cut.complete)
    assert ["2490 documents are in groups beyond the size of g"] == list(cut.warnings)


def test_a_line_of_lucene_counts_documents(logs: Source, dataset: Dataset) -> None:
    """Each step has its count, 0 only where other documents came, and nothing matching is no data."""
    frame = logs.range(
        "status:503 AND service:web", window=timedelta(minutes=10), step=timedelta(minutes=1), end=dataset.moment
    )
    expected = [
        sum(
            one["status"] == 503 and one["service"] == "web" and at - 60_000 < one["@timestamp"] <= at
            for one in requests(dataset.end)
        )
        for at in frame.times.tolist()
    ]
    assert expected[1:] == frame.values[1:, 0].tolist()
    assert ("delta", 1, [{}]) == (frame.kind, int(np.isnan(frame.values[0, 0])), frame.labels)
    with pytest.raises(NoData, match="none that match"):
        logs.range("statsu:503", window=timedelta(minutes=1), end=dataset.moment)
    assert [[2.0]] == logs.instant("status:503 AND service:web", at=dataset.moment).values.tolist()


def test_json_has_the_steps_of_the_grid_or_its_own(logs: Source, dataset: Dataset) -> None:
    """Aggregations below a date histogram become series with their keys as labels."""
    median = '{"p": {"percentiles": {"field": "latency", "percents": [50]}}}'
    inner = f'{{"date_histogram": {{"field": "@timestamp"%s}}, "aggs": {median}}}'
    terms = '{"service": {"terms": {"field": "service.keyword"}, "aggs": {"t": %s}}}'
    query = f'{{"query": {{"term": {{"status": 200}}}}, "aggs": {terms}}}'
    ours = query % (inner % "")
    frame = logs.range(ours, window=timedelta(minutes=3), step=timedelta(minutes=1), end=dataset.moment)
    assert ["api", "web"] == sorted(labels["service"] for labels in frame.labels)
    assert {("p", "50.0")} == {(labels["__name__"], labels["percentile"]) for labels in frame.labels}
    inside = [
        one["latency"]
        for one in requests(dataset.end)
        if one["@timestamp"] > (dataset.end - 60) * 1000 and one["status"] == 200 and one["service"] == "api"
    ]
    api = [labels["service"] for labels in frame.labels].index("api")
    assert np.median(inside) == pytest.approx(frame.values[-1, api], rel=0.05)
    theirs = logs.range(query % (inner % ', "fixed_interval": "30s"'), window=timedelta(minutes=3), end=dataset.moment)
    assert (timedelta(seconds=30), "left") == (theirs.interval, theirs.closed)
    assert [7, 7] == theirs.samples.tolist()
    counts = '{"aggs": {"t": {"date_histogram": {"field": "@timestamp", "fixed_interval": "30s"}}}}'
    whole = logs.range(counts, window=timedelta(minutes=3), end=dataset.moment)
    assert [[60.0]] * 7 == whole.values.tolist()


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("status:(", "Failed to parse query"),
        ("{", "no JSON"),
        ('{"aggs": {"x": {"nosuch": {}}}}', "date_histogram"),
        ('{"aggs": {"t": {"date_histogram": {"field": "@timestamp"}, "aggs": {"x": {"nosuch": {}}}}}}', "nosuch"),
        ('{"aggs": {"t": {"date_histogram": {"field": "@timestamp", "calendar_interval": "month"}}}}', "calendar"),
        ('{"aggs": {"t": {"date_histogram": {"field": "@timestamp", "fixed_interval": "often"}}}}', "no duration"),
        ('{"aggs": []}', "no objects"),
    ],
)
def test_a_wrong_query_is_answered_in_the_servers_words(logs: Source, dataset: Dataset, query: str, says: str) -> None:
    """What the server refuses is told with its root cause; what cannot be a range is told here."""
    with pytest.raises(QueryError, match=says):
        logs.range(query, window=timedelta(minutes=1), end=dataset.moment)


def test_wrong_names_are_told_with_the_nearest(logs: Source, server: Elastic, dataset: Dataset) -> None:
    """A label that no index has, a metric that is no number, text without a keyword, an index that is not there."""
    with pytest.raises(QueryError, match=r"no index of logs-\* has a field servce") as caught:
        SLI.throughput("t", total='*{servce="web"}').measure(logs, end=dataset.moment)
    assert "did you mean service" in caught.value.hint
    with pytest.raises(QueryError, match="is no number but text"):
        SLI.throughput("t", total="message").measure(logs, end=dataset.moment)
    with pytest.raises(NotExpressible, match="without a keyword"):
        SLI.throughput("t", total='*{message="x"}').measure(logs, end=dataset.moment)
    with opened(server, index="nosuch") as source, pytest.raises(QueryError, match="no such index"):
        source.range("*", window=timedelta(minutes=1), end=dataset.moment)
    with opened(server, index="nosuch-*") as source:
        with pytest.raises(NoData, match="no data"):
            source.range("*", window=timedelta(minutes=1), end=dataset.moment)
        with pytest.raises(NoData, match="no index"):
            SLI.throughput("t", total="*").measure(source, end=dataset.moment)
    with pytest.raises(NoData):
        SLI.throughput("t", total="*").measure(logs, end=dataset.moment - timedelta(days=9))


def test_every_document_comes_in_order_however_many(
    server: Elastic, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages meet at a millisecond that holds more documents than one of them, and each comes once."""
    monkeypatch.setattr(search, "PAGE", 100)
    with opened(server) as source:
        remarks = search.Remarks()
        filters = [source.between(0, dataset.end * 1000)]
        for index, count, kind in (("logs-*", 1200, "@timestamp"), ("many-*", 2500, "@timestamp")):
            hits = list(source.search.documents(index, filters, kind, remarks, ""))
            assert count == len({hit["_id"] for hit in hits}) == len(hits)
            assert sorted(hit["sort"][0] for hit in hits) == [hit["sort"][0] for hit in hits]
        assert remarks.complete
        monkeypatch.setattr(search, "MOST_HITS", 1000)
        with pytest.raises(TooCostly, match="of one millisecond"):
            list(source.search.documents("many-*", filters, "@timestamp", remarks, ""))


def test_a_marker_is_written_read_and_taken_back(source: Source, dataset: Dataset) -> None:
    """A deploy is a document with an end; a window that begins after its start still sees it; it is gone in the end."""
    event = Event(
        start=dataset.moment, end=dataset.moment + timedelta(hours=1), title='deploy "1.2" ü', text="by\nnight",
        tags=["a b", "web"],
    )  # fmt: skip
    identifier = source.annotate(event)
    window = Window(dataset.moment + timedelta(minutes=30), dataset.moment + timedelta(minutes=31))
    assert [replace(event, source="it", id=identifier)] == source.events(window)
    assert [] == source.events(Window(dataset.moment - timedelta(hours=1), dataset.moment - SECOND))
    source.retract(identifier)
    source.retract(identifier)
    assert [] == source.events(window)
    with pytest.raises(QueryError, match="no marker's id"):
        source.retract("1")


def test_events_of_an_index_that_is_not_there(server: Elastic, dataset: Dataset) -> None:
    """The default index may not exist yet; one that was named must."""
    window = Window(dataset.moment - SECOND, dataset.moment)
    with opened(server, events_index="") as source:
        assert [] == source.events(window)
    with opened(server, events_index="typo") as source, pytest.raises(QueryError, match="no such index"):
        source.events(window)


def test_machines_and_their_services_are_found(server: Elastic, dataset: Dataset) -> None:
    """Who wrote in the last day, with address and services."""
    given = {**server.options, "index": "logs-*"}
    clock = FakeClock(dataset.moment + SECOND)
    with connect("it", Config.of(sources={"it": given}), clock=clock) as source:
        found = [(one.name, one.address, one.services) for one in source.discover()]
    assert [("h1", "192.0.2.1", ["api", "web"]), ("h2", "192.0.2.2", ["api", "web"])] == found
    with opened(server, index="many-*") as source:
        assert [] == source.discover()


def test_health_tells_version_product_and_colour(source: Source) -> None:
    """One node with copies that have no place is yellow, and that is not bad."""
    report = source.health()
    assert ("low", "OpenSearch") == (report.worst, report.facts["product"])
    assert "yellow" in report.facts["cluster"]
    assert report.facts["version"][0].isdigit()


def test_too_many_samples_are_not_asked_for(server: Elastic, dataset: Dataset) -> None:
    """The limit of the source holds for buckets and for raw documents."""
    with opened(server, index="logs-*", most_samples=50) as source:
        with pytest.raises(TooCostly):
            SLI.throughput("t", total="*").range(source, window=timedelta(minutes=10), step=SECOND, end=dataset.moment)
        with pytest.raises(TooCostly):
            SLI.latency_quantile("p", metric="latency").measure(source, end=dataset.moment, exact=True)
        with pytest.raises(TooCostly):
            source.range("*", window=timedelta(minutes=10), step=SECOND, end=dataset.moment)


def test_a_broken_answer_is_an_error(server: Elastic) -> None:
    """An address that is not the cluster's root says so."""
    with connect(f"elastic+{server.url}/nosuch") as source, pytest.raises(SourceError):
        source.range("*", window=timedelta(minutes=1), end=datetime(2026, 1, 1, tzinfo=UTC))


def test_the_metric_of_the_data_set_is_a_field(source: Source, dataset: Dataset) -> None:
    """Without documents, a metric's field is summed."""
    frame = SLI.throughput("t", total=METRIC, window=timedelta(minutes=20)).measure(source, end=dataset.moment)
    total = sum(point.delta for _, points in dataset.labelled() for point in points)
    assert total / 1200 == pytest.approx(frame.values[0, 0], rel=1e-12)
