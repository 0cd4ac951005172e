"""Against a real Graphite: carbon-cache, whisper and graphite-web."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import NoData, NotExpressible, QueryError, TooCostly
from sretoolkit.metrics import connect
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.matcher import Matcher, Selector
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.sources.graphite import Graphite as Source
from tests.stack.dataset import ERRORS, EVERY, METRIC, Dataset
from tests.stack.graphite import Graphite

pytestmark = pytest.mark.live

SECOND = timedelta(seconds=1)
HOSTILE = [
    'a"b',
    "a\\b",
    "a'b",
    "a\\",
    '"',
    "'",
    "ü€𝄞",
    "a,b)c",
    "a*b",
    "a{b}[c]",
    "x~y=z",
    "a|b",
    "^a$",
    "(a",
    "a^",
    "\"\\'",
]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Requests that ended a minute ago."""
    return Dataset.recent()


@pytest.fixture(scope="module")
def server(dataset: Dataset) -> Iterator[Graphite]:
    """A Graphite that has the data set, hostile names, plain paths and one roll-up."""
    try:
        started = Graphite()
        started.__enter__()
    except RuntimeError as error:
        pytest.skip(str(error))
    with started as server:
        server.load(dataset)
        at = dataset.end
        server.write([(f"odd;v={value}", 1.0 + number, at) for number, value in enumerate(HOSTILE)])
        server.write([(f"web.{host}.requests.{code}", 3.0, at) for host in ("h1", "h2") for code in ("200", "503")])
        server.write([("latency.p99", 0.1 + number / 10, at - 60 * number) for number in range(3)])
        server.write([("total", float(10 * number), at - 60 + 10 * number) for number in range(7)])
        server.write([("rare;host=h3;dc=eu", 2.0, at - back) for back in range(7 * 3600, 7 * 3600 + 600, 60)])
        with connect(server.source) as source:
            assert isinstance(source, Source)

            def written() -> bool:
                targets = {'seriesByTag("name=odd")': len(HOSTILE), "web.*.requests.*": 4, "latency.p99": 1, "total": 1}
                targets['seriesByTag("name=rare")'] = 1
                for target, count in targets.items():
                    found = source.renderer.points(target, at - 8 * 3600, at, target)
                    if sum(bool(len(one.samples.times)) for one in found) != count:
                        return False
                return True

            assert poll(written, timeout=30, interval=0.2)
        yield server


@pytest.fixture
def source(server: Graphite) -> Iterator[Source]:
    """Connected."""
    with connect(server.source) as opened:
        assert isinstance(opened, Source)
        yield opened


def test_the_error_ratio_is_exact(source: Source, dataset: Dataset) -> None:
    """The SLI over the data set equals the value from whole numbers, at its end and at every step before it."""
    frame = ERRORS.measure(source, end=dataset.moment)
    exact = dataset.exact()
    assert [{"service": "api"}, {"service": "web"}] == frame.labels
    np.testing.assert_allclose(frame.values[0], [exact["api"], exact["web"]], rtol=1e-9)
    assert (True, "ratio") == (frame.complete, frame.kind)
    moved = ERRORS.range(source, window=timedelta(minutes=5), step=timedelta(seconds=50), end=dataset.moment)
    expected = [list(dataset.exact(end=at // 1000).values()) for at in moved.times.tolist()]
    np.testing.assert_allclose(moved.values, expected, rtol=1e-9)


def test_a_moment_between_two_points_counts_what_lies_before_it(source: Source, dataset: Dataset) -> None:
    """A window that begins and ends beside the archive's steps holds exactly the points inside."""
    at = dataset.end - 57
    frame = replace(ERRORS, window=timedelta(seconds=95)).measure(source, end=datetime.fromtimestamp(at, UTC))
    exact = dataset.exact(timedelta(seconds=95), at)
    np.testing.assert_allclose(frame.values[0], [exact["api"], exact["web"]], rtol=1e-9)
    assert "the window is no whole number of Graphite's steps of 10 s" in frame.warnings


def test_throughput_and_saturation_are_of_the_raw_points(source: Source, dataset: Dataset) -> None:
    """Sums over the window's length, and the greatest point of it."""
    window = timedelta(minutes=10)
    made = SLI.throughput("rate", total=f'{METRIC}{{code!="200"}}', by=["host"], window=window)
    most = SLI.saturation("most", metric=f"{METRIC}{{code=~'200|404'}}", by=["host"], window=window)
    inside = {
        host: [
            [point.delta for point in points if dataset.end - 600 < point.time <= dataset.end]
            for labels, points in dataset.labelled()
            if labels["host"] == host and labels["code"] != "200"
        ]
        for host in ("h1", "h2")
    }
    rates = made.measure(source, end=dataset.moment)
    np.testing.assert_allclose(rates.values[0], [sum(map(sum, inside[host])) / 600 for host in ("h1", "h2")])
    greatest = {
        host: max(
            point.delta
            for labels, points in dataset.labelled()
            for point in points[-600 // EVERY :]
            if labels["host"] == host and labels["code"] in ("200", "404")
        )
        for host in ("h1", "h2")
    }
    assert list(greatest.values()) == most.measure(source, end=dataset.moment).values[0].tolist()


@pytest.mark.parametrize("value", HOSTILE)
def test_any_tag_value_finds_its_series_and_no_other(source: Source, dataset: Dataset, value: str) -> None:
    """Quotes, backslashes, commas, parentheses, wildcards and unicode are one value."""
    sli = SLI.saturation("odd", metric=Selector("odd", (Matcher("v", "=", value),)), by=["v"])
    frame = sli.measure(source, end=dataset.moment)
    assert ([{"v": value}], [1.0 + HOSTILE.index(value)]) == (frame.labels, frame.values[0].tolist())


@pytest.mark.parametrize("value", ["~a", "a;b", "", 'x") or ("', "\n", "\x00", "\ud800", "*", ".*"])
def test_a_value_that_no_tag_can_have_finds_nothing(source: Source, dataset: Dataset, value: str) -> None:
    """What would break out of the expression, or mean something else in it, is no data."""
    sli = SLI.saturation("odd", metric=Selector("odd", (Matcher("v", "=", value),)))
    with pytest.raises(NoData):
        sli.measure(source, end=dataset.moment)


@pytest.mark.parametrize(
    "pattern", ["a.b", "a.*", ".*", "[a-z]'b", "(?i)A.B", "a|ü.*", "a\\\\", "\\(a", "x~y=z|a,b\\)c", "a?"]
)
@pytest.mark.parametrize("operator", ["=~", "!~"])
def test_regular_expressions_mean_what_they_mean_here(
    source: Source, dataset: Dataset, pattern: str, operator: str
) -> None:
    """Whatever the tag database makes of it, the same series come back as by our own reading."""
    matcher = Matcher("v", operator, pattern)  # type: ignore[arg-type]
    expected = sorted(value for value in HOSTILE if matcher.accepts({"v": value}))
    sli = SLI.saturation("odd", metric=Selector("odd", (matcher,)), by=["v"])
    try:
        found = [labels["v"] for labels in sli.measure(source, end=dataset.moment).labels]
    except NoData:
        found = []
    assert expected == sorted(found)


def test_nodes_of_a_path_are_labels(server: Graphite, dataset: Dataset) -> None:
    """Untagged series group and filter by the nodes that the configuration names."""
    given = {**server.options, "path": {METRIC: "web.{host}.requests.{code}"}}
    with connect("it", Config.of(sources={"it": given})) as source:
        sli = SLI.error_ratio(
            "e", bad='requests{code=~"5.."}', total="requests", by=["host"], window=timedelta(minutes=1)
        )
        frame = sli.measure(source, end=dataset.moment)
        assert ([{"host": "h1"}, {"host": "h2"}], [0.5, 0.5]) == (frame.labels, frame.values[0].tolist())
        ranged = source.range("web.*.requests.503", window=timedelta(minutes=1), end=dataset.moment)
        assert {"__name__": "web.h2.requests.503", "host": "h2", "code": "503"} == ranged.labels[1]
        hosts = {one.name: (one.services, one.labels) for one in source.discover()}
    assert ([METRIC], {}) == hosts["h1"]
    assert (["rare"], {"dc": "eu"}) == hosts["h3"]


def test_counters_that_only_grow_are_differenced(source: Source, dataset: Dataset) -> None:
    """With counter = cumulative the increase is that of the counter, not the sum of its values."""
    given = {**source.endpoint.options, "path": "{metric}"}
    config = Config.of(sources={"it": {"kind": "graphite", "url": source.endpoint.url, **given}})
    with connect("it", config) as plain:
        sli = SLI.throughput("t", total="total", counter="cumulative", window=timedelta(seconds=40))
        assert [[1.0]] == sli.measure(plain, end=dataset.moment).values.tolist()


def test_a_quantile_is_taken_only_where_one_series_has_it(server: Graphite, source: Source, dataset: Dataset) -> None:
    """One premade series gives a bound that says so; of several, or exactly, it is refused."""
    with connect("it", Config.of(sources={"it": {**server.options, "path": "{metric}"}})) as plain:
        sli = SLI.latency_quantile("p99", metric="latency.p99", window=timedelta(minutes=5))
        compiled = sli.compiled(plain, end=dataset.moment)
        assert "this or less" in compiled.estimated
        frame = compiled.ask()
        assert (0.3, "quantile", "s") == (round(float(frame.values[0, 0]), 9), frame.kind, frame.unit)
        with pytest.raises(NotExpressible, match="several quantiles"):
            sli.measure(plain, end=dataset.moment, exact=True)
        single = replace(sli, window=timedelta(minutes=1))
        assert 0.1 == single.measure(plain, end=dataset.moment, exact=True).values[0, 0]
    with pytest.raises(NotExpressible, match="cannot be put together"):
        SLI.latency_quantile("p99", metric=METRIC).measure(source, end=dataset.moment)


def test_a_roll_up_is_not_taken_for_points(server: Graphite, source: Source, dataset: Dataset) -> None:
    """Seven hours back only averages of a minute are left: their sum is refused, or right when the source says so."""
    sli = SLI.throughput("t", total="rare", window=timedelta(minutes=5))
    past = dataset.moment - timedelta(hours=7)
    with pytest.raises(NotExpressible, match="roll-ups of 60 s in place of points of 10 s"):
        sli.measure(source, end=past)
    with connect("it", Config.of(sources={"it": {**server.options, "rollup": "average"}})) as told:
        frame = sli.measure(told, end=past)
    assert any("roll-ups" in text for text in frame.warnings)
    assert 5 * 2 * 6 / 300 == frame.values[0, 0]


def test_a_range_has_the_points_at_their_places(source: Source, dataset: Dataset) -> None:
    """Every point of the archive comes back on a grid of its step, under the name that the query gave."""
    query = f'seriesByTag("name={METRIC}","service=web","code=200")|sumSeries()|alias("all")'
    frame = source.range(query, window=timedelta(minutes=10), end=dataset.moment)
    sums = [
        sum(points[number].delta for key, points in dataset.series.items() if key[:2] == ("web", "200"))
        for number in range(-61, 0)
    ]
    assert (10_000, sums) == (int(frame.interval / timedelta(milliseconds=1)), frame.values[:, 0].tolist())
    assert [{"__name__": "all"}] == frame.labels


def test_what_is_newest_counts_for_a_moment(source: Source, dataset: Dataset) -> None:
    """An instant between two points has the one before it."""
    frame = source.instant("web.h1.requests.200", at=dataset.moment + timedelta(seconds=7))
    assert ([[3.0]], [{"__name__": "web.h1.requests.200"}]) == (frame.values.tolist(), frame.labels)
    with pytest.raises(NoData):
        source.instant("web.h1.requests.200", at=dataset.moment - timedelta(seconds=1))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("nosuch(web.h1)", "unknown function: nosuch"),
        ("sumSeries(web.h1.requests.200", "a parenthesis is not closed"),
        ("web.h1.requests.200 )", "more follows"),
        ("sumSeries(web.*.requests.*) garbage", "more follows"),
        ('seriesByTag("v!=a")', "At least one tagspec must not match the empty string"),
        ('seriesByTag("name=~re(")', "unterminated subpattern"),
    ],
)
def test_a_wrong_target_is_answered_in_graphites_words(source: Source, dataset: Dataset, query: str, says: str) -> None:
    """Unknown functions, failures inside Graphite over the question, and what it would silently drop."""
    with pytest.raises(QueryError, match=says):
        source.range(query, window=timedelta(minutes=1), end=dataset.moment)


def test_an_unknown_metric_is_no_data_and_a_huge_one_is_not_asked(server: Graphite, dataset: Dataset) -> None:
    """Graphite answers both with 200."""
    with connect("it", Config.of(sources={"it": {**server.options, "most_samples": 1000}})) as source:
        with pytest.raises(NoData, match=r"no data for no\.such"):
            source.range("no.such", window=timedelta(minutes=1), end=dataset.moment)
        with pytest.raises(TooCostly, match="more than 1,000"):
            source.range(f'seriesByTag("name={METRIC}")', window=timedelta(hours=1), end=dataset.moment)
        with pytest.raises(TooCostly):
            replace(ERRORS, window=timedelta(hours=1)).measure(source, end=dataset.moment)


def test_an_event_is_written_and_read_but_never_taken_back(source: Source, dataset: Dataset) -> None:
    """A marker has its id, tags, text and end; deleting is refused with the place where a person can."""
    moment = dataset.moment
    event = Event(
        start=moment, end=moment + timedelta(minutes=2), title="deploy <b>1.2 ü", text="by\nnight", tags=["deploy", "web api,1"]
    )  # fmt: skip
    identifier = source.annotate(event)
    assert source.annotate(event) != identifier
    found = source.events(Window(moment - SECOND, moment + SECOND))
    first = replace(event, tags=["deploy", "web_api_1"], source=source.name, id=identifier)
    assert [first, identifier] == [found[0], found[0].id]
    assert len(found) == 2
    assert [] == source.events(Window(moment - timedelta(hours=1), moment - timedelta(minutes=1)))
    with pytest.raises(NotExpressible, match="not delete") as caught:
        source.retract(identifier)
    assert f"/admin/events/event/{identifier}/delete/" in caught.value.hint


def test_health_tells_the_version_and_the_newest_point(source: Source) -> None:
    """A Graphite whose carbon reports about itself is well, and says how fresh its points are."""

    def fresh() -> bool:
        return "newest point" in source.health().facts

    assert poll(fresh, timeout=20, interval=0.2)
    report = source.health()
    assert (None, "1.1") == (report.worst, report.facts["version"][:3])
    late = datetime.fromisoformat(report.facts["newest point"])
    assert abs(late.timestamp() - time.time()) < 120
