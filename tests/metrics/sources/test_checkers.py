"""Icinga 2 and Nagios: errors, stale states, and names that must stay values."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sretoolkit.clock import FakeClock
from sretoolkit.config import Config
from sretoolkit.errors import NotExpressible, QueryError, SourceError, SourceUnavailable, TooCostly
from sretoolkit.metrics import connect
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.source import MetricSource
from sretoolkit.metrics.sources.icinga2 import Icinga2
from tests.stack.replay import reply, serve

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
MS = int(NOW.timestamp()) * 1000


def source(kind: str, url: str) -> MetricSource:
    """A source at noon."""
    return connect("s", Config.of(sources={"s": {"kind": kind, "url": url, "timeout": "2s"}}), clock=FakeClock(NOW))


def answering(status: int, body: Any, kind: str = "application/json") -> Any:
    """A server that says the same to everything."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return serve(lambda request: reply(request, status, content, kind))


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_icingas_filter_is_the_same_whatever_the_names(host: str, service: str) -> None:
    """Names go beside the filter, never into its text."""
    asked: list[dict[str, Any]] = []
    one = source("icinga2", "http://127.0.0.1:1")
    assert isinstance(one, Icinga2)
    one._api.objects = lambda kind, attrs, **given: asked.append(given) or []  # type: ignore[method-assign,func-returns-value]
    selector = Selector.parse(str(Selector.of("perfdata", host=host, service=service)))
    with pytest.raises(SourceError, match="no data"):
        one.instant(str(selector))
    assert "host.name == wanted_host && service.name == wanted_service" == asked[-1]["where"]
    assert {"wanted_host": host, "wanted_service": service} == asked[-1]["names"]


@pytest.mark.parametrize("kind", ["icinga2", "nagios"])
@pytest.mark.parametrize(
    ("status", "body", "type_", "error"),
    [
        (200, b"<html>welcome</html>", "text/html", SourceUnavailable),
        (200, b"", "text/html", SourceUnavailable),
        (200, b'{"results": [', "application/json", SourceUnavailable),
        (200, b"[" * 100_000, "application/json", SourceUnavailable),
        (200, [1, 2], "application/json", SourceError),
        (401, b"<h1>Unauthorized</h1>", "text/html", SourceError),
        (403, b"", "text/html", SourceError),
        (404, b"<h1>Not Found</h1>", "text/html", SourceError),
        (500, b"", "text/html", SourceUnavailable),
        (302, b"", "text/html", SourceError),
    ],
)
def test_what_is_no_answer_is_an_error(kind: str, status: int, body: Any, type_: str, error: type[Exception]) -> None:
    """Whatever stands at that address, it is never "nothing is wrong"."""
    with answering(status, body, type_) as url, source(kind, url) as one:
        with pytest.raises(error):
            one.checks()
        assert "critical" == one.health().worst


def test_nagios_two_errors_are_both_told() -> None:
    """The key ``result`` twice: the last one alone would hide the first."""
    text = (
        b'{"format_version": 0, "result": {"type_code": 6, "message": "no host zz"}, '
        b'"result": {"type_code": 6, "message": "no service api"}, "data": {}}'
    )
    said: list[tuple[Any, type[Exception], str]] = [
        (text, QueryError, "no host zz; no service api"),
        ({"result": {"type_code": 2, "message": "cannot open"}}, SourceUnavailable, "cannot open"),
    ]
    for body, error, words in said:
        with answering(200, body) as url, source("nagios", url) as one, pytest.raises(error, match=words):
            one.checks()


def nagios(updated: int, **service: Any) -> dict[str, Any]:
    """An answer with one host and one service."""
    host = {"name": "h1", "status": "up", "state_type": "hard", "has_been_checked": True, "last_check": MS - 1000}
    of = {**host, "host_name": "h1", "description": "api", "status": "ok", **service}
    del of["name"]
    result = {"type_code": 0, "query_time": MS, "last_data_update": updated}
    status = {"version": "4.4.6", "execute_service_checks": False}
    data = {"hostlist": {"h1": host}, "servicelist": {"h1": {"api": of}}, "programstatus": status}
    return {"result": result, "data": data}


def test_nagios_that_stands_still_shows_stale_states() -> None:
    """A core that has not written its state for minutes: what it shows is old, and health says so first."""
    with answering(200, nagios(MS - 600_000)) as url, source("nagios", url) as one:
        assert [True, True] == [state.stale for state in one.checks()]
        report = one.health()
    assert ("critical", "core") == (report.findings[0].severity, report.findings[0].subject)
    assert "it runs no service checks" in str(report)
    late = {"checks_enabled": True, "should_be_scheduled": True, "last_check": MS - 900_000, "next_check": MS - 600_000}
    with answering(200, nagios(MS - 1000, **late)) as url, source("nagios", url) as one:
        assert [False, True] == [state.stale for state in one.checks()]


@pytest.mark.parametrize(
    ("more", "stale"),
    [
        ({"last_check": MS / 1000 - 100, "check_interval": 60}, False),
        ({"last_check": MS / 1000 - 121, "check_interval": 60}, True),
        ({"last_check": MS / 1000 - 10_000, "enable_active_checks": False}, False),
        ({"last_check": MS / 1000 - 100, "enable_active_checks": False, "last_check_result": {"ttl": 60}}, True),
        ({"last_check": -1, "last_check_result": None}, False),
    ],
)
def test_icingas_stale_states(more: dict[str, Any], stale: bool) -> None:
    """Later than its interval and as much again; a passive check by the time to live of its result alone."""
    one = source("icinga2", "http://127.0.0.1:1")
    assert isinstance(one, Icinga2)
    given = {
        "name": "h1",
        "state": 0,
        "state_type": 1,
        "enable_active_checks": True,
        "last_check_result": {"output": "x"},
    }
    assert stale is one._state({**given, **more}).stale


def test_a_stale_number_is_left_out() -> None:
    """The number of a check that is no longer run is not the number now."""
    late = {"checks_enabled": True, "should_be_scheduled": True, "last_check": MS - 900_000, "next_check": MS - 600_000}
    with answering(200, nagios(MS, perf_data="n=5", **late)) as url, source("nagios", url) as one:
        with pytest.raises(SourceError, match="no data") as caught:
            one.instant('n{service="api"}')
        assert "too old: h1/api" in caught.value.hint


@pytest.mark.parametrize("kind", ["icinga2", "nagios"])
def test_the_past_is_not_made_up(kind: str) -> None:
    """Only the last number is there: another moment is refused, and too many readings of the log are."""
    with source(kind, "http://127.0.0.1:1") as one, pytest.raises(NotExpressible):
        one.instant("n", at=NOW - timedelta(hours=1))
    sli = SLI.availability("a", entity="h1", check="api")
    with source("nagios", "http://127.0.0.1:1") as one, pytest.raises(TooCostly):
        sli.compiled(one, window=timedelta(hours=10), step=timedelta(minutes=1), end=NOW)


def test_a_request_without_a_body_is_no_trap(tmp_path: Any) -> None:
    """A server that breaks off in the middle is unavailable."""

    def half(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(b'{"result": ')

    for kind in ("icinga2", "nagios"):
        with serve(half) as url, source(kind, url) as one, pytest.raises(SourceUnavailable):
            one.checks()
