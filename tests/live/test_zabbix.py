"""Against a real Zabbix 6.0 and 7.0."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import NoData, NotExpressible, QueryError, SourceError, TooCostly
from sretoolkit.metrics import connect
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.source import MetricSource
from tests.stack.dataset import ERRORS, Dataset
from tests.stack.zabbix import Item, Zabbix

pytestmark = pytest.mark.live

HOSTILE = "q\"\\\n'é%_{}[]"
KEYS = ("system.cpu.util[,idle]", 'log["a,b]",{x}]', "plain.key")
NOW = int(time.time())
HOUR = NOW // 3600 * 3600


@pytest.fixture(scope="module", params=["6.0", "7.0"])
def server(request: pytest.FixtureRequest) -> Iterator[Zabbix]:
    """A Zabbix with the data set, awkward names, a trigger with a history, and old trends."""
    try:
        with Zabbix(request.param) as started:
            started.dataset = Dataset.recent()  # type: ignore[attr-defined]
            started.load(started.dataset)  # type: ignore[attr-defined]
            fill(started)
            yield started
    except RuntimeError as error:
        pytest.skip(str(error))


def fill(server: Zabbix) -> None:
    """The host ``odd``."""
    items = [Item(key, value_type=0, tags={"x": HOSTILE}) for key in KEYS]
    items += [Item("alarm"), Item("deploys", value_type=4), Item("old", history="1h"), Item("fraction", value_type=0)]
    ids = server.create("odd", items)
    trigger = {"description": "alarm on {HOST.HOST}", "expression": "last(/odd/alarm)>0", "priority": 4}
    server.call("trigger.create", {**trigger, "tags": [{"tag": "team", "value": "a"}]})
    server.create("late", [Item("late")])
    server.send(
        [("late", "late", 1, NOW - 60)]
    )  # taken only once the server knows all that was made before, triggers too
    server.send([("odd", key, 0.123456789012345 + number, NOW - 60) for number, key in enumerate(KEYS)])
    server.send([("odd", "alarm", value, NOW - 1000 + 100 * at) for at, value in enumerate((0, 1, 1, 0, 0, 1))])
    server.stored(0, len(KEYS))
    rows = [(HOUR - 3600 * back, 10, 1, 4 + back, 9) for back in range(2, 7)]
    values = ", ".join(f"({ids['old']}, {', '.join(map(str, row))})" for row in rows)
    server.sql(f"insert into trends_uint (itemid, clock, num, value_min, value_avg, value_max) values {values};")


def opened(server: Zabbix, monkeypatch: pytest.MonkeyPatch, **more: Any) -> MetricSource:
    """The server with its token, or what is given instead."""
    for name, value in server.secrets.items():
        monkeypatch.setenv(name, value)
    given = more or {**server.options, "marker": "odd/deploys", "trapper": f"127.0.0.1:{server.trapper}"}
    return connect("zabbix", Config.of(sources={"zabbix": given}))


@pytest.fixture
def source(server: Zabbix, monkeypatch: pytest.MonkeyPatch) -> Iterator[MetricSource]:
    """With an API token."""
    with opened(server, monkeypatch) as one:
        yield one


def test_the_error_ratio_is_exact(server: Zabbix, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted from the items' values it is what the whole numbers give, by token and by session."""
    dataset: Dataset = server.dataset  # type: ignore[attr-defined]
    for login in (server.options, server.login):
        with opened(server, monkeypatch, **login) as source:
            frame = ERRORS.measure(source, end=dataset.moment)
        found = {labels["service"]: value for labels, value in zip(frame.labels, frame.values[0], strict=True)}
        assert dataset.exact() == pytest.approx(found, rel=1e-9)
        assert ([], True) == (frame.warnings, frame.complete)


def test_pages_lose_nothing(server: Zabbix, source: MetricSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that end within a second, in which all items have values, still give each value once."""
    dataset: Dataset = server.dataset  # type: ignore[attr-defined]
    for size in (7, 20, 501):
        monkeypatch.setattr("sretoolkit.metrics.sources._zabbix_items.MOST_ROWS", size)
        frame = ERRORS.measure(source, end=dataset.moment)
        assert list(dataset.exact().values()) == pytest.approx(frame.values[0].tolist(), rel=1e-9)


@pytest.mark.parametrize("key", KEYS)
def test_an_awkward_key_is_found_as_it_is(source: MetricSource, key: str) -> None:
    """Brackets, commas, quotes and braces belong to the key; every digit of the value arrives."""
    frame = source.instant(f'{key}{{host="odd"}}', at=datetime.fromtimestamp(NOW, UTC))
    assert [[0.123456789012345 + KEYS.index(key)]] == frame.values.tolist()
    assert key == frame.labels[0]["key"]


def test_a_hostile_tag_finds_its_item_and_nothing_else(source: MetricSource) -> None:
    """A value with quotes, backslashes, line breaks and wildcards is one value."""
    at = datetime.fromtimestamp(NOW, UTC)
    assert [HOSTILE] == [one["x"] for one in source.instant(str(Selector.of("plain.key", x=HOSTILE)), at=at).labels]
    for near in (HOSTILE[:-1], "%", HOSTILE.replace("_", "a")):
        with pytest.raises(NoData):
            source.instant(str(Selector.of("plain.key", x=near)), at=at)


def test_beyond_history_come_trends_of_whole_hours_alone(source: MetricSource) -> None:
    """A sum over whole hours is average times count, said to be so; other edges are refused."""
    whole = SLI.throughput("old", total="old", window=timedelta(hours=3))
    frame = whole.measure(source, end=datetime.fromtimestamp(HOUR - 3600, UTC))
    assert [10 * (6 + 7 + 8) / 10800] == frame.values[0].tolist()
    assert not frame.complete
    assert any("hourly trends" in text for text in frame.warnings)
    assert any("cut to whole numbers" in text for text in frame.warnings)
    assert "average times count" in whole.compiled(source).estimated
    with pytest.raises(NotExpressible, match="trends are of whole hours"):
        whole.measure(source, end=datetime.fromtimestamp(HOUR - 3500, UTC))
    shown = source.range(
        "old", window=timedelta(hours=2), step=timedelta(hours=1), end=datetime.fromtimestamp(HOUR - 3600, UTC)
    )
    assert [[8.0], [7.0], [6.0]] == shown.values.tolist()
    assert not shown.complete


def test_availability_is_the_time_without_problems(source: MetricSource) -> None:
    """Problems that begin before the window, end in it or go on after it count for the seconds within."""

    def of(end: int, width: int) -> list[float]:
        sli = SLI.availability("alarm", entity="odd", check="alarm on odd", window=timedelta(seconds=width))
        row: list[float] = sli.measure(source, end=datetime.fromtimestamp(NOW + end, UTC)).values[0].tolist()
        return row

    assert poll(lambda: any(one.state == "critical" for one in source.checks()), timeout=30, interval=0.3)
    assert [0.5] == of(-600, 200)
    assert [0.0] == of(-750, 100)
    assert [0.75] == of(-450, 200)
    assert [0.0] == of(-300, 100)


def test_what_is_written_is_seen_and_can_be_undone(source: MetricSource) -> None:
    """Acknowledgement, maintenance and marker, each taken back; a void marker is no longer told."""
    assert poll(lambda: any(one.state == "critical" for one in source.checks()), timeout=30, interval=0.3)
    (bad,) = [one for one in source.checks() if one.state == "critical"]
    source.acknowledge(bad, "on it")
    assert [True] == [one.acknowledged for one in source.checks() if one.id == bad.id]
    source.unacknowledge(bad)
    assert [False] == [one.acknowledged for one in source.checks() if one.id == bad.id]
    now = datetime.now(UTC)
    window = Window(now - timedelta(hours=1), now + timedelta(hours=1))
    number = source.silence(bad, window, "planned")
    marker = Event(start=now - timedelta(minutes=9), title='deploy "1.2" é', text="a\nb", tags=["service:web"])
    written = source.annotate(marker)
    (seen,) = [one for one in source.events(window) if one.id == written]
    assert (marker.start, marker.title, marker.text, marker.tags) == (seen.start, seen.title, seen.text, seen.tags)
    assert any("maintenance" in one.tags for one in source.events(window))
    for _ in range(2):
        source.unsilence(number)
        source.retract(written)
    assert ["problem", "problem"] == [one.tags[0] for one in source.events(window)]


def test_a_wrong_question_is_refused(source: MetricSource, server: Zabbix, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts, items that are not there, quantiles of single numbers, too much, and another's maintenance."""
    with pytest.raises(QueryError, match="texts, not numbers"):
        source.instant("deploys")
    with pytest.raises(NoData, match="has no item"):
        source.instant("system.cpu.load")
    with pytest.raises(NotExpressible) as caught:
        SLI.latency_quantile("p99", metric="plain.key").measure(source)
    assert "already is the percentile" in caught.value.nearest
    premade = SLI.latency_quantile("p99", metric="x", on={"zabbix": {"metric": "plain.key"}})
    assert [[2.123456789012345]] == premade.measure(source, end=datetime.fromtimestamp(NOW, UTC)).values.tolist()
    several = SLI.latency_quantile("p99", metric="x", on={"zabbix": {"metric": "requests"}})
    with pytest.raises(NotExpressible, match="percentile of percentiles"):
        several.measure(source)
    with opened(server, monkeypatch, **server.options, most_samples=100) as poor, pytest.raises(TooCostly):
        ERRORS.measure(poor, end=server.dataset.moment)  # type: ignore[attr-defined]


def test_a_session_that_ended_is_begun_anew(server: Zabbix, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the server forgets it, one more login answers the same question; a wrong password is said at once."""
    with opened(server, monkeypatch, **server.login) as source:
        before = source.checks()
        server.sql("delete from sessions;")
        assert [one.id for one in before] == [one.id for one in source.checks()]
    assert "0" == server.sql("select count(*) from sessions where status = 0;").strip()
    with opened(server, monkeypatch, **{**server.login, "username": "nobody"}) as stranger:
        with pytest.raises(SourceError, match="refused us"):
            stranger.checks()
        assert "critical" == stranger.health().worst


def test_health_and_machines(source: MetricSource, server: Zabbix) -> None:
    """A server that works has no finding and says its version; hosts come with their items."""
    report = source.health()
    assert ([], server.version) == (report.findings, report.facts["version"][:3])
    (odd,) = [one for one in source.discover() if one.name == "odd"]
    assert ("192.0.2.1", ["test"]) == (odd.address, odd.groups)
    assert set(KEYS) < set(odd.services)


@contextmanager
def big(*, memory: str) -> Iterator[Zabbix]:
    """A server whose pages have little memory."""
    try:
        server = Zabbix("6.0", memory=memory)
        server.__enter__()
    except RuntimeError as error:
        pytest.skip(str(error))
    try:
        yield server
    finally:
        server.__exit__(None, None, None)


def test_a_page_too_big_for_php_is_asked_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """At PHP's default memory one page of everything breaks the frontend; the source halves until it is answered."""
    with big(memory="64M") as server:
        ids = server.create("big", [Item("n")])
        begin = NOW - 200_000
        server.sql(
            f"insert into history_uint (itemid, clock, value, ns) "
            f"select {ids['n']}, {begin} + n, n % 7, 0 from generate_series(0, 199999) n;"
        )
        monkeypatch.setattr("sretoolkit.metrics.sources._zabbix_items.MOST_ROWS", 400_000)
        with opened(server, monkeypatch, **server.options) as source:
            sli = SLI.throughput("n", total="n", window=timedelta(seconds=200_000))
            frame = sli.measure(source, end=datetime.fromtimestamp(begin + 199_999, UTC))
        assert [sum(n % 7 for n in range(200_000)) / 200_000] == frame.values[0].tolist()
