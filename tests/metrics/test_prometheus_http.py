"""What can go wrong on the wire to a Prometheus, and what is sent."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from unittest.mock import Mock

import pytest

from sretoolkit.clock import FakeClock
from sretoolkit.config import Config
from sretoolkit.errors import QueryError, SecretError, SourceError, SourceUnavailable
from sretoolkit.metrics import MetricSource, SeriesFrame, connect
from tests.stack.replay import asked, reply, serve

NOW = 1795392000
VECTOR = {"resultType": "vector", "result": [{"metric": {"job": "a"}, "value": [NOW, "7"]}]}


def good(data: Any = VECTOR, **more: Any) -> bytes:
    """A successful answer."""
    return json.dumps({"status": "success", "data": data, **more}).encode()


def bad(kind: str, text: str) -> bytes:
    """The server's own refusal."""
    return json.dumps({"status": "error", "errorType": kind, "error": text}).encode()


def source(url: str, **options: Any) -> MetricSource:
    """A configured source named ``prod`` that gives up soon."""
    config = Config.of(sources={"prod": {"kind": "prometheus", "url": url, "timeout": "500ms", **options}})
    return connect("prod", config, clock=FakeClock(datetime.fromtimestamp(NOW, UTC)))


def ask(handle: Callable[[BaseHTTPRequestHandler], None], query: str = "up", **options: Any) -> SeriesFrame:
    """Ask a server that behaves like that for one moment."""
    with serve(handle) as url, source(url, **options) as opened:
        return opened.instant(query)


def fixed(status: int, content: bytes, kind: str = "application/json", **headers: str) -> Any:
    """A server that always says the same."""
    return lambda request: reply(request, status, content, kind, **headers)


@pytest.mark.parametrize(
    ("handle", "error", "says"),
    [
        (fixed(200, b"<html>", "text/html"), SourceUnavailable, "text/html: <html>, which is not Prometheus's JSON"),
        (fixed(200, b"[]"), SourceUnavailable, "which is not Prometheus's JSON"),
        (fixed(200, b'{"status":"success"}'), SourceUnavailable, "which is not Prometheus's JSON"),
        (fixed(200, b"\xff\xfe\x1b[31m"), SourceUnavailable, r"\\x1b\[31m"),
        (fixed(200, b"[" * 100_000), SourceUnavailable, "which is not Prometheus's JSON"),
        (fixed(404, b"not here", "text/plain"), SourceError, "HTTP 404 with text/plain"),
        (fixed(502, b"Bad Gateway", "text/plain"), SourceUnavailable, "failed: HTTP 502"),
        (fixed(429, b"", "text/plain"), SourceUnavailable, "HTTP 429"),
        (fixed(503, bad("timeout", "query timed out")), SourceUnavailable, "failed: query timed out"),
        (fixed(422, bad("execution", "many-to-many")), QueryError, "prod: many-to-many"),
        (fixed(401, b"", "text/plain"), SourceError, "refused us: HTTP 401"),
        (fixed(302, b"", Location="https://login.example"), SourceError, "sends us elsewhere: https://login.example"),
        (fixed(200, good({"resultType": "streams", "result": []})), QueryError, "gives a streams, not numbers"),
        (
            fixed(200, good({"resultType": "vector", "result": [{"metric": {}, "histogram": [NOW, {}]}]})),
            QueryError,
            "native histograms",
        ),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_named(handle: Any, error: type[SourceError], says: str) -> None:
    """Each kind of bad answer is its own error, with the server's words, the query and what to do next."""
    with pytest.raises(error, match=says) as caught:
        ask(handle)
    assert error is type(caught.value)
    assert ("prod", "up") == (caught.value.source, caught.value.query)
    assert caught.value.hint


def test_a_silent_server_is_given_up_in_time() -> None:
    """A server that accepts and says nothing is unavailable after the timeout."""
    over = threading.Event()
    with pytest.raises(SourceUnavailable, match=r"did not answer within 0\.5 s"):
        ask_until(over, lambda _: None)


def test_a_trickling_server_is_given_up_in_time() -> None:
    """A server that sends a byte now and then cannot outlast the timeout."""
    over = threading.Event()

    def begin(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while not over.wait(0.05):
            request.wfile.write(b" ")
            request.wfile.flush()

    with pytest.raises(SourceUnavailable, match=r"did not answer within 0\.5 s"):
        ask_until(over, begin)


def ask_until(over: threading.Event, begin: Callable[[BaseHTTPRequestHandler], None]) -> None:
    """Ask a server that begins an answer and then holds the connection until we have given up."""

    def hold(request: BaseHTTPRequestHandler) -> None:
        begin(request)
        over.wait(30)

    with serve(hold) as url, source(url) as opened:
        try:
            opened.instant("up")
        finally:
            over.set()


def test_an_answer_that_breaks_off_is_unavailable() -> None:
    """Half an answer is not taken for a whole one."""

    def cut(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(good()[:20])

    with pytest.raises(SourceUnavailable, match="broke off"):
        ask(cut)


def test_a_compressed_answer_is_read() -> None:
    """Compression is understood, however small the pieces are in which it arrives."""
    content = gzip.compress(good())
    assert [[7.0]] == ask(fixed(200, content, Content_Encoding="gzip")).values.tolist()


def test_a_long_query_goes_in_the_body() -> None:
    """The query travels as a form and not in the URL, where a proxy would cut it."""
    seen: list[dict[str, Any]] = []

    def handle(request: BaseHTTPRequestHandler) -> None:
        assert "?" not in request.path
        seen.append(asked(request))
        reply(request, 200, good())

    query = " or ".join(["up"] * 5000)
    ask(handle, query)
    expected = {"query": query, "time": f"{NOW}.000", "timeout": "0.5"}
    assert [{"method": "POST", "path": "/api/v1/query", "parameters": expected}] == seen


@pytest.mark.parametrize(
    ("options", "header", "expected"),
    [
        ({"token": "env:PROM_LOGIN"}, "Authorization", "Bearer s3cret-value"),
        ({"username": "me", "password": "env:PROM_LOGIN"}, "Authorization", "Basic bWU6czNjcmV0LXZhbHVl"),
        ({"tenant": "shop"}, "X-Scope-OrgID", "shop"),
        ({}, "Authorization", None),
    ],
)
def test_the_login_is_sent(
    options: dict[str, str], header: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Token, user and password, and tenant reach the server as the headers it expects."""
    monkeypatch.setenv("PROM_LOGIN", "s3cret-value")
    seen: list[str | None] = []

    def handle(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.headers.get(header))
        reply(request, 200, good())

    ask(handle, **options)
    assert [expected] == seen


def test_a_token_that_no_header_can_carry_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line break in a token is an error that names the reference and never the value."""
    monkeypatch.setenv("PROM_LOGIN", "s3cret\nvalue")
    with pytest.raises(SecretError, match="env:PROM_LOGIN") as caught:
        ask(fixed(200, good()), token="env:PROM_LOGIN")
    assert "s3cret" not in str(caught.value)


def test_warnings_and_remarks_are_kept() -> None:
    """A warning marks the answer as incomplete; a remark on the query does not."""
    warned = ask(fixed(200, good(warnings=["store b is down"], infos=["not a counter?"])))
    remarked = ask(fixed(200, good(infos=["not a counter?"])))
    assert (False, ["store b is down", "not a counter?"]) == (warned.complete, warned.warnings)
    assert (True, ["not a counter?"]) == (remarked.complete, remarked.warnings)


def matrix(*moments: float) -> bytes:
    """A range answer with one series that has a sample at each moment."""
    points = [[moment, str(number)] for number, moment in enumerate(moments)]
    return good({"resultType": "matrix", "result": [{"metric": {}, "values": points}]})


def ranged(content: bytes, **options: Any) -> SeriesFrame:
    """The frame of a range of 60 s in steps of 20 s that was answered so."""
    with serve(fixed(200, content)) as url, source(url, **options) as opened:
        return opened.range("x", window=timedelta(seconds=60), step=timedelta(seconds=20))


def test_a_server_that_moves_the_grid_is_followed() -> None:
    """Times moved to whole steps, as VictoriaMetrics does, are kept as they are, inside the window, with a remark."""
    frame = ranged(matrix(NOW - 75, NOW - 55, NOW - 35, NOW - 15, NOW + 5))
    assert [NOW - 55, NOW - 35, NOW - 15] == [time / 1000 for time in frame.times.tolist()]
    assert [[1.0], [2.0], [3.0]] == frame.values.tolist()
    assert ["the server moved every moment by 5 s, to whole steps"] == frame.warnings


def test_uneven_times_are_refused() -> None:
    """Samples that fit no grid are an error and not silently shifted."""
    with pytest.raises(SourceError, match="uneven times"):
        ranged(matrix(NOW - 60, NOW - 39))


@pytest.mark.parametrize(
    ("labels", "unit", "kind"),
    [
        ({"__name__": "node_cpu_seconds_total"}, "s", "cumulative"),
        ({"__name__": "process_resident_memory_bytes"}, "B", "gauge"),
        ({"__name__": "http_requests_total"}, "", "cumulative"),
        ({"job": "a"}, "", "gauge"),
    ],
)
def test_unit_and_kind_come_from_the_name(labels: dict[str, str], unit: str, kind: str) -> None:
    """The naming rules tell unit and kind; a result without a name has neither."""
    frame = ask(fixed(200, good({"resultType": "vector", "result": [{"metric": labels, "value": [NOW, "1"]}]})))
    assert (unit, kind) == (frame.unit, frame.kind)


def healthy(pages: dict[str, Any], clock: str = str(NOW)) -> Any:
    """A server with these pages; everything else is 404."""

    def handle(request: BaseHTTPRequestHandler) -> None:
        path = asked(request)["path"].removeprefix("/api/v1/")
        if path == "query":
            return reply(request, 200, good({"resultType": "scalar", "result": [NOW, clock]}))
        return reply(request, 200, good(pages[path])) if path in pages else reply(request, 404, b"", "text/plain")

    return handle


@pytest.mark.parametrize(
    ("pages", "clock", "expected"),
    [
        ({"status/runtimeinfo": {"reloadConfigSuccess": False}}, NOW, ("high", "last reload failed")),
        ({"status/runtimeinfo": {"corruptionCount": 2}}, NOW, ("high", "2 damaged places")),
        ({}, NOW - 90, ("medium", "its clock is 90 s behind ours")),
        ({}, NOW + 90, ("medium", "its clock is 90 s ahead of ours")),
        ({}, NOW, ("info", "does not tell what it scrapes")),
    ],
)
def test_health_finds_what_is_wrong(pages: dict[str, Any], clock: int, expected: tuple[str, str]) -> None:
    """A failed reload, damaged data, a wrong clock and a look-alike without status pages are findings, worst first."""
    with serve(healthy(pages, str(clock))) as url, source(url) as opened:
        report = opened.health()
    assert expected[0] == report.worst
    assert any(expected[1] in finding.summary for finding in report.findings if finding.severity == expected[0])
    assert "unknown" == report.facts["version"]


def test_health_names_the_targets_that_are_down() -> None:
    """Five targets that fail are named with their error, the others are counted."""
    down = [{"health": "down", "scrapeUrl": f"http://t{n}", "lastError": "no\nroute"} for n in range(7)]
    pages = {"targets": {"activeTargets": [*down, {"health": "up"}]}, "status/runtimeinfo": {}}
    with serve(healthy(pages)) as url, source(url) as opened:
        (finding,) = opened.health().findings
    assert "7 of 8 cannot be scraped" in finding.summary
    assert [r"http://t0: no\nroute", "and 2 more"] == [finding.evidence.splitlines()[place] for place in (0, -1)]


def test_health_warns_of_a_login_in_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token for a server on the network over plain http is a finding even before the server answers."""
    monkeypatch.setenv("PROM_LOGIN", "s3cret-value")
    monkeypatch.setattr(socket, "getaddrinfo", Mock(side_effect=socket.gaierror(-2, "Name or service not known")))
    with source("http://prom.example:9", token="env:PROM_LOGIN") as opened:
        findings = opened.health().findings
    assert ["critical", "medium"] == [finding.severity for finding in findings]
    assert "unencrypted" in findings[1].summary
