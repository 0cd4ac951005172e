"""Against a real InfluxDB whose points we wrote ourselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from sretoolkit.config import Config
from sretoolkit.errors import NoData, QueryError
from sretoolkit.metrics import SLI, MetricSource, connect
from tests.stack.dataset import ERRORS, METRIC, Dataset
from tests.stack.influxdb import Influxdb

pytestmark = pytest.mark.live

DATA = Dataset.recent()
AT = DATA.moment
HOSTILE = ["plain", 'quo"te', "apo's", "back\\slash", "a/b", "ünï — 数", "a b,c=d", "' OR 1=1 --", "\\", "a\\'b"]


@pytest.fixture(scope="module")
def server() -> Iterator[Influxdb]:
    """A server with the data set and a series for each hostile value."""
    try:
        started = Influxdb().__enter__()
    except RuntimeError as error:
        pytest.skip(str(error))
    try:
        started.load(DATA)
        lines = []
        for number, value in enumerate(HOSTILE):
            escaped = value.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")
            lines.append(f"hostile,number={number},name={escaped}. value={number} {DATA.end}")
        started.write("\n".join(lines))
        yield started
    finally:
        started.__exit__()


@pytest.fixture
def source(server: Influxdb) -> Iterator[MetricSource]:
    """The server as a configured source."""
    with connect("prod", Config.of(sources={"prod": server.options})) as opened:
        yield opened


def test_the_error_ratio_is_the_exact_one(source: MetricSource) -> None:
    """The data set's error ratio over ten minutes, a counter's restart included, is that of whole numbers."""
    frame = ERRORS.measure(source, end=AT)
    found = {labels["service"]: value for labels, value in zip(frame.labels, frame.values[0].tolist(), strict=True)}
    assert pytest.approx(DATA.exact(), rel=1e-9) == found


@pytest.mark.parametrize("number", range(len(HOSTILE)), ids=HOSTILE.__getitem__)
@pytest.mark.parametrize("regex", [False, True], ids=["equal", "regex"])
def test_a_hostile_tag_value_finds_its_own_series(source: MetricSource, number: int, regex: bool) -> None:
    """Quotes, backslashes, slashes and unicode in a value select exactly the one series that has it."""
    value = HOSTILE[number] + "."
    operator, text = ("=~", re.escape(value)) if regex else ("=", value)
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    frame = source.range(
        f'hostile{{name{operator}"{quoted}"}}', window=timedelta(seconds=60), step=timedelta(seconds=60), end=AT
    )
    assert [str(number)] == [labels["number"] for labels in frame.labels]


def test_a_missing_tag_is_an_empty_value(source: MetricSource) -> None:
    """A condition on a tag that no series has holds for the empty text alone."""
    assert 1 == len(source.instant(f'{METRIC}{{code="500", service="web", host="h1", nope=""}}', at=AT))
    with pytest.raises(NoData):
        source.instant(f'{METRIC}{{nope="x"}}', at=AT)


def test_influxql_of_ones_own_is_asked(source: MetricSource) -> None:
    """A query with $timeFilter and $interval is filled in and read with its tags."""
    query = f'SELECT max("value") FROM "{METRIC}" WHERE $timeFilter GROUP BY time($interval), "service"'
    frame = source.range(query, window=timedelta(minutes=10), step=timedelta(minutes=1), end=AT)
    assert [{"service": "api"}, {"service": "web"}] == list(frame.labels)
    assert 11 == len(frame.times)


def test_a_bad_query_is_refused_in_the_servers_words(source: MetricSource) -> None:
    """A parse error names the place."""
    with pytest.raises(QueryError, match="error parsing query"):
        source.range("SELECT FROM WHERE $timeFilter", window=timedelta(minutes=10), end=AT)


def test_health_tells_the_version_and_a_missing_database(server: Influxdb, source: MetricSource) -> None:
    """A healthy server has no finding; a database that is not there is critical."""
    report = source.health()
    assert (None, "1.6.7") == (report.worst, report.facts["version"].partition("~")[0])
    with connect("prod", Config.of(sources={"prod": {**server.options, "database": "nope"}})) as other:
        assert other.health().worst == "critical"
        with pytest.raises(QueryError, match="database not found"):
            other.instant(METRIC, at=AT)


def test_machines_are_discovered(source: MetricSource) -> None:
    """The values of the host tag are the machines."""
    found = {entity.name: entity.services for entity in source.discover()}
    assert {"h1", "h2"} <= found.keys()
    assert METRIC in found["h1"]


def test_a_latency_quantile_is_exact(server: Influxdb, source: MetricSource) -> None:
    """The quantile is of the raw values of all series of a group."""
    server.write("\n".join(f"latency,host=h{number % 2} value={number} {DATA.end - number}" for number in range(101)))
    sli = SLI.latency_quantile("p90", metric="latency", quantile=0.9, window=timedelta(minutes=5))
    assert 90.0 == sli.measure(source, end=datetime.fromtimestamp(DATA.end, UTC)).values[0, 0]
