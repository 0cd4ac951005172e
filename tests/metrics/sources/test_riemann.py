"""Riemann: bytes, escaping, the index's rules, and a server that misbehaves."""

from __future__ import annotations

import math
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sretoolkit.clock import FakeClock
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, NoData, NotExpressible, QueryError, SourceError, SourceUnavailable, TooCostly
from sretoolkit.metrics import MetricSource, connect
from sretoolkit.metrics.events import Event, Kept, Window
from sretoolkit.metrics.matcher import Matcher, Selector
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.sources._riemann_query import condition, literal, of_service
from sretoolkit.metrics.sources._riemann_wire import Malformed, Message, RiemannEvent, decode, encode
from tests.stack.authority import Authority
from tests.stack.dataset import ERRORS
from tests.stack.riemann import Riemann, listening
from tests.stack.riemann_query import Field, ParseError, matches, parse

NOW = 1795392000.0
MOMENT = datetime.fromtimestamp(NOW, UTC)
# `riemann-client send -s ok -h h1 -S "a b" -D text -i -42 -t deploy -a k=v -L 30` of riemann-c-client 1.10.4
FROM_C = bytes.fromhex(
    "32 48 12 02 6f 6b 1a 03 61 20 62 22 02 68 31 2a 04 74 65 78 74 3a 06 64 65 70 6c 6f 79 45 00 00 f0 41 4a 1c 0a 08 78"
    "2d 63 6c 69 65 6e 74 12 10 72 69 65 6d 61 6e 6e 2d 63 2d 63 6c 69 65 6e 74 4a 06 0a 01 6b 12 01 76 68 53"
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
hostile = st.one_of(texts, st.text(st.sampled_from("\"\\u0022 and or=~%()'\n"), max_size=20))


def source(url: str, *, clock: FakeClock | None = None, **options: Any) -> MetricSource:
    """A configured source named ``prod`` that gives up soon."""
    config = Config.of(sources={"prod": {"kind": "riemann", "url": url, "timeout": "500ms", **options}})
    return connect("prod", config, clock=clock or FakeClock(MOMENT))


def event(host: str, service: str, metric: float | None = None, **more: Any) -> RiemannEvent:
    """One of now."""
    return RiemannEvent(**{"host": host, "service": service, "metric": metric, "time": NOW, "ttl": 60.0, **more})


@pytest.mark.parametrize(
    ("query", "tree"),
    [
        ("state = true", ("=", Field("state"), True)),
        ("true", True),
        ("null", None),
        ("state = -1.2e-5", ("=", Field("state"), -1.2e-5)),
        ("state = 1E5", ("=", Field("state"), 1e5)),
        ('state = " \\" \\\\ "', ("=", Field("state"), ' " \\ ')),
        ('state = "\\b\\t\\n\\f\\r"', ("=", Field("state"), "\b\t\n\f\r")),
        ('state = "辻斬"', ("=", Field("state"), "辻斬")),
        ("state != 2", ("not=", Field("state"), 2)),
        ('state =~ "%foo%"', ("like", Field("state"), "%foo%")),
        ('tagged "cat"', ("tagged", "cat")),
        ("not host = 1 and host = 2", ("and", ("not", ("=", Field("host"), 1)), ("=", Field("host"), 2))),
        ("a = 1 or b = 2 and c = 3", ("or", ("=", Field("a"), 1), ("and", ("=", Field("b"), 2), ("=", Field("c"), 3)))),
        ("not ((a = 1 or a = 2) and b = 3)",
         ("not", ("and", ("or", ("=", Field("a"), 1), ("=", Field("a"), 2)), ("=", Field("b"), 3)))),
        # the longest string wins, and is then read up to its first bare quote: why our writer writes no \" and no \\
        ('host = "a\\\\" and service = "b"', ParseError),
        ("host=1", Field("host=1")),
        ("host = ", ParseError),
        ('"\\q"', ParseError),
    ],
)  # fmt: skip
def test_the_servers_grammar_is_read_as_the_server_reads_it(query: str, tree: Any) -> None:
    """The test server's parser gives the trees that Riemann's own tests expect."""
    if tree is ParseError:
        with pytest.raises(ParseError):
            parse(query)
    else:
        assert tree == parse(query)
        assert str(tree) == str(parse(query))  # 1 is not 1.0, and not True


@pytest.mark.parametrize(
    ("query", "matching", "other"),
    [
        ("state != 1", [{"state": 0.5}, {}], [{"state": 1}]),
        ('host =~ "%s."', [{"host": "s."}, {"host": "foos."}], [{"host": "a."}, {"host": "s.murf"}, {}]),
        ('host ~= "foo?[1-9]+"', [{"host": "foo19"}, {"host": "fo42"}], [{"host": "abc"}, {"host": "fooo42"}, {}]),
        ("metric > 1e10", [{"metric": 1e11}], [{"metric": 1e10}, {}]),
        ("metric <= 1", [{"metric": -20}], [{"metric": 2}, {"metric": "1"}, {}]),
        ('tagged "cat"', [{"tags": ["cat", "dog"]}], [{"tags": ["dog"]}, {}]),
        ("time = null and description != nil", [{"description": "hey"}], [{"time": 2, "description": "x"}, {}]),
    ],
)
def test_the_servers_grammar_matches_as_the_server_does(query: str, matching: list[Any], other: list[Any]) -> None:
    """The test server's index answers as Riemann's own tests expect."""
    tree = parse(query)
    assert [True] * len(matching) == [matches(tree, one) for one in matching]
    assert [False] * len(other) == [matches(tree, one) for one in other]


@settings(max_examples=500)
@given(hostile)
def test_any_text_stays_one_string(text: str) -> None:
    """Whatever a value holds, the server reads exactly it, and what follows it stays what it is."""
    whole = f'service = {literal(text)} and host = "b\\u005c" or tagged {literal(text)}'
    expected = ("or", ("and", ("=", Field("service"), text), ("=", Field("host"), "b\\")), ("tagged", text))
    assert expected == parse(whole)


@settings(max_examples=200)
@given(st.sampled_from(["=", "!="]), hostile, st.one_of(st.none(), hostile), st.one_of(st.none(), hostile))
def test_a_condition_accepts_what_the_matcher_accepts(operator: Any, value: str, own: str | None, other: Any) -> None:
    """A condition on a label gives exactly the events whose label it accepts; a missing one is empty."""
    matcher = Matcher("zone", operator, value)
    for found in (own, other, value):
        labels = {} if found is None else {"zone": found}
        assert matcher.accepts(labels) is matches(parse(condition(matcher)), labels)


@pytest.mark.parametrize("pattern", ["5..", "web.*", "", "a|b", "(?i:web1)", 'q"\\\\', "x?"])
@pytest.mark.parametrize("operator", ["=~", "!~"])
def test_a_pattern_is_of_the_whole_value(operator: Any, pattern: str) -> None:
    """A regular expression must fit the whole value, and a missing label is empty, as everywhere else."""
    matcher = Matcher("host", operator, pattern)
    for value in ("500", "5000", "web1", "WEB1", "a", "ab", "x", 'q"\\', "web1\n", None):
        labels = {} if value is None else {"host": value}
        assert matcher.accepts(labels) is matches(parse(condition(matcher)), labels), (pattern, value)


@given(hostile, hostile)
def test_a_service_with_conditions_is_found(service: str, zone: str) -> None:
    """The query of an indicator finds its own event and not one of another service."""
    tree = parse(of_service(service, Selector.of("x", zone=zone)))
    assert matches(tree, {"service": service, "zone": zone})
    assert not matches(tree, {"service": service + "x", "zone": zone})
    assert not matches(tree, {"service": service, "zone": zone + "x"})


events = st.builds(
    RiemannEvent,
    host=st.none() | texts,
    service=st.none() | texts,
    state=st.none() | texts,
    time=st.none() | st.integers(-(10**9), 10**10).map(float),
    ttl=st.none() | st.floats(width=32, allow_nan=False),
    metric=st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False),
    tags=st.lists(texts, max_size=3),
    attributes=st.dictionaries(texts, texts, max_size=3),
)


@given(st.builds(Message, ok=st.booleans(), error=texts, query=st.none() | texts, events=st.lists(events, max_size=3)))
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    """Writing and reading a message changes nothing, not even the type of a number."""
    again = decode(encode(message))
    assert message == again
    assert [type(one.metric) for one in message.events] == [type(one.metric) for one in again.events]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    """What is no message raises `Malformed` and nothing else."""
    try:
        decode(content)
    except Malformed:
        return


def test_text_that_no_utf8_can_hold_is_sent_with_a_replacement() -> None:
    """Half a surrogate pair in a title does not break the sending."""
    (found,) = decode(encode(Message(events=[RiemannEvent(service="deploy \ud800")]))).events
    assert "deploy ?" == found.service


def test_a_foreign_clients_bytes_are_read() -> None:
    """A message that riemann-c-client wrote has exactly the fields that it was told to send."""
    expected = RiemannEvent(
        host="h1", service="a b", state="ok", description="text", metric=-42, ttl=30.0, tags=["deploy"],
        attributes={"x-client": "riemann-c-client", "k": "v"},
    )  # fmt: skip
    assert [expected] == list(decode(FROM_C).events)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("68 0a 71 0000000000000040 7d 0000803f", 5),
        ("71 0000000000000040 7d 0000803f", 2.0),
        ("7d 0000803f", 1.0),
        ("f8 06 07 7d 0000803f", 1.0),
        ("6d 01020304", None),
        ("", None),
    ],
)
def test_a_metric_is_read_in_the_servers_order(fields: str, expected: float | None) -> None:
    """A signed integer comes before a double and a double before a float; unknown fields are skipped."""
    body = bytes.fromhex(fields.replace(" ", ""))
    (found,) = decode(b"\x32" + bytes([len(body)]) + body).events
    assert (expected, type(expected)) == (found.metric, type(found.metric)) or expected is None


def test_the_newest_events_numbers_are_the_answer() -> None:
    """An instant query gives the number of each matching event, told apart by host and service."""
    with Riemann() as server, source(server.url) as opened:
        server.answer(Message(events=[event("h1", "cpu", 0.5), event("h2", "cpu", 2), event("h1", "http", 9)]))
        server.answer(Message(events=[event("h1", "cpu", 0.75)]))
        frame = opened.instant('service = "cpu"')
    assert [0.75, 2.0] == frame.values[0].tolist()
    assert [{"host": "h1", "service": "cpu"}, {"host": "h2", "service": "cpu"}] == frame.labels
    assert [int(NOW * 1000)] == frame.times.tolist()


def test_only_now_can_be_asked() -> None:
    """Another moment and a window are refused, with what could answer them."""
    with Riemann() as server, source(server.url) as opened:
        asking: list[Callable[[], Any]] = [
            lambda: opened.instant("true", at=MOMENT - timedelta(minutes=1)),
            lambda: opened.range("true", window=timedelta(hours=1)),
            lambda: ERRORS.measure(opened, end=MOMENT),
        ]
        for ask in asking:
            with pytest.raises(NotExpressible) as caught:
                ask()
            assert caught.value.nearest
    assert [] == server.queries


def test_an_error_ratio_needs_a_stream_that_computes_it() -> None:
    """The ratio of two counters is refused; the same indicator is read where the configuration names its stream."""
    premade = {"errors": {"query": 'service = "error ratio"', "window": "10m"}}
    with Riemann() as server:
        server.answer(Message(events=[event("", "error ratio", 0.04, attributes={"service": "web", "kind": "x"})]))
        server.answer(Message(events=[event("api", "error ratio", 0.02)]))
        with (
            source(server.url) as opened,
            pytest.raises(NotExpressible, match="newest event of each service") as caught,
        ):
            ERRORS.measure(opened)
        assert "premade" in caught.value.nearest
        ratio = SLI.error_ratio("errors", bad="bad", total="all", by=["host"], window=timedelta(minutes=10))
        with source(server.url, premade=premade) as opened:
            frame = ratio.measure(opened)
            assert [({"host": ""}, 0.04), ({"host": "api"}, 0.02)] == [
                (labels, value) for labels, value in zip(frame.labels, frame.values[0].tolist(), strict=True)
            ]
            with pytest.raises(NotExpressible, match="over 10m, not over 5m"):
                SLI.error_ratio("errors", bad="bad", total="all").measure(opened)
            with pytest.raises(QueryError, match="several events for one value"):
                SLI.error_ratio("errors", bad="b", total="a", window=timedelta(minutes=10)).measure(opened)
            with pytest.raises(NotExpressible, match="no history"):
                ratio.measure(opened, end=MOMENT - timedelta(hours=1))
            with pytest.raises(NotExpressible, match="no raw samples"):
                ratio.measure(opened, exact=True)


def test_a_quantile_is_read_from_a_percentiles_stream() -> None:
    """The event that such a stream names after service and point is the value, and it is said whose window it has."""
    latency = SLI.latency_quantile("p99", metric='api{zone="a\\"b"}', quantile=0.99, by=["host"])
    with Riemann() as server, source(server.url) as opened:
        for quantile in ("0.5", "0.99"):
            server.answer(Message(events=[event("h1", f"api {quantile}", float(quantile), attributes={"zone": 'a"b'})]))
        compiled = latency.compiled(opened)
        assert 'service = "api 0.99" and (zone = "a\\u0022b")' == compiled.native
        assert "percentiles stream" in compiled.estimated
        frame = compiled.ask()
        assert ([[0.99]], [{"host": "h1"}], "s") == (frame.values.tolist(), frame.labels, frame.unit)
        with pytest.raises(NotExpressible, match="no condition metric"):
            SLI.latency_quantile("p99", metric='api{metric="1"}').compiled(opened)


def test_a_marker_is_written_read_and_taken_back() -> None:
    """A marker is in the index with all that was said of it until it is retracted, twice if need be."""
    written = Event(start=MOMENT - timedelta(hours=2), end=MOMENT, title='deploy "1.2" \\', text="by us", tags=["web"])
    window = Window(MOMENT - timedelta(hours=3), MOMENT)
    with Riemann() as server, source(server.url) as opened:
        identifier = opened.annotate(written)
        (found,) = opened.events(window)
        assert (written.start, written.end, written.title, written.text, ["web"], identifier) == (
            found.start, found.end, found.title, found.text, found.tags, found.id,
        )  # fmt: skip
        server.reap(NOW + 3600)
        assert [found] == opened.events(window)
        assert identifier == opened.annotate(written)
        assert 1 == len(server.index)
        opened.retract(identifier)
        opened.retract(identifier)
        assert [] == opened.events(window)
        assert "" == opened.events(window).lost  # type: ignore[attr-defined]
        kept = opened.events(Window(MOMENT - timedelta(days=9), MOMENT))
        assert isinstance(kept, Kept)
        assert "ours after 1d" in kept.lost


@contextmanager
def raw(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """A TCP server that does what it is told with its one client."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(5)
                with suppress(OSError):  # the client may be gone before
                    behave(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        thread.join(10)


def after_asking(content: bytes) -> Callable[[socket.socket], None]:
    """Read something, say that, close."""

    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)

    return behave


def silent(connection: socket.socket) -> None:
    """Wait until the other side goes."""
    while connection.recv(4096):
        pass


def trickling(connection: socket.socket) -> None:
    """One byte at a time, always before a single read would time out."""
    connection.sendall(struct.pack(">I", 1000))
    gone = threading.Event()
    for _ in range(100):
        try:
            connection.sendall(b"\x10")
        except OSError:
            return
        gone.wait(0.05)


@pytest.mark.parametrize(
    ("behave", "error", "says"),
    [
        (after_asking(b"HTTP/1.1 400 Bad Request\r\n\r\n"), SourceUnavailable, "it speaks HTTP"),
        (after_asking(struct.pack(">I", 9) + b"\x10"), SourceUnavailable, "closed the connection in the middle"),
        (after_asking(b""), SourceUnavailable, "closed the connection"),
        (after_asking(struct.pack(">I", 3) + b"\xff\xff\xff"), SourceUnavailable, "a number is cut off"),
        (after_asking(struct.pack(">I", 2) + b"\x0b\x00"), SourceUnavailable, "no known type"),
        (after_asking(struct.pack(">I", 0x7FFFFFFF)), TooCostly, "2,147,483,647 bytes"),
        (after_asking(struct.pack(">I", 0)), QueryError, "refused without a word"),
        (after_asking(struct.pack(">I", 9) + b"\x10\x00\x1a\x05\x1b[31m"), QueryError, r"prod: \x1b[31m"),
        (silent, SourceUnavailable, "did not answer within 0.5 s"),
        (trickling, SourceUnavailable, "did not answer within 0.5 s"),
    ],
)
def test_a_server_that_misbehaves_is_told_apart(behave: Any, error: type[SourceError], says: str) -> None:
    """Silence, trickling, cut frames, another protocol and refusals each have their own words and a hint."""
    with raw(behave) as url, source(url, most_bytes=1 << 20) as opened, pytest.raises(error) as caught:
        opened.instant("true")
    assert says in caught.value.message
    assert caught.value.hint
    assert "true" == caught.value.query


def test_a_nan_alone_is_no_data() -> None:
    """An event whose number is NaN is no value."""
    answer = Message(ok=True, events=[event("h", "s", math.nan)])
    says = "1 events, none with a number"
    with listening(lambda message: answer) as url, source(url) as opened, pytest.raises(NoData, match=says):
        opened.instant("true")


@pytest.mark.parametrize(
    "options", [{"token": "env:X"}, {"username": "u", "password": "env:X"}, {"proxy": "http://127.0.0.1:1"}]
)
def test_a_login_that_riemann_does_not_know_is_refused(options: dict[str, Any]) -> None:
    """A token or password in the configuration would be ignored by the protocol, and is an error."""
    with pytest.raises(ConfigError, match="no token, password, proxy"):
        source("tcp://127.0.0.1:5555", **options)


def test_tls_needs_the_right_authority_and_a_certificate_of_ours(tmp_path: Path) -> None:
    """With the server's authority and our certificate it works; without either it is refused in clear words."""
    authority = Authority(tmp_path)
    (certificate, key), (own, own_key) = authority.issue("server"), authority.issue("client")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.file))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    ca: dict[str, Any] = {"ca": str(authority.file)}
    ours: dict[str, Any] = {"cert": str(own), "key": str(own_key)}
    with Riemann(tls=context) as server:
        server.answer(Message(events=[event("h1", "cpu", 0.5)]))
        with source(server.url, timeout="5s", **ca, **ours) as opened:
            assert [[0.5]] == opened.instant("true").values.tolist()
        with source(server.url, timeout="5s", **ours) as opened, pytest.raises(SourceError, match="cannot be trusted"):
            opened.instant("true")
        with source(server.url, timeout="5s", **ca) as opened, pytest.raises(SourceError, match="prod") as caught:
            opened.instant("true")
        assert "cert" in caught.value.hint
        clear = server.url.replace("tls://", "tcp://")
        with source(clear, timeout="5s") as opened, pytest.raises(SourceUnavailable) as caught:
            opened.instant("true")
        assert "TLS" in caught.value.hint
    with listening(Riemann().answer) as url, source(url.replace("tcp", "tls"), timeout="2s") as opened:
        raises = pytest.raises(SourceError, match="prod")
        with raises:
            opened.instant("true")
