"""Sensu Go: logging in and again, pages, what the short history can say, and a backend that misbehaves."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sretoolkit.clock import FakeClock
from sretoolkit.config import Config
from sretoolkit.errors import NoData, NotExpressible, QueryError, SourceError, SourceUnavailable
from sretoolkit.metrics import MetricSource, connect
from sretoolkit.metrics.events import Kept, Window
from sretoolkit.metrics.matcher import Matcher, Selector
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.sources._sensu_read import changes, check_state, history, in_seconds, points
from sretoolkit.metrics.states import CheckState
from sretoolkit.secrets import redaction
from tests.stack.dataset import ERRORS
from tests.stack.replay import reply, serve

NOW = 1795392000
MOMENT = datetime.fromtimestamp(NOW, UTC)
EVENTS = "/api/core/v2/namespaces/default/events"
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["check", "entity", "metadata", "name", "labels", "history", "executed", "status", "metrics", "points", "tags",
         "value", "timestamp", "interval", "publish", "ttl", "output"]), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


def source(url: str, **options: Any) -> MetricSource:
    """A configured source named ``prod`` that gives up soon."""
    config = Config.of(sources={"prod": {"kind": "sensu", "url": url, "timeout": "2s", **options}})
    return connect("prod", config, clock=FakeClock(MOMENT))


@contextmanager
def answering(handle: Callable[[BaseHTTPRequestHandler], Any], **options: Any) -> Iterator[MetricSource]:
    """A source, and the server behind it."""
    with serve(handle) as url, source(url, **options) as opened:
        yield opened


def result(name: str, results: list[tuple[int, int]], **check: Any) -> dict[str, Any]:
    """An event of web1 with that history of (executed, status)."""
    kept = [{"executed": at, "status": status} for at, status in results]
    at, status = results[-1]
    own = {"metadata": {"name": name}, "executed": at, "status": status, "history": kept, "publish": True}
    return {"entity": {"metadata": {"name": "web1"}}, "check": {"interval": 60, **own, **check}, "timestamp": at}


class Backend:
    """Takes one access token at a time, as a backend whose tokens expire; tells what it was asked."""

    def __init__(self, *, refreshes: bool = True) -> None:
        self.asked: list[str] = []
        self.valid = ""
        self.refreshes = refreshes
        self.made = 0

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        length = int(request.headers.get("Content-Length") or 0)
        body = json.loads(request.rfile.read(length) or b"null")
        path, given = request.path.partition("?")[0], request.headers.get("Authorization", "")
        self.asked.append(f"{request.command} {path}")
        if path == "/auth":
            right = "Basic " + base64.b64encode(b"operator:recorded-secret-value").decode()
            return self.issue(request) if given == right else reply(request, 401, b"Unauthorized\n", "text/plain")
        if path == "/auth/token":
            taken = self.refreshes and body == {"refresh_token": f"refresh-{self.made}"} and given.startswith("Bearer ")
            return self.issue(request) if taken else reply(request, 401, b"Unauthorized\n", "text/plain")
        if not self.valid or given != f"Bearer {self.valid}":
            return reply(request, 401, b'{"message":"unauthenticated","code":5}')
        return reply(request, 200, b"[]")

    def issue(self, request: BaseHTTPRequestHandler) -> None:
        """Give new tokens."""
        self.made += 1
        self.valid = f"access-token-{self.made}"
        tokens = {"access_token": self.valid, "refresh_token": f"refresh-{self.made}", "expires_at": NOW + 900}
        reply(request, 200, json.dumps(tokens).encode())


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The options of a login with a password."""
    monkeypatch.setenv("RECORDED_SECRET", "recorded-secret-value")
    return {"username": "operator", "password": "env:RECORDED_SECRET"}


def test_a_password_becomes_a_token_that_is_renewed_once(password: dict[str, str]) -> None:
    """The first question logs in, later ones use the token, an expired one is refreshed without the password."""
    backend = Backend()
    with answering(backend, **password) as opened:
        assert [] == opened.checks()
        assert [] == opened.checks()
        backend.valid = "expired meanwhile"
        assert [] == opened.checks()
    get = f"GET {EVENTS}"
    assert ["GET /auth", get, get, get, "POST /auth/token", get] == backend.asked
    assert "access-token-2" not in redaction("seen access-token-2 in a log")


def test_a_refresh_token_that_is_over_means_a_new_login(password: dict[str, str]) -> None:
    """When the refresh token is not taken either, the password is used again, and the question is asked once more."""
    backend = Backend(refreshes=False)
    with answering(backend, **password) as opened:
        opened.checks()
        backend.valid = "expired meanwhile"
        opened.checks()
    assert ["POST /auth/token", "GET /auth", f"GET {EVENTS}"] == backend.asked[-3:]


def test_a_backend_that_never_takes_the_token_is_not_asked_forever(password: dict[str, str]) -> None:
    """A second refusal right after the renewal is the answer."""
    backend = Backend()
    issue = backend.issue

    def useless(request: BaseHTTPRequestHandler) -> None:
        issue(request)
        backend.valid = ""

    backend.issue = useless  # type: ignore[method-assign]
    with answering(backend, **password) as opened, pytest.raises(SourceError, match="unauthenticated"):
        opened.checks()
    assert 4 == len(backend.asked)


def test_a_wrong_password_is_said_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused login names the source and what to check, never the password."""
    monkeypatch.setenv("RECORDED_SECRET", "another-secret-value")
    options = {"username": "operator", "password": "env:RECORDED_SECRET"}
    with answering(Backend(), **options) as opened, pytest.raises(SourceError) as caught:
        opened.checks()
    assert "prod refused us" in caught.value.message
    assert "another-secret-value" not in str(caught.value)


def test_an_api_key_is_sent_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token in the configuration is an API key."""
    monkeypatch.setenv("RECORDED_SECRET", "00000000-aaaa-4bbb-8ccc-000000000000")
    seen = []

    def handle(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.headers["Authorization"])
        reply(request, 200, b"[]")

    with answering(handle, token="env:RECORDED_SECRET") as opened:
        opened.checks()
    assert ["Key 00000000-aaaa-4bbb-8ccc-000000000000"] == seen


def test_a_token_that_leads_nowhere_ends() -> None:
    """A backend (or a proxy before it) that gives the same page for ever is an error, not an endless loop."""
    endless = answering(lambda request: reply(request, 200, b"[]", Sensu_Continue="same"))
    with endless as opened, pytest.raises(SourceError, match="same page again") as caught:
        opened.checks()
    assert "proxy" in caught.value.hint


def test_what_the_history_no_longer_has_is_said() -> None:
    """Changes before a check's 21 results are lost, and how many checks that concerns is told."""
    full = [(NOW - 60 * (20 - place), place % 2) for place in range(21)]
    body = json.dumps([result("flaps", full), result("calm", [(NOW - 60, 0), (NOW, 2)])]).encode()
    with answering(lambda request: reply(request, 200, body)) as opened:
        hour = opened.events(Window(MOMENT - timedelta(hours=1), MOMENT))
        short = opened.events(Window(MOMENT - timedelta(minutes=5), MOMENT))
    assert isinstance(hour, Kept)
    assert isinstance(short, Kept)
    assert (21, "1 checks had more than 21 results") == (len(hour), hour.lost.partition(" since")[0])
    assert (7, "") == (len(short), short.lost)
    assert sorted(event.start for event in hour) == [event.start for event in hour]


def test_the_beginning_of_a_state_is_told_only_when_it_is_known() -> None:
    """A state that fills the whole history began before it; one in a young check began with its first result."""
    always = result("old", [(NOW - 60 * (20 - place), 2) for place in range(21)])
    young = result("new", [(NOW - 120, 2), (NOW - 60, 2), (NOW, 2)])
    assert None is check_state(always, MOMENT, "prod").since
    assert MOMENT - timedelta(minutes=2) == check_state(young, MOMENT, "prod").since


@pytest.mark.parametrize(
    ("check", "age", "stale"),
    [
        ({"interval": 60}, 170, False),
        ({"interval": 60}, 190, True),
        ({"interval": 60, "ttl": 100}, 110, True),
        ({"interval": 60, "publish": False}, 9999, False),
        ({"interval": 0, "cron": "0 3 * * *"}, 80000, False),
    ],
)
def test_a_check_without_results_is_stale(check: dict[str, Any], age: int, stale: bool) -> None:
    """After its time to live, or three intervals of a scheduled check; a check on a cron schedule is not judged."""
    assert stale is check_state(result("c", [(NOW - age, 0)], **check), MOMENT, "prod").stale


@pytest.mark.parametrize("unit", [1, 1000, 10**6, 10**9])
def test_a_metrics_time_is_read_in_any_unit(unit: int) -> None:
    """Producers write seconds, milliseconds, microseconds or nanoseconds; the magnitude tells which."""
    assert NOW == in_seconds(NOW * unit)


def availability(window: int, **more: Any) -> SLI:
    """Of one check of web1."""
    return SLI.availability("up", entity="web1", check="http", window=timedelta(seconds=window), **more)


def test_availability_comes_from_the_results_that_are_kept() -> None:
    """The part of the window in which the last result was ok, exact to the second; beyond the history it is refused."""
    event = result("http", [(NOW - 300, 0), (NOW - 200, 2), (NOW - 150, 1), (NOW - 100, 0), (NOW - 40, 0)])
    with answering(lambda request: reply(request, 200, json.dumps(event).encode())) as opened:
        compiled = availability(250).compiled(opened)
        assert f"GET {EVENTS}/web1/http" == compiled.native
        assert compiled.estimated
        assert (250 - 100) / 250 == compiled.ask().values[0, 0]
        grid = availability(100).range(opened, window=timedelta(seconds=100), step=timedelta(seconds=50))
        assert [[0.0], [0.5], [1.0]] == grid.values.tolist()
        with pytest.raises(NotExpressible, match="its results go back to"):
            availability(301).measure(opened)
        with pytest.raises(NotExpressible, match="its last result is of"):
            availability(60).measure(opened, end=MOMENT + timedelta(hours=1))


def test_ratios_and_histories_are_refused_with_what_comes_nearest() -> None:
    """The two-counter error ratio and a range cannot be answered from newest events, and nothing is asked for them."""
    with answering(lambda request: pytest.fail("nothing should be asked")) as opened:
        for ask in (
            lambda: ERRORS.measure(opened),
            lambda: opened.range("x", window=timedelta(hours=1)),
            lambda: opened.acknowledge(CheckState(entity="a", check="b", state="ok"), "on it"),
            lambda: availability(60, by=["region"]).measure(opened),
        ):
            with pytest.raises(NotExpressible) as caught:
                ask()
            assert caught.value.nearest


@pytest.mark.parametrize(
    ("status", "body", "kind", "error", "says"),
    [
        (200, b"<html>", "text/html", SourceUnavailable, "which is not Sensu's JSON"),
        (200, b"{}", "application/json", SourceUnavailable, "which is not Sensu's JSON"),
        (200, b'["x"]', "application/json", SourceUnavailable, "which is not Sensu's JSON"),
        (200, b'[{"check":', "application/json", SourceUnavailable, "which is not Sensu's JSON"),
        (404, b"404 page not found\n", "text/plain", SourceError, "which is not Sensu's JSON"),
        (500, b'{"message":"internal error occurred","code":0}', "application/json", SourceUnavailable, "internal error"),
        (400, b'{"message":"bad \\u001b[31m","code":1}', "application/json", QueryError, r"bad \x1b[31m"),
    ],
)  # fmt: skip
def test_answers_that_are_not_sensus_are_told_apart(
    status: int, body: bytes, kind: str, error: type[SourceError], says: str
) -> None:
    """HTML, cut or foreign JSON, and the backend's own errors each have their own words."""
    with answering(lambda request: reply(request, status, body, kind)) as opened, pytest.raises(error) as caught:
        opened.checks()
    assert says in caught.value.message


def test_deleting_at_a_wrong_address_is_not_taken_for_done() -> None:
    """A 404 that is not the backend's own is an error: the silence may still be there."""
    with (
        answering(lambda request: reply(request, 404, b"not here", "text/plain")) as opened,
        pytest.raises(SourceError),
    ):
        opened.unsilence("entity:web1:http")


def test_a_number_that_was_sent_twice_is_its_newest() -> None:
    """Of two points with the same labels the newest counts, whatever their order."""
    both = [{"name": "x", "value": 2, "timestamp": NOW}, {"name": "x", "value": 1, "timestamp": NOW - 10}]
    event = {"entity": {"metadata": {"name": "web1"}}, "timestamp": NOW, "metrics": {"points": both}}
    with answering(lambda request: reply(request, 200, json.dumps([event]).encode())) as opened:
        assert [[2.0]] == opened.instant("x").values.tolist()
        with pytest.raises(NoData):
            opened.instant('x{entity="web2"}')


@given(st.text(), st.text())
def test_a_selector_finds_exactly_its_value(value: str, other: str) -> None:
    """Whatever a tag holds, a selector read back from its text accepts that and nothing else."""
    selector = Selector.parse(str(Selector("m", (Matcher("tag", "=", value),))))
    tags = [{"name": "tag", "value": value}]
    event = {"entity": {"metadata": {"name": "e"}}, "metrics": {"points": [{"name": "m", "value": 1, "tags": tags}]}}
    (point,) = points(event, "m")
    assert selector.accepts(point.labels)
    assert (value == other) is selector.accepts({"tag": other})


@given(st.dictionaries(st.sampled_from(["check", "entity", "metrics", "timestamp"]), anything))
def test_any_event_is_read(event: dict[str, Any]) -> None:
    """Missing and wrong fields never break the reading of an event."""
    state = check_state(event, MOMENT, "prod")
    assert state.state in ("ok", "warning", "critical", "unknown")
    assert len(list(changes(event))) <= len(history(event))
    assert all(isinstance(point.value, float) for point in points(event, "x"))
