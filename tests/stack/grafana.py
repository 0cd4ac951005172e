"""What answers as a Grafana does in front of a real data source: its data source API and its proxy, on loopback.

No Grafana server can be had from Debian. The proxy refuses what Grafana's refuses (grafana/grafana
pkg/api/pluginproxy/ds_proxy.go): with a Prometheus, whatever changes something and any POST but a query.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import unquote, urlsplit

from tests.stack.dataset import Dataset
from tests.stack.replay import reply, serve

TOKEN = "glsa_of-a-stand-in"
UID = "P1809F7CD0C75ACF3"
_POSTS = ("api/v1/query", "api/v1/query_range", "api/v1/series", "api/v1/labels", "api/v1/query_exemplars")
_PROXY = f"/api/datasources/proxy/uid/{UID}/"


class Upstream(Protocol):
    """A real server behind it."""

    @property
    def url(self) -> str:
        """Where it is."""

    def load(self, dataset: Dataset) -> None:
        """Write the data set."""


class Grafana:
    """One data source, of that ``kind``, in front of a server that runs already."""

    def __init__(self, upstream: Upstream, kind: str) -> None:
        self.upstream, self.kind = upstream, kind
        self.url = ""
        self.asked: list[str] = []
        self._stack = ExitStack()

    @property
    def options(self) -> dict[str, Any]:
        """The options of a configured source."""
        return {"kind": "grafana", "url": self.url, "token": "env:STACK_GRAFANA_TOKEN", "datasource": UID}

    @property
    def secrets(self) -> dict[str, str]:
        """The environment variables that the options name."""
        return {"STACK_GRAFANA_TOKEN": TOKEN}

    def load(self, dataset: Dataset) -> None:
        """Write the data set into the server behind."""
        self.upstream.load(dataset)

    def __enter__(self) -> Self:
        self.url = self._stack.enter_context(serve(self._answer))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = urlsplit(request.path).path
        self.asked.append(f"{request.command} {path}")
        if path == "/api/health":
            return self._json(request, 200, {"database": "ok", "version": "11.3.0", "commit": "0"})
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._json(request, 401, {"message": "Invalid API key"})
        if path == f"/api/datasources/uid/{UID}" and request.command == "GET":
            return self._json(request, 200, {"id": 1, "uid": UID, "name": "behind", "type": self.kind})
        if request.path.startswith(_PROXY):
            return self._proxied(request, request.path.removeprefix(_PROXY))
        return self._json(request, 404, {"message": "Not found"})

    def _proxied(self, request: BaseHTTPRequestHandler, rest: str) -> None:
        method, path = request.command, unquote(urlsplit(rest).path)
        if self.kind == "prometheus" and (method in ("PUT", "DELETE") or (method == "POST" and path not in _POSTS)):
            words = f"non allow-listed {method}s not allowed on proxied Prometheus datasource"
            return self._json(request, 403, {"message": words})
        length = int(request.headers.get("Content-Length") or 0)
        kept = {name: request.headers[name] for name in ("Content-Type", "Accept") if name in request.headers}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        asked = urllib.request.Request(
            f"{self.upstream.url}/{rest}", request.rfile.read(length) if length else None, kept, method=method
        )
        try:
            with opener.open(asked, timeout=30) as response:
                status, kind, content = response.status, response.headers["Content-Type"], response.read()
        except urllib.error.HTTPError as error:
            with error:
                status, kind, content = error.code, error.headers["Content-Type"], error.read()
        return reply(request, status, content, kind or "text/plain")

    def _json(self, request: BaseHTTPRequestHandler, status: int, body: Any) -> None:
        reply(request, status, json.dumps(body).encode())
