"""A foreign Riemann client (riemann-c-client) speaks to our test server, and our source reads what it sent."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sretoolkit.config import Config
from sretoolkit.metrics import connect
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.sources._riemann_query import literal
from tests.stack.authority import Authority
from tests.stack.process import program
from tests.stack.riemann import Riemann

pytestmark = pytest.mark.live

HOSTILE = 'a" or true or "\\ %x% \\" 辻'


@pytest.fixture
def client() -> str:
    """The program."""
    try:
        return program("riemann-client", "riemann-c-client")
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture
def server() -> Iterator[Riemann]:
    """An empty index."""
    with Riemann() as server:
        yield server


def run(client: str, server: Riemann, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the foreign client says."""
    command = [client, *arguments, "127.0.0.1", str(server.port)]
    return subprocess.run(command, check=False, timeout=20, capture_output=True, text=True)


def test_what_a_foreign_client_sends_is_read(client: str, server: Riemann) -> None:
    """Numbers of all three kinds, a hostile name, tags and attributes arrive as they were sent."""
    sent = [
        ["-h", "h1", "-S", HOSTILE, "-i", "-9223372036854775808"],
        ["-h", "h2", "-S", HOSTILE, "-d", "0.1", "-a", "zone=b=c"],
        ["-h", "h3", "-S", HOSTILE, "-f", "0.5", "-s", "critical", "-D", "broken", "-t", "marker"],
        ["-h", "h4", "-S", "another", "-d", "7", "-s", "ok"],
    ]
    for arguments in sent:
        assert 0 == run(client, server, "send", *arguments, "-L", "60").returncode
    with connect(server.source) as source:
        frame = source.instant(f"service = {literal(HOSTILE)}")
        checks = {check.entity: check for check in source.checks()}
        now = source.clock.now()
        events = source.events(Window(now - timedelta(minutes=1), now + timedelta(minutes=1)))
        hosts = [entity.name for entity in source.discover()]
    assert [[-9223372036854775808.0, 0.1, 0.5]] == frame.values.tolist()
    assert ["h1", "h2", "h3"] == [labels["host"] for labels in frame.labels]
    assert "b=c" == frame.labels[1]["zone"]
    assert ("critical", "broken", HOSTILE) == (checks["h3"].state, checks["h3"].output, checks["h3"].check)
    assert ["h3", "h4"] == sorted(checks)
    assert [HOSTILE] == [event.title for event in events]
    assert ["h1", "h2", "h3", "h4"] == hosts


def test_a_foreign_client_reads_what_we_send(client: str, server: Riemann) -> None:
    """A marker of ours is found by the other client with our own query, and is gone once retracted."""
    start = datetime(2026, 11, 1, 12, tzinfo=UTC)
    with connect(server.source) as source:
        identifier = source.annotate(Event(start=start, title=f"deploy {HOSTILE}", text="by us", tags=["web"]))
        query = f"service = {literal(identifier)} and tagged {literal('web')}"
        (found,) = json.loads(run(client, server, "query", query, "-j").stdout)
        source.retract(identifier)
        after = run(client, server, "query", query, "-j").stdout
    assert ("by us", ["marker", "web"], start.timestamp()) == (found["description"], found["tags"], found["time"])
    assert identifier == found["service"]
    assert [] == json.loads(after or "[]")


def test_a_query_that_is_wrong_is_refused_to_both(client: str, server: Riemann) -> None:
    """The foreign client shows the server's refusal as we do."""
    done = run(client, server, "query", "service = (")
    assert done.returncode != 0 or "parse error" in done.stdout + done.stderr


def test_a_foreign_client_over_tls(client: str, tmp_path: Path) -> None:
    """With certificates of the same authority on all sides, both clients see the same event."""
    authority = Authority(tmp_path)
    (certificate, key), (own, own_key) = authority.issue("server"), authority.issue("client")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.file))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    files = {"cafile": authority.file, "certfile": own, "keyfile": own_key}
    options = [part for name, file in files.items() for part in ("-o", f"{name}={file}")]
    with Riemann(tls=context) as server:
        done = run(client, server, "send", "-h", "h1", "-S", "cpu", "-d", "0.25", "-G", *options)
        assert 0 == done.returncode, done.stderr
        given = {**server.options, "ca": str(authority.file), "cert": str(own), "key": str(own_key)}
        with connect("stream", Config.of(sources={"stream": given})) as source:
            assert [[0.25]] == source.instant('service = "cpu"').values.tolist()
