"""Zabbix: what is asked for a selector, sessions, versions, pages, and answers that are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sretoolkit.clock import FakeClock
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, QueryError, SourceError, SourceUnavailable
from sretoolkit.metrics import connect
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.source import MetricSource
from sretoolkit.metrics.sources import _zabbix_items
from tests.stack.replay import reply, serve

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
PARAMETER = st.one_of(
    st.text(st.characters(exclude_characters='[]",', exclude_categories=["Cs", "Cc", "Z"]), max_size=8),
    st.text(st.characters(exclude_characters='"\\', exclude_categories=["Cs"]), max_size=8).map(
        lambda text: f'"{text}"'
    ),
)
KEY = st.builds(
    lambda name, inside: f"{name}[{','.join(inside)}]",
    st.from_regex(r"[a-z.]{1,9}", fullmatch=True),
    st.lists(PARAMETER),
)
Call = Callable[[str, Any, dict[str, str]], Any]


@given(KEY, st.dictionaries(st.sampled_from(["service", "code", "x y"[:1]]), TEXT, max_size=3), TEXT)
def test_a_selector_asks_for_exactly_its_values(key: str, labels: dict[str, str], host: str) -> None:
    """Whatever stands in keys, tags and hosts, it is read back from the text and sent as one value of JSON."""
    selector = Selector.parse(str(Selector.of(key, host=host, **labels)))
    assert Selector.of(key, host=host, **labels) == selector
    asked = json.loads(json.dumps(_zabbix_items._question(selector)))
    assert [key] == asked["filter"]["key_"]
    assert asked["filter"].get("host", [""]) == [host]
    exact = {one["tag"]: one["value"] for one in asked["tags"]}
    assert {name: value for name, value in labels.items() if value and "," not in value} == exact
    assert {1} >= {one["operator"] for one in asked["tags"]}


def server(answer: Call) -> AbstractContextManager[str]:
    """A Zabbix 7.0 whose calls ``answer(method, params, headers)`` answers: a result, an error, or (status, body, type)."""

    def handle(request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        fixed = {"apiinfo.version": "7.0.9", "housekeeping.get": {}, "user.logout": True}
        method = body["method"]
        found = fixed[method] if method in fixed else answer(method, body["params"], dict(request.headers))
        if isinstance(found, tuple):
            return reply(request, found[0], found[1], found[2])
        key = "error" if isinstance(found, dict) and "code" in found else "result"
        return reply(request, 200, json.dumps({"jsonrpc": "2.0", key: found, "id": 1}).encode())

    return serve(handle)


def source(url: str, monkeypatch: pytest.MonkeyPatch, **more: Any) -> MetricSource:
    """That server with a session's login."""
    monkeypatch.setenv("ZABBIX_PASSWORD", "secret-word")
    options = {"username": "u", "password": "env:ZABBIX_PASSWORD", **more}
    return connect("z", Config.of(sources={"z": {"kind": "zabbix", "url": url, **options}}), clock=FakeClock(NOW))


ITEM = {
    "itemid": "1", "key_": "n", "name": "n", "value_type": "3", "history": "90d", "trends": "365d", "units": "",
    "tags": [], "hosts": [{"host": "h1"}],
}  # fmt: skip


@pytest.mark.parametrize("broken", ["too many", "500"])
def test_pages_are_halved_and_joined(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that PHP cannot make is asked for in halves; values at a page's border come once."""
    start = int(NOW.timestamp()) - 1999
    sizes = []

    def answer(method: str, params: Any, headers: dict[str, str]) -> Any:
        if method == "user.login":
            return "session"
        if method == "item.get":
            return [ITEM]
        if params.get("countOutput"):
            return "2000"
        sizes.append(params["limit"])
        if broken == "500" and params["limit"] > 700:
            return 500, b"", "text/html"
        rows = [{"itemid": "1", "clock": str(start + n // 2 * 2), "ns": str(n % 2), "value": "1"} for n in range(2000)]
        wanted = [row for row in rows if params["time_from"] <= int(row["clock"]) <= params["time_till"]]
        return wanted[: params["limit"]]

    monkeypatch.setattr(_zabbix_items, "MOST_ROWS", 2048 if broken == "500" else 999)
    with server(answer) as url, source(url, monkeypatch) as one:
        frame = one.range(
            "n", window=timedelta(seconds=1998), step=timedelta(seconds=2), end=NOW - timedelta(seconds=1)
        )
    assert 1000 == len(frame.times) == int(frame.samples[0])
    assert len(sizes) > 2


def test_an_expired_session_is_begun_anew_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server forgot the session: one login, then the same call; when that fails too, it is an error."""
    logins: list[int] = []
    dead = {"code": -32602, "message": "Invalid params.", "data": "Session terminated, re-login, please."}

    def answer(alive: int, method: str, params: Any, headers: dict[str, str]) -> Any:
        if method == "user.login":
            logins.append(1)
            return f"session{len(logins)}"
        return [] if headers["Authorization"] == f"Bearer session{alive}" else dead

    with server(partial(answer, 2)) as url, source(url, monkeypatch) as one:
        assert [] == one.checks()
        assert [] == one.checks()
    assert 2 == len(logins)
    with server(partial(answer, 99)) as url, source(url, monkeypatch) as one:
        with pytest.raises(SourceError, match="re-login") as caught:
            one.checks()
        assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(
    ("answered", "error"),
    [
        ((200, b"<html>login</html>", "text/html"), SourceUnavailable),
        ((200, b'{"jsonrpc": "2.0"', "application/json"), SourceUnavailable),
        ((403, b"", "text/html"), SourceError),
        ((404, b"nothing", "text/plain"), SourceError),
        ((429, b"", "text/plain"), SourceUnavailable),
        ((412, b"", "text/plain"), SourceUnavailable),
        ({"code": -32602, "message": "Invalid params.", "data": 'Invalid parameter "/x".'}, QueryError),
        ({"code": -32500, "message": "Application error.", "data": "No permissions to call it."}, SourceError),
        ({"code": -32603, "message": "Internal error.", "data": ""}, SourceUnavailable),
    ],
)
def test_what_is_no_answer_is_an_error(answered: Any, error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages, halves of answers, refusals and limits are each what they mean, and never an empty list."""
    given: Call = lambda method, params, headers: "s" if method == "user.login" else answered  # noqa: E731
    with server(given) as url, source(url, monkeypatch, timeout="2s") as one, pytest.raises(error) as caught:
        one.checks()
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize("options", [{"marker": "no-slash"}, {"trapper": "no-port"}])
def test_an_option_that_cannot_be_meant_is_refused(options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A marker names host and key, a trapper host and port."""
    with pytest.raises(ConfigError):
        source("http://127.0.0.1:1", monkeypatch, **options)
