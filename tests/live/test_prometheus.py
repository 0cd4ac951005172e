"""Against a real Prometheus whose history we wrote ourselves, and a real node_exporter."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import NoData, QueryError, SourceError, SourceUnavailable
from sretoolkit.metrics import SeriesFrame, connect, explore, health, query
from sretoolkit.metrics.sources import prometheus
from sretoolkit.metrics.sources._prometheus_body import Body
from sretoolkit.runbook import Order, Runbook, run_runbook
from tests.recordings.record_prometheus import COUNT, EVERY, START, at, history
from tests.stack.process import free_port
from tests.stack.prometheus import Prometheus

pytestmark = pytest.mark.live

END = datetime.fromtimestamp(START + COUNT * EVERY, UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[Prometheus]:
    """A server that has scraped each of its targets at least twice."""
    with Prometheus(openmetrics=history()) as server, connect(server.source) as source:

        def scraped() -> bool:
            report = explore(server.source, "min(count_over_time(up[1m])) >= 2", window=timedelta(seconds=1))
            return report.ok and len(source.instant("up")) == 3

        assert poll(scraped, timeout=30, interval=0.2)
        yield server


def test_a_range_has_exactly_the_values_that_were_written(server: Prometheus) -> None:
    """Every value of a backfilled counter, and every gap in it, comes back at its place."""
    with connect(server.source) as source:
        frame = source.range("shop_orders_total", window=timedelta(hours=1), step=timedelta(seconds=15), end=END)
    expected = [[at(shop, time // 1000) for shop in "ab"] for time in frame.times.tolist()]
    np.testing.assert_array_equal(np.array(expected, dtype=float), frame.values)
    assert 0 < frame.samples[1] < frame.samples[0]
    assert ("cumulative", True) == (frame.kind, frame.complete)


def test_a_range_beyond_the_servers_limit_comes_in_pieces(server: Prometheus) -> None:
    """The server refuses more than 11,000 points; the source asks several times and loses nothing."""
    with connect(server.source) as source:
        step = timedelta(milliseconds=100)
        frame = source.range("shop_orders_total{shop='a'}", window=timedelta(minutes=50), step=step, end=END)
        coarse = source.range("shop_orders_total{shop='a'}", window=timedelta(minutes=50), step=step * 10, end=END)
    assert len(frame.times) == 30_001 > 2 * prometheus.MOST_POINTS
    assert [100] == np.unique(np.diff(frame.times)).tolist()
    np.testing.assert_array_equal(coarse.values, frame.values[::10])


def test_a_window_that_ends_now_sees_the_machine(server: Prometheus) -> None:
    """The last minutes of a real exporter are there, up to now, without asking for an end."""
    report = query(server.source, 'up{job="node"}', window=timedelta(minutes=1))
    assert report.facts["version"].startswith("prometheus ")
    assert report.facts["series"] == 1
    with connect(server.source) as source:
        memory = source.instant("node_memory_MemTotal_bytes")
    assert memory.unit == "B"
    assert memory.values[0, 0] > 2**26


@pytest.mark.parametrize(
    ("expression", "error", "says"),
    [
        ("no_such_metric", NoData, "no data for no_such_metric"),
        ("rate(up[5m]", QueryError, "parse error: unclosed left parenthesis"),
        ("up[5m]", QueryError, "range vector"),
        ("0/0", NoData, "only NaN"),
    ],
)
def test_a_bad_question_is_answered_in_the_servers_words(
    server: Prometheus, expression: str, error: type[Exception], says: str
) -> None:
    """What is wrong or not there raises, with the real server's own explanation."""
    with pytest.raises(error, match=says):
        query(server.source, expression, window=timedelta(minutes=1))


def test_a_slow_query_is_given_up(server: Prometheus) -> None:
    """A query that takes longer than the timeout is unavailable, whoever of the two gives up first."""
    slow = (
        "count({__name__=~'.+'} * on() group_left() count({__name__=~'.+'}))" + " + 0 * count({__name__=~'.+'})" * 200
    )
    config = Config.of(sources={"hasty": {"kind": "prometheus", "url": server.url, "timeout": "20ms"}})
    with connect("hasty", config) as source, pytest.raises(SourceUnavailable):
        source.range(slow, window=timedelta(hours=1), step=timedelta(seconds=1))


def test_health_tells_the_version_and_the_target_that_is_down(server: Prometheus) -> None:
    """The one target at which nobody listens is the one finding of a healthy server."""
    report = health(server.source)
    (found,) = report.findings
    assert ("medium", "targets", "2 of 3 up") == (found.severity, found.subject, report.facts["targets"])
    assert "connection refused" in found.evidence
    assert report.facts["version"][0].isdigit()


def test_a_secured_server_is_asked_with_all_that_it_demands(monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS by an authority of its own, a client certificate and a login: all three are needed, and each lack is named."""
    monkeypatch.setenv("STACK_PROMETHEUS_WRONG", "open-sesame-3")
    with Prometheus(secured=True) as server:
        for name, value in server.secrets.items():
            monkeypatch.setenv(name, value)

        def asked(**other: Any) -> SeriesFrame:
            config = Config.of(sources={"safe": {**server.options, **other}})
            with connect("safe", config) as source:
                return source.instant("vector(7)")

        assert [[7.0]] == asked().values.tolist()
        with pytest.raises(SourceError, match="cannot be trusted"):
            asked(ca=str(server.folder / "stranger.pem"))
        with pytest.raises(SourceError, match=r"certificate required|broke off|cannot be trusted"):
            asked(cert="", key="")
        with pytest.raises(SourceError, match="refused us") as caught:
            asked(password="env:STACK_PROMETHEUS_WRONG")
        assert "password" in caught.value.hint
        assert "sesame" not in str(caught.value)


def test_a_server_that_is_killed_in_the_middle_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the process dies while it answers, there is an error that says so, and never the half of an answer."""
    whole = Body.__call__
    with Prometheus() as server, connect(server.source) as source:

        def many() -> bool:
            try:
                return bool(source.instant("count({__name__!=''})").values[0, 0] > 300)
            except NoData:
                return False

        assert poll(many, timeout=30)

        def killing(body: Body, piece: bytes) -> bool:
            if server.process and len(piece) > 10_000:
                server.process.child.kill()
                server.process.child.wait(timeout=10)
            return whole(body, piece)

        monkeypatch.setattr(Body, "__call__", killing)
        end = datetime.now(UTC) + timedelta(minutes=4)  # what is known now counts for five minutes
        with pytest.raises(SourceUnavailable, match=r"broke off|cannot be reached"):
            source.range("{__name__!=''}", window=timedelta(minutes=4), step=timedelta(milliseconds=60), end=end)


def ordered(path: str, given: dict[str, object]) -> Order:
    """A run of one of our notebooks."""
    book = Runbook.read(Path(__file__).parents[2] / path)
    return Order(book, book.parameters.check(given))


def test_the_runbook_keeps_the_answer_on_record(server: Prometheus, config: Config) -> None:
    """Run as a scheduler runs it, the runbook's record holds facts, picture and table."""
    result = run_runbook(ordered("runbooks/query_metrics.ipynb", {"source": server.source}), config)
    assert result.ok
    assert result.html is not None
    page = result.html.read_text()
    assert 'src="data:image/svg+xml;base64,' in page
    assert "prometheus 2" in page or "prometheus 3" in page


def test_the_runbook_fails_when_nothing_is_there(server: Prometheus, config: Config) -> None:
    """A query that matches nothing ends the run as failed, with the reason."""
    result = run_runbook(ordered("runbooks/query_metrics.ipynb", {"source": server.source, "query": "nope"}), config)
    assert result.state == "failed"
    assert "has no data for nope" in result.error


def test_the_tour_works_on_a_machine_without_anything(config: Config) -> None:
    """Without a Prometheus and without configuration the first notebook runs to its end."""
    source = f"prometheus+http://127.0.0.1:{free_port()}"
    result = run_runbook(ordered("notebooks/00-start.ipynb", {"source": source}), config)
    assert result.ok, result.error
