"""What answers as a Riemann does, on loopback: an index with the real query grammar, or a strict replay of recordings.

No Riemann server can be had from Debian; a foreign client (riemann-c-client) speaks to this one in the live tests.
"""

from __future__ import annotations

import math
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Self

from sretoolkit.metrics.sources._riemann_wire import Malformed, Message, RiemannEvent, decode, encode
from tests.stack.riemann_query import ParseError, matches, parse

Answering = Callable[[Message], Message]
_DEFAULT_TTL = 60


@contextmanager
def listening(answer: Answering, *, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server on a free port that gives every message to ``answer``; yields its URL."""

    class Handler(socketserver.StreamRequestHandler):
        timeout = 10

        def setup(self) -> None:
            self.request.settimeout(self.timeout)
            if tls:
                self.request = tls.wrap_socket(self.request, server_side=True)
            super().setup()

        def finish(self) -> None:
            super().finish()
            self.request.close()

        def handle(self) -> None:
            while len(head := self.rfile.read(4)) == 4:
                content = self.rfile.read(struct.unpack(">I", head)[0])
                try:
                    out = encode(answer(decode(content)))
                except Malformed:
                    return
                self.wfile.write(struct.pack(">I", len(out)) + out)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that goes away, or does not trust us, is its own affair."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"{'tls' if tls else 'tcp'}://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Riemann:
    """An index: the newest event of each host and service; "expired" removes it, as does the end of its ttl."""

    tls: ssl.SSLContext | None = None
    has_index: bool = True

    def __post_init__(self) -> None:
        self.index: dict[tuple[str | None, str | None], RiemannEvent] = {}
        self.queries: list[str] = []
        self.url = ""

    @property
    def source(self) -> str:
        """The address as sretoolkit takes it."""
        return f"riemann+{self.url}"

    @property
    def options(self) -> dict[str, Any]:
        """The options of a configured source."""
        return {"kind": "riemann", "url": self.url}

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def __enter__(self) -> Self:
        self._listening = listening(self.answer, tls=self.tls)
        self.url = self._listening.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.__exit__(kind, error, trace)

    def answer(self, message: Message) -> Message:
        """As ``riemann.core`` answers a message."""
        for event in message.events:
            self._insert(event)
        if message.query is None:
            return Message(ok=True)
        self.queries.append(message.query)
        if not self.has_index:
            return Message(ok=False, error="no index")
        try:
            tree = parse(message.query)
        except ParseError as error:
            return Message(ok=False, error=str(error))
        return Message(ok=True, events=[event for event in self.index.values() if matches(tree, as_fields(event))])

    def reap(self, now: float | None = None) -> None:
        """Remove what has outlived its ttl, as ``periodically-expire`` does."""
        now = time.time() if now is None else now
        for key, event in list(self.index.items()):
            ttl = _DEFAULT_TTL if event.ttl is None else event.ttl
            if now - (event.time or 0) > ttl:
                del self.index[key]

    def _insert(self, event: RiemannEvent) -> None:
        key = (event.host, event.service)
        if event.state == "expired":
            self.index.pop(key, None)
        else:
            self.index[key] = event


def as_fields(event: RiemannEvent) -> dict[str, Any]:
    """An event as queries see it: its attributes are fields too."""
    own = {one.name: getattr(event, one.name) for one in fields(event) if one.name != "attributes"}
    return {**event.attributes, **own}


@contextmanager
def replay(exchanges: list[dict[str, Any]]) -> Iterator[str]:
    """Answer exactly the recorded messages, in any order; anything else, or one left over, fails the test."""
    left, complaints = list(exchanges), []

    def answer(message: Message) -> Message:
        got = as_recorded(message)
        found = next((exchange for exchange in left if exchange["request"] == got), None)
        if found is None:
            complaints.append(f"not recorded: {got}")
            return Message(ok=False, error="not recorded")
        left.remove(found)
        return from_recorded(found["response"])

    with listening(answer) as url:
        yield url
    assert not complaints, "\n".join(complaints)
    assert not left, f"never asked: {[exchange['request'] for exchange in left]}"


def as_recorded(message: Message) -> dict[str, Any]:
    """A message as the JSON of a recording."""
    found: dict[str, Any] = {"query": message.query} if message.query is not None else {}
    if message.events:
        found["events"] = [
            {name: value for name, value in vars(event).items() if value not in (None, [], {}, ())}
            for event in message.events
        ]
    return found


def from_recorded(given: dict[str, Any]) -> Message:
    """The message of a recording; a metric that JSON cannot hold is a text such as "nan"."""
    events: Sequence[RiemannEvent] = [
        RiemannEvent(**{**event, **({"metric": _number(event["metric"])} if "metric" in event else {})})
        for event in given.get("events", [])
    ]
    return Message(given.get("ok"), given.get("error", ""), None, events)


def _number(given: float | str) -> float | int:
    return given if isinstance(given, int | float) else float(given) if given != "nan" else math.nan
