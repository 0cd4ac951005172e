"""OpenNMS: names and times in its query language, steps of its own, availability that is not guessed, odd answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sretoolkit.clock import FakeClock
from sretoolkit.config import Config
from sretoolkit.errors import NoData, NotExpressible, QueryError, SourceError, SourceUnavailable
from sretoolkit.metrics import MetricSource, connect
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.sources._opennms_measurements import question
from sretoolkit.metrics.sources._opennms_rest import fiql, fiql_time, moment
from tests.stack.dataset import ERRORS
from tests.stack.replay import asked, reply, serve

NOW = 1795392000
MOMENT = datetime.fromtimestamp(NOW, UTC)
RESOURCE = 'node[1].interfaceSnmp[eth0-"x"\\1]'
MINUTE = timedelta(minutes=1)


def source(url: str, **options: Any) -> MetricSource:
    """A configured source named ``prod`` that gives up soon."""
    config = Config.of(sources={"prod": {"kind": "opennms", "url": url, "timeout": "2s", **options}})
    return connect("prod", config, clock=FakeClock(MOMENT))


@contextmanager
def answering(handle: Callable[[BaseHTTPRequestHandler], Any], **options: Any) -> Iterator[MetricSource]:
    """A source, and the server behind it."""
    with serve(handle) as url, source(url, **options) as opened:
        yield opened


def fixed(status: int, content: bytes, kind: str = "application/json") -> Callable[[BaseHTTPRequestHandler], None]:
    """A server that always says the same."""
    return lambda request: reply(request, status, content, kind)


class Server:
    """Nodes, services, outages and measurements, asked in the language that OpenNMS reads.

    A value in FIQL is decoded once more after the transport, and ``*`` is a wildcard: more than was meant may come back.
    """

    def __init__(self, **lists: list[dict[str, Any]]) -> None:
        self.lists = lists
        self.measured: dict[str, list[Any]] = {}
        self.step = 300
        self.asked: list[Any] = []

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        got = asked(request)
        self.asked.append(got)
        name = got["path"].rpartition("/")[2]
        if name == "measurements":
            return self._measurements(request, got["json"])
        if request.headers.get("Accept") != "application/json":
            return reply(request, 200, b"<xml/>", "application/xml")
        keys = {"nodes": "node", "ifservices": "service", "outages": "outage", "alarms": "alarm"}
        found = self.lists.get(keys[name], [])
        wanted = parse_qs(urlsplit(request.path).query).get("_s", [""])[0]
        if name == "nodes" and wanted:
            value = unquote(wanted.removeprefix("node.label=="))
            prefix = value.partition("*")[0]
            found = [
                one for one in found if one["label"] == value or ("*" in value and one["label"].startswith(prefix))
            ]
        if not found:
            return reply(request, 204, b"")
        offset, limit = (int(got["parameters"][name]) for name in ("offset", "limit"))
        page = found[offset : offset + limit]
        body = {"count": len(page), "totalCount": len(found), "offset": offset, keys[name]: page}
        return reply(request, 200, json.dumps(body).encode())

    def _measurements(self, request: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        times = list(
            range(-(-body["start"] // (self.step * 1000)) * self.step * 1000, body["end"] + 1, self.step * 1000)
        )
        names = [one["label"] for one in body["source"]]
        values = [self.measured[one["attribute"]][-len(times) :] for one in body["source"]]
        answer = {"step": self.step * 1000, "start": body["start"], "end": body["end"], "timestamps": times}
        columns = [{"values": column} for column in values]
        reply(request, 200, json.dumps({**answer, "labels": names, "columns": columns}).encode())


@given(st.text(), st.text())
def test_any_name_stays_one_value_in_fiql(label: str, other: str) -> None:
    """A name is decoded to exactly itself, and none of the characters that FIQL reads stand in it."""
    label, other = (text.encode(errors="replace").decode() for text in (label, other))
    written = fiql(label)
    assert label == unquote(written)
    assert not set(written) & set(",;()=!<>'\" *+&#\\")
    assert (label == other) is (written == fiql(other))


def test_a_moment_in_fiql_has_no_plus() -> None:
    """The server reads a + as a blank; the offset is written as -0000, and other zones become UTC."""
    at = datetime.fromisoformat("2026-11-23T01:00:00.250+01:00")
    assert "2026-11-23T00:00:00.250-0000" == fiql_time(at)


@pytest.mark.parametrize(
    ("given_time", "expected"),
    [
        (NOW * 1000, MOMENT),
        ("2026-11-23T00:00:00.000+0000", MOMENT),
        ("2026-11-22T19:00:00.000-05:00", MOMENT),
        (None, None),
        ("soon", None),
        (10**30, None),
        (True, None),
    ],
)
def test_both_kinds_of_time_are_read(given_time: Any, expected: datetime | None) -> None:
    """Milliseconds and text with an offset are the same moment; anything else is none."""
    assert expected == moment(given_time)


@given(st.text(min_size=1), st.sampled_from(["AVERAGE", "MIN", "MAX"]))
def test_any_resource_is_asked_for_by_its_own_name(resource: str, aggregation: str) -> None:
    """Whatever a resource is called, it goes into its field alone; names in the request are our own."""
    selector = Selector.of("ifHCInOctets", resource=resource, aggregation=aggregation)
    asked_for = question(str(selector), "prod")
    (one,) = json.loads(json.dumps(asked_for.sources))
    assert (resource, "ifHCInOctets", aggregation, "s0") == (
        one["resourceId"], one["attribute"], one["aggregation"], one["label"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("a", "names no resource"),
        ('a{resource="x", code="5"}', "no label to hold"),
        ('a{resource=~"x.*"}', "no label to hold"),
        ('a{resource="x", resource="y"}', "twice"),
        ('a{resource="x"', "is no selector"),
        ('{"expression": []}', "has no source"),
    ],
)
def test_a_question_that_names_nothing_is_refused(text: str, says: str) -> None:
    """What cannot be one attribute of one resource is an error with how to write it."""
    with pytest.raises(QueryError) as caught:
        question(text, "prod")
    assert says in caught.value.message
    assert caught.value.hint


def ratio(**more: Any) -> SLI:
    """Errors of all requests of one resource, over a quarter of an hour."""
    where = f"{{resource={json.dumps(RESOURCE)}}}"
    return SLI.error_ratio("errors", bad=f"bad{where}", total=f"all{where}", window=15 * MINUTE, **more)


def test_a_ratio_counts_the_steps_that_end_in_the_window() -> None:
    """Rates times the server's own step, three steps of five minutes; a step before the window does not count."""
    server = Server()
    server.measured = {"bad": [9.0, 1.0, 2.0, 3.0], "all": [9.0, 10.0, 10.0, 20.0]}
    with answering(server) as opened:
        compiled = ratio().compiled(opened)
        assert RESOURCE.replace("\\", "\\\\") in compiled.native
        assert "averages" in compiled.estimated
        assert 6 / 40 == compiled.ask().values[0, 0]
        traffic = SLI.throughput("traffic", total=ratio().total or "", window=15 * MINUTE)
        assert 40 / 3 == pytest.approx(traffic.measure(opened).values[0, 0], rel=1e-12)
        full = SLI.saturation("fill", metric=ratio().bad or "", capacity=ratio().total or "", window=15 * MINUTE)
        assert 3 / 20 == full.measure(opened).values[0, 0]
    sent = [one["json"] for one in server.asked]
    assert {1} == {body["step"] for body in sent}
    assert ["AVERAGE", "AVERAGE", "MAX"] == [body["source"][0]["aggregation"] for body in sent]


def test_a_window_shorter_than_the_step_is_refused() -> None:
    """One value of an hour tells nothing of a quarter of it."""
    server = Server()
    server.step, server.measured = 3600, {"bad": [1.0], "all": [2.0]}
    with answering(server) as opened, pytest.raises(NotExpressible, match="steps of 3600 s only"):
        ratio().measure(opened)


def test_missing_measurements_are_no_zero() -> None:
    """Steps without a value are left out, and none at all is no data."""
    server = Server()
    server.measured = {"bad": [None, "NaN", 1.0, 2.0], "all": [None, "NaN", 10.0, 10.0]}
    with answering(server) as opened:
        assert 3 / 20 == ratio().measure(opened).values[0, 0]
        server.measured = {"bad": [None] * 4, "all": ["NaN"] * 4}
        with pytest.raises(NoData):
            ratio().measure(opened)


def test_what_cannot_be_told_is_refused_before_asking() -> None:
    """Labels, quantiles, groups and raw samples do not exist there; each refusal says what comes nearest."""
    where = f"{{resource={json.dumps(RESOURCE)}}}"
    refused: list[Callable[[MetricSource], Any]] = [
        lambda opened: ERRORS.measure(opened),
        lambda opened: ratio(by=["resource"]).measure(opened),
        lambda opened: ratio(counter="cumulative").measure(opened),
        lambda opened: ratio().measure(opened, exact=True),
        lambda opened: SLI.error_ratio("x", bad='bad{code="5"}', total="all").measure(opened),
        lambda opened: SLI.latency_quantile("p", metric=f"latency{where}").measure(opened),
        lambda opened: SLI.availability("a", entity="web1", by=["x"]).measure(opened),
    ]
    with answering(lambda request: pytest.fail("nothing should be asked")) as opened:
        for ask in refused:
            with pytest.raises(NotExpressible) as caught:
                ask(opened)
            assert caught.value.nearest


def node(number: int, label: str, age: int = 86_400) -> dict[str, Any]:
    """A node known for so many seconds."""
    return {"id": str(number), "label": label, "createTime": (NOW - age) * 1000}


def service(name: str, status: str = "A") -> dict[str, Any]:
    """A service on the node."""
    return {"id": name, "status": status, "serviceType": {"name": name}}


def outage(number: int, name: str, lost: int, regained: int | None, **more: Any) -> dict[str, Any]:
    """An outage that began and ended so many seconds ago."""
    end = None if regained is None else (NOW - regained) * 1000
    begin = (NOW - lost) * 1000
    kind = {"serviceType": {"name": name}}
    return {"id": number, "ifLostService": begin, "ifRegainedService": end, "monitoredService": kind, **more}


def available(entity: str = "web1", check: str = "HTTP") -> SLI:
    """Over an hour."""
    return SLI.availability("up", entity=entity, check=check, window=timedelta(hours=1))


def test_availability_is_the_time_without_an_outage() -> None:
    """Overlapping outages count once, those of other services and places not at all, an open one until the end."""
    outages = [
        outage(1, "HTTP", 7200, 3000),
        outage(2, "HTTP", 3300, 2700),
        outage(3, "HTTP", 900, None),
        outage(4, "SSH", 3600, None),
        outage(5, "HTTP", 3600, None, perspective="elsewhere"),
    ]
    server = Server(node=[node(7, "web1")], service=[service("HTTP"), service("SSH")], outage=outages)
    with answering(server) as opened:
        compiled = available().compiled(opened)
        assert "node.label==web1" in compiled.native
        assert compiled.estimated
        assert 1 - (900 + 900) / 3600 == pytest.approx(compiled.ask().values[0, 0], rel=1e-12)
        assert 0.0 == available(check="").measure(opened).values[0, 0]
        frame = available().range(opened, window=timedelta(hours=1), step=timedelta(hours=1))
    assert ([0.0, 0.5], "ratio") == ([round(cell, 9) for cell in frame.values[:, 0].tolist()], frame.unit)


@pytest.mark.parametrize("label", ["web*", "a,b;c(d)", 'q"\\', "100%", "a+b c", "ä==", "%2A"])
def test_a_hostile_name_is_that_node_and_no_other(label: str) -> None:
    """Whatever its label holds, the one node is found, and a wildcard in it finds no neighbour."""
    others = [node(8, "web2"), node(9, f"{label}x")]
    server = Server(node=[*others, node(7, label)], service=[service("HTTP")])
    with answering(server) as opened:
        assert 1.0 == available(label).measure(opened).values[0, 0]
    sent = [one["parameters"].get("_s") for one in server.asked]
    assert ["node.id==7", "node.id==7;outage.ifLostService=le=2026-11-23T00:00:00.000-0000"] == sent[1:]


@pytest.mark.parametrize(
    ("lists", "error", "says"),
    [
        ({}, NoData, "no node is called 'web1'"),
        ({"node": [node(7, "web1"), node(8, "web1")]}, NoData, "2 nodes are called"),
        ({"node": [node(7, "web1", age=600)]}, NotExpressible, "is known since"),
        ({"node": [node(7, "web1")]}, NoData, "does not watch HTTP"),
        ({"node": [node(7, "web1")], "service": [service("SSH")]}, NoData, "does not watch HTTP"),
        ({"node": [node(7, "web1")], "service": [service("HTTP", "F")]}, NoData, "does not watch HTTP"),
    ],
)
def test_no_outage_proves_nothing_where_nobody_looked(lists: Any, error: type[SourceError], says: str) -> None:
    """A node or service that is unknown, new or not polled has no availability; it is not 100 %."""
    with answering(Server(**lists)) as opened, pytest.raises(error) as caught:
        available().measure(opened)
    assert says in caught.value.message
    assert caught.value.hint


def test_every_page_is_read() -> None:
    """2,500 alarms come in three pages, each once."""
    alarms = [
        {"id": number, "severity": "MAJOR", "uei": "uei.opennms.org/x", "nodeLabel": "n"} for number in range(2500)
    ]
    server = Server(alarm=alarms)
    with answering(server) as opened:
        assert 2500 == len({check.id for check in opened.checks()})
    assert ["0", "1000", "2000"] == [one["parameters"]["offset"] for one in server.asked]


def test_pages_that_do_not_go_on_end() -> None:
    """A proxy that drops the offset gives the first page for ever: an error, not an endless loop."""
    body = json.dumps({"totalCount": 5, "alarm": [{"id": 1}, {"id": 2}]}).encode()
    with answering(fixed(200, body)) as opened, pytest.raises(SourceError, match="again and again"):
        opened.checks()


@pytest.mark.parametrize("path", ["", "/opennms", "/monitoring/opennms"])
def test_the_applications_path_may_be_given_or_not(path: str) -> None:
    """A URL without a path means /opennms; any other path is taken as it is."""
    seen = []

    def handle(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.path)
        reply(request, 200, b'{"displayVersion": "33.0.2"}')

    with serve(handle) as url, source(url + path) as opened:
        assert "33.0.2" == opened.version()
    assert [f"{path or '/opennms'}/rest/info"] == seen


QUESTION = 'a{resource="node[1].nodeSnmp[]"}'


@pytest.mark.parametrize(
    ("status", "body", "kind", "error", "says"),
    [
        (200, b"<html>login</html>", "text/html", SourceUnavailable, "which is not OpenNMS's JSON"),
        (200, b"[]", "application/json", SourceUnavailable, "with no measurements"),
        (200, b'{"timestamps":[1],"labels":["s0"],"columns":[]}', "application/json", SourceUnavailable, "no measurements"),
        (200, b'{"timestamps":[1],"labels":["s0"],"columns":[{"values":["x"]}]}', "application/json", SourceUnavailable,
         "no measurements"),
        (204, b"", "application/json", NoData, "no data"),
        (400, b"Attribute is missing", "text/plain", QueryError, "Attribute is missing"),
        (401, b"<html>", "text/html", SourceError, "refused us"),
        (302, b"", "text/html", SourceError, "sends us elsewhere"),
        (500, b"JEXL error", "text/plain", SourceUnavailable, "JEXL error"),
    ],
)  # fmt: skip
def test_answers_that_are_none_are_told_apart(
    status: int, body: bytes, kind: str, error: type[SourceError], says: str
) -> None:
    """Pages, refusals and broken measurements each have their own words and a hint."""
    with answering(fixed(status, body, kind)) as opened, pytest.raises(error) as caught:
        opened.range(QUESTION, window=15 * MINUTE, step=5 * MINUTE)
    assert says in caught.value.message
    assert caught.value.hint


def test_measurements_at_uneven_times_come_to_the_grid() -> None:
    """Where times are not evenly spaced, each moment has the newest value of the step before it."""
    times = [(NOW - seconds) * 1000 for seconds in (840, 550, 310, 5)]
    body = {"step": 300_000, "timestamps": times, "labels": ["s0"], "columns": [{"values": [1, 2, 3, "Infinity"]}]}
    with answering(fixed(200, json.dumps(body).encode())) as opened:
        frame = opened.range(QUESTION, window=15 * MINUTE, step=5 * MINUTE)
    assert ["nan", "1.0", "3.0", "inf"] == [str(cell) for cell in frame.values[:, 0].tolist()]


def test_a_marker_is_refused_for_it_could_not_be_taken_back() -> None:
    """OpenNMS' API deletes no event, so none is written."""
    with source("http://127.0.0.1:1") as opened:
        assert "annotate" not in opened.capabilities
