"""HTTP on loopback for tests: a strict replay of recorded answers, a recorder of them, and any other handler."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Exchange = dict[str, Any]


@contextmanager
def serve(handle: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A server on a free port that gives every request to ``handle``; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            handle(self)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one

        def log_message(self, format: str, *args: Any) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reply(
    request: BaseHTTPRequestHandler, status: int, content: bytes, kind: str = "application/json", **more: str
) -> None:
    """Send one whole answer; ``more`` are headers, with ``_`` for ``-``; without a ``Date`` it is that of this moment."""
    (request.send_response_only if "Date" in more else request.send_response)(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(content)))
    for name, value in more.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(content)


def asked(request: BaseHTTPRequestHandler) -> dict[str, Any]:
    """What a request is, as a recording keeps it: method, path, parameters (a list where one is repeated), JSON body."""
    address = urlsplit(request.path)
    body = request.rfile.read(int(request.headers.get("Content-Length") or 0)).decode()
    pairs = parse_qsl(address.query, keep_blank_values=True)
    is_json = "json" in request.headers.get("Content-Type", "")
    pairs += [] if is_json else parse_qsl(body, keep_blank_values=True)
    parameters: dict[str, Any] = {}
    for name, value in pairs:
        known = parameters.get(name)
        parameters[name] = value if known is None else [*(known if isinstance(known, list) else [known]), value]
    got = {"method": request.command, "path": urllib.parse.unquote(address.path), "parameters": parameters}
    return {**got, "json": json.loads(body)} if is_json and body else got


@contextmanager
def replay(exchanges: list[Exchange], now: float | None = None) -> Iterator[str]:
    """Answer exactly the recorded requests, in any order; anything else, or one left over, fails the test.

    ``now`` is the moment that the server's clock shows (its ``Date``).
    """
    date = {} if now is None else {"Date": formatdate(now, usegmt=True)}
    left, complaints = list(exchanges), []

    def handle(request: BaseHTTPRequestHandler) -> None:
        got = asked(request)
        found = next((exchange for exchange in left if exchange["request"] == got), None)
        if found is None:
            complaints.append(f"not recorded: {got}")
            return reply(request, 500, b"not recorded", "text/plain")
        left.remove(found)
        answer = found["response"]
        content = json.dumps(answer["json"]) if "json" in answer else answer["text"]
        return reply(
            request, answer["status"], content.encode(), answer["type"], **{**date, **answer.get("headers", {})}
        )

    with serve(handle) as url:
        yield url
    assert not complaints, "\n".join(complaints)
    assert not left, f"never asked: {[exchange['request'] for exchange in left]}"


@contextmanager
def record(upstream: str, exchanges: list[Exchange], clean: Callable[[str], str]) -> Iterator[str]:
    """Pass every request on to the real server and keep both; ``clean`` takes this machine's names out of an answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def handle(request: BaseHTTPRequestHandler) -> None:
        got = asked(request)
        form = urllib.parse.urlencode(got["parameters"], doseq=True)
        as_form = request.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
        url, data = upstream + got["path"] + ("" if as_form else f"?{form}"), form.encode() if as_form else None
        headers = {}
        if "json" in got:
            data, headers = json.dumps(got["json"]).encode(), {"Content-Type": "application/json"}
        try:
            asked_again = urllib.request.Request(url, data, headers, method=got["method"])
            with opener.open(asked_again, timeout=10) as response:
                status, kind, content = response.status, response.headers["Content-Type"], response.read()
        except urllib.error.HTTPError as error:
            with error:
                status, kind, content = error.code, error.headers["Content-Type"], error.read()
        text = clean(content.decode())
        body = {"json": json.loads(text)} if "json" in kind else {"text": text}
        exchanges.append({"request": got, "response": {"status": status, "type": kind, **body}})
        reply(request, status, content, kind)

    with serve(handle) as url:
        yield url
