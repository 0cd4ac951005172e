"""The HTTP client against servers that answer well, badly, twice, or not at all."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from sretoolkit.clock import Clock, poll
from sretoolkit.errors import ConfigError, HTTPError, SREToolkitError, Unanswered
from sretoolkit.http import Answer, Client, Remote
from sretoolkit.secrets import Secret
from tests.http.scripted import Request, Scripted, Wire, always, answer, in_turn
from tests.stack.process import free_port

BUSY = answer(b"busy", "503 Service Unavailable", "text/plain")
SECRET = "tok-s3cr3t-9f8e7d"


class Noted(Clock):
    """A clock that notes how long it was told to sleep, and does not."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Note it."""
        self.slept.append(seconds)


def client(url: str, *, clock: Clock | None = None, seconds: float = 5, **options: Any) -> Client:
    """A client that gives up soon."""
    return Client(Remote(url=url, timeout=timedelta(seconds=seconds), **options), clock=clock or Noted())


def test_an_answer_is_given_whole() -> None:
    """Status, headers in any case, body, and JSON come back as the server sent them."""
    with Scripted(always(answer(b'{"a": [1, null]}', X_More="yes"))) as server:
        got = client(server.url).send("GET", "/api", params=[("q", 'a&b="c"'), ("q", "d")])
    assert (200, True, "yes", {"a": [1, None]}) == (got.status, got.ok, got.headers["x-more"], got.json())
    assert "/api?q=a%26b%3D%22c%22&q=d" == server.requests[0].target


@pytest.mark.parametrize("status", [401, 403, 404, 407, 413, 500])
def test_a_refusal_is_not_repeated(status: int) -> None:
    """A status that trying again does not change comes back at once, after one request."""
    with Scripted(always(answer(b"no", f"{status} No", "text/plain"))) as server:
        assert status == client(server.url).send("GET", "/").status
    assert 1 == len(server.requests)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_asked_again(status: int) -> None:
    """What may be repeated is, with pauses that grow; the third answer counts, whatever it is."""
    clock = Noted()
    with Scripted(in_turn(answer(b"", f"{status} Busy"), answer(b"", f"{status} Busy"), answer(b"ok"))) as server:
        assert b"ok" == client(server.url, clock=clock).send("GET", "/").content
    assert 3 == len(server.requests)
    assert 2 == len(clock.slept)
    assert 0.05 <= clock.slept[0] <= 0.1 <= clock.slept[1] <= 0.2


@pytest.mark.parametrize("script", [always(BUSY), lambda wire, request: wire.sock.close()])
def test_what_writes_is_never_sent_twice(script: Any) -> None:
    """A POST that was not said to be repeatable reaches the server once, whether it answers badly or breaks off."""
    with Scripted(script) as server:
        with suppress(Unanswered):
            client(server.url).send("POST", "/silences", json={"comment": "x"})
        assert 1 == len(server.requests)


def test_what_writes_is_not_sent_twice_over_a_kept_connection() -> None:
    """A server that takes the second request of a connection and dies has perhaps done it: it is not asked again."""

    def script(wire: Wire, request: Request) -> None:
        if request.method == "GET":
            wire.say(answer())
        else:
            wire.sock.close()

    with Scripted(script) as server:
        asking = client(server.url)
        asking.send("GET", "/")
        with pytest.raises(Unanswered, match="broke off"):
            asking.send("POST", "/silences", json={})
    assert ["GET", "POST"] == [request.method for request in server.requests]


def test_a_repeatable_post_is_asked_again() -> None:
    """A POST that only reads is sent again, with its whole body."""
    with Scripted(in_turn(BUSY, answer(b"ok"))) as server:
        got = client(server.url).send("POST", "/query", form={"query": "up"}, repeatable=True)
    assert b"ok" == got.content
    assert [b"query=up"] * 2 == [request.body for request in server.requests]


def test_retry_after_is_honoured_within_the_deadline() -> None:
    """The pause is as long as the server asks; one that would end after the deadline is not begun."""
    clock = Noted()
    with Scripted(in_turn(answer(b"", "429 Slow", Retry_After="3"), answer(b"ok"))) as server:
        assert b"ok" == client(server.url, clock=clock).send("GET", "/").content
    assert [3.0] == clock.slept
    for asked in ("9", "9" * 400):
        with Scripted(always(answer(b"", "429 Slow", Retry_After=asked))) as server:
            assert 429 == client(server.url, clock=clock).send("GET", "/").status
        assert 1 == len(server.requests)
    assert [3.0] == clock.slept


def test_retry_after_may_be_a_date() -> None:
    """A date is read by the server's own clock, however wrong that is."""
    clock = Noted()
    now = datetime(2031, 1, 1, tzinfo=UTC)
    dates = {"Date": format_datetime(now, True), "Retry_After": format_datetime(now + timedelta(seconds=3), True)}
    for script in (answer(b"", "503 Later", **dates), answer(b"", "503 Later", Retry_After="soon, I hope")):
        with Scripted(in_turn(script, answer(b"ok"))) as server:
            assert b"ok" == client(server.url, clock=clock).send("GET", "/").content
    assert 3.0 == clock.slept[0]
    assert clock.slept[1] <= 0.1


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"HTTP/1.1 20",
        b"HTTP/1.1 200 OK\r\nX-A: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["nothing", "status", "headers", "body", "chunks", "until-closed"],
)
def test_a_trickle_ends_by_the_deadline(begin: bytes) -> None:
    """A byte now and then keeps nobody: wherever it trickles, the exchange is over when its time is."""

    def script(wire: Wire, request: Request) -> None:
        wire.say(begin)
        wire.trickle(b"1\r\na\r\n" if b"chunked" in begin else b"0")

    with Scripted(script) as server:
        began = time.monotonic()
        with pytest.raises(Unanswered, match=r"did not answer within 0\.4 s") as caught:
            client(server.url, seconds=0.4).send("GET", "/")
        assert time.monotonic() - began < 1.5
        assert caught.value.timed_out
        assert poll(server.ended.is_set, timeout=5), "the connection is closed"
    assert 1 == len(server.requests)


def test_endless_interim_answers_end_by_the_deadline() -> None:
    """A server that says 100 Continue for ever is given up in time."""
    with Scripted(lambda wire, request: wire.trickle(b"HTTP/1.1 100 Continue\r\n\r\n", 0.01)) as server:
        with pytest.raises(Unanswered, match="did not answer"):
            client(server.url, seconds=0.4).send("GET", "/")


def test_a_server_that_reads_nothing_ends_by_the_deadline() -> None:
    """A body that nobody takes does not hold us up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        began = time.monotonic()
        with pytest.raises(Unanswered) as caught:
            asking = client(f"http://127.0.0.1:{listener.getsockname()[1]}", seconds=0.4)
            asking.send("POST", "/", content=b"x" * (64 << 20))
        assert caught.value.timed_out
    assert time.monotonic() - began < 2


def test_addresses_that_do_not_answer_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with several dead addresses takes no longer than one with a single dead address."""
    with socket.socket() as full, socket.socket() as taken:
        full.bind(("0.0.0.0", 0))
        full.listen(0)
        port = full.getsockname()[1]
        taken.connect(("127.0.0.1", port))  # the queue is full now; more are not answered
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", port)) for last in (1, 2, 3, 4, 5)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        began = time.monotonic()
        with pytest.raises(Unanswered):
            client("http://many.example", seconds=0.5).send("GET", "/")
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (answer(b"{}", Content_Length="100"), "broke off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "broke off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab", "broke off"),
        (b"", "broke off"),
        (b"HTTP/1.1 200", "broke off"),
        (b"SSH-2.0-OpenSSH_9\r\n", "broke off"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", "broke off"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n", "broke off"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n", "broke off"),
        (answer(gzip.compress(b"{}" * 999)[:20], Content_Encoding="gzip"), r"broken \(compressed\)|broke off"),
        (answer(b"no gzip", Content_Encoding="gzip"), r"broken \(compressed\)|broke off"),
        (answer(b"x", Content_Encoding=", ".join(["gzip"] * 20)), r"broken \(compressed\)|broke off"),
    ],
)
def test_a_broken_answer_is_unanswered(content: bytes, says: str) -> None:
    """What is cut off, no HTTP, or wrongly packed is an error that trying again may mend, never half an answer."""

    def script(wire: Wire, request: Request) -> None:
        wire.say(content)
        wire.sock.close()

    with Scripted(script) as server, pytest.raises(Unanswered, match=says):
        client(server.url).send("GET", "/")
    assert 1 <= len(server.requests) <= 3


def test_nobody_there_is_said_at_once() -> None:
    """A refused connection is an error within a moment, with what to look at."""
    began = time.monotonic()
    with pytest.raises(Unanswered, match="cannot be reached: Connection refused") as caught:
        client(f"http://127.0.0.1:{free_port()}").send("GET", "/")
    assert time.monotonic() - began < 1
    assert "is the address right" in caught.value.hint


def test_a_name_that_nobody_knows_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed look-up of the name is told from a refused connection."""

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Unanswered, match=r"nowhere\.example.* cannot be reached: Name or service not known"):
        client("http://nowhere.example").send("GET", "/")


def test_a_redirect_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token stays with the host it was given for: a redirect is an answer, not an order."""
    monkeypatch.setenv("THE_TOKEN", SECRET)
    with Scripted(always(answer())) as other:
        with Scripted(always(answer(b"", "302 Found", Location=f"{other.url}/"))) as server:
            got = client(server.url, token=Secret("env:THE_TOKEN")).send("GET", "/")
        assert (302, f"{other.url}/") == (got.status, got.headers["Location"])
    assert 0 == other.accepted


@pytest.mark.parametrize("suffix", ["", "/prom"])
@pytest.mark.parametrize(
    "path", ["@127.0.0.2:1/x", ".evil.example/x", "http://evil.example/x", "0/x", "//../@x", "\\evil.example"]
)
def test_no_path_leads_to_another_host(monkeypatch: pytest.MonkeyPatch, path: str, suffix: str) -> None:
    """Whatever a server names as its next page, the request goes to the service's own host or nowhere."""
    monkeypatch.setenv("THE_TOKEN", SECRET)
    with Scripted(always(answer())) as server:
        asking = client(f"{server.url}{suffix}", token=Secret("env:THE_TOKEN"), attempts=1)
        if path.startswith("/"):
            assert asking.send("GET", path).ok
        else:
            with pytest.raises(ConfigError, match="leads elsewhere"):
                asking.send("GET", path)


def test_a_whole_address_on_the_same_host_is_taken() -> None:
    """A next page that the server names in full is asked for as it is."""
    with Scripted(always(answer())) as server:
        client(f"{server.url}/prom").send("GET", f"{server.url}/other?page=2", params={"a": "b"})
    assert "/other?page=2&a=b" == server.requests[0].target


@pytest.mark.parametrize("bad", ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\0", "€"])
def test_no_header_can_be_smuggled_in(monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    """A token or tenant with a line break sends nothing at all, and the value is not shown."""
    monkeypatch.setenv("THE_TOKEN", f"{SECRET}{bad}".replace("\0", "\x7f"))
    with Scripted(always(answer())) as server:
        with pytest.raises(SREToolkitError) as caught:
            client(server.url, token=Secret("env:THE_TOKEN")).send("GET", "/")
        assert SECRET not in str(caught.value)
        with pytest.raises(ConfigError, match="cannot be asked"):
            client(server.url, headers={"X-Scope-OrgID": bad}).send("GET", "/")
    assert [] == server.requests


def test_values_in_parameters_and_paths_stay_values() -> None:
    """Line breaks and blanks in a query or path are escaped, not sent."""
    with Scripted(always(answer())) as server:
        client(server.url).send("GET", "/a b\r\nX-Evil: 1", params={"q": "x\r\nX-Evil: 1"})
    (request,) = server.requests
    assert "x-evil" not in request.headers
    assert request.target.startswith("/a%20b%0D%0AX-Evil:%201?q=x%0D%0AX-Evil%3A+1")


def test_a_tenant_is_named() -> None:
    """The tenant header goes with every request."""
    with Scripted(always(answer())) as server:
        client(server.url, headers={"X-Scope-OrgID": "team-a"}).send("GET", "/")
    assert "team-a" == server.requests[0].headers["x-scope-orgid"]


def test_one_connection_is_kept() -> None:
    """A hundred questions one after the other go over one connection."""
    with Scripted(always(answer())) as server:
        asking = client(server.url)
        for _ in range(100):
            asking.send("GET", "/")
        asking.close()
    assert (1, 100) == (server.accepted, len(server.requests))


def test_a_connection_that_was_closed_meanwhile_is_made_anew() -> None:
    """A server that hangs up between two questions is no error."""

    def script(wire: Wire, request: Request) -> None:
        wire.say(answer())
        wire.sock.close()

    with Scripted(script) as server:
        asking = client(server.url)
        for _ in range(3):
            server.ended.clear()
            assert asking.send("GET", "/").ok
            assert poll(server.ended.is_set, timeout=5)
    assert 3 == server.accepted


def test_sixteen_threads_share_a_client() -> None:
    """Each thread gets its own answer, over no more connections than threads."""

    def echo(wire: Wire, request: Request) -> None:
        wire.say(answer(json.dumps(request.target).encode()))

    with Scripted(echo) as server:
        asking = client(server.url)
        with ThreadPoolExecutor(16) as threads:
            got = list(threads.map(lambda number: asking.send("GET", f"/{number}").json(), range(400)))
        asking.close()
    assert [f"/{number}" for number in range(400)] == got
    assert server.accepted <= 16


def test_deadlines_of_threads_do_not_meet() -> None:
    """A slow exchange of one thread has its own deadline beside a fast one of another."""

    def script(wire: Wire, request: Request) -> None:
        if request.target == "/slow":
            wire.trickle(b" ")
        else:
            wire.say(answer(b"ok"))

    with Scripted(script) as server:
        asking = client(server.url)

        def late() -> None:
            with pytest.raises(Unanswered):
                asking.send("GET", "/slow", timeout=0.5)

        slow = threading.Thread(target=late)
        slow.start()
        good = [asking.send("GET", "/", timeout=5).content for _ in range(50)]
        slow.join()
    assert [b"ok"] * 50 == good


def test_debug_logs_hold_no_secret(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever logs everything, ours and the library's, finds the address and never a token, in a header or in a URL."""
    monkeypatch.setenv("THE_TOKEN", SECRET)
    caplog.set_level(logging.DEBUG)
    with Scripted(always(answer())) as server:
        asking = client(server.url, token=Secret("env:THE_TOKEN"))
        asking.send("GET", "/v1", params={"api_key": SECRET, "password": "hunter2hunter2"})
        with pytest.raises(Unanswered):
            client(f"http://127.0.0.1:{free_port()}").send("GET", "/", params={"api_key": SECRET})
    assert "/v1" in caplog.text
    assert SECRET not in caplog.text
    assert "hunter2hunter2" not in caplog.text


def test_an_answer_says_how_it_begins() -> None:
    """A foreign body is shown in one harmless line."""
    got = Answer(200, {}, b"<html>\x1b[2J\n" + b"x" * 500)
    assert "HTTP 200 with no content type: <html>\\x1b[2J\\n" + "x" * 69 == got.said


@pytest.mark.parametrize("text", ["<html>", "", "[" * 100_000, '{"a":', "\ud800"])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    """Whatever the body is, there is one error to catch."""
    with pytest.raises(ValueError, match=r"."):
        Answer(200, {}, text.encode(errors="surrogatepass")).json()


def test_the_body_can_be_taken_in_pieces() -> None:
    """A consumer gets the body of a good answer as it comes, anew at each attempt, and a bad one as content."""
    heads: list[int] = []
    pieces: list[bytes] = []

    def into(head: Answer) -> Any:
        heads.append(head.status)
        return pieces.append

    with Scripted(in_turn(BUSY, answer(b"x" * 1_000_000), answer(b"why", "400 Bad"))) as server:
        asking = client(server.url)
        good, bad = asking.send("GET", "/", into=into), asking.send("GET", "/", into=into)
    assert (b"", b"x" * 1_000_000, [200]) == (good.content, b"".join(pieces), heads)
    assert b"why" == bad.content


def test_a_stream_gives_lines_until_its_time_is_up() -> None:
    """Lines come as they are sent; when time is up the iteration ends in an error and the connection is closed."""

    def script(wire: Wire, request: Request) -> None:
        wire.say(b"HTTP/1.1 200 OK\r\n\r\n")
        wire.trickle(b'{"a": 1}\n{"b', 0.02)

    got: list[bytes] = []
    with Scripted(script) as server:
        began = time.monotonic()
        with pytest.raises(Unanswered) as caught:
            with client(server.url).stream("POST", "/events", json={}, timeout=0.4) as (head, lines):
                assert head.ok
                got += list(_each(lines, got))
        assert caught.value.timed_out
        assert time.monotonic() - began < 1.5
        assert poll(server.ended.is_set, timeout=5), "the connection is closed"
    assert b'{"a": 1}' == got[0]
    assert len(got) >= 3


def _each(lines: Any, got: list[bytes]) -> list[bytes]:
    for line in lines:
        got.append(line)  # noqa: PERF402  what came before the error is wanted
    return []


def test_leaving_a_stream_closes_it() -> None:
    """Who has seen enough just goes; the server sees the connection end."""

    def script(wire: Wire, request: Request) -> None:
        wire.say(b"HTTP/1.1 200 OK\r\n\r\n")
        wire.trickle(b"line\n", 0.01)

    with Scripted(script) as server:
        with client(server.url).stream("GET", "/", timeout=20) as (_, lines):
            assert b"line" == next(lines)
        assert poll(server.ended.is_set, timeout=5)


def test_a_refused_stream_has_the_servers_words() -> None:
    """When there is nothing to stream, the answer holds the server's error."""
    with Scripted(always(answer(b'{"error": "no permission"}', "404 Not Found"))) as server:
        with client(server.url).stream("POST", "/events", json={}, timeout=5) as (head, _):
            assert (404, {"error": "no permission"}) == (head.status, head.json())


def test_an_endless_line_is_an_error() -> None:
    """A stream without line ends does not fill the memory."""

    def script(wire: Wire, request: Request) -> None:
        wire.say(b"HTTP/1.1 200 OK\r\n\r\n")
        while not wire.over.is_set():
            wire.say(b"x" * 65536)

    with Scripted(script) as server, pytest.raises(HTTPError, match="line without end"):
        with client(server.url, most_bytes=1 << 20).stream("GET", "/", timeout=20) as (_, lines):
            list(lines)
