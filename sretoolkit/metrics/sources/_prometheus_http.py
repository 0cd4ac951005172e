"""What goes over the wire to a Prometheus: a session for prometheus-api-client that judges every answer.

The client builds the requests and unpacks ``data.result``. Here is what it leaves open: numbers read while they come, what
stands beside the result, and errors by kind (see `sretoolkit.metrics.wire`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from requests.adapters import HTTPAdapter

from sretoolkit.clock import Clock
from sretoolkit.errors import TooCostly
from sretoolkit.http.client import Answer, Sink
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.sources._prometheus_body import Body
from sretoolkit.metrics.wire import Wire

_SHOWN = 80


class Judged:
    """What the client needs to see of a judged response."""

    status_code = 200

    def __init__(self, body: dict[str, Any]) -> None:
        self._data = body["data"]

    def json(self) -> dict[str, Any]:
        """The ``data`` of the answer; a query's result is a `Result`."""
        return {"data": self._data}


class Session:
    """The session that prometheus-api-client is given."""

    def __init__(self, endpoint: Endpoint, *, clock: Clock) -> None:
        self.wire = Wire(endpoint, product="Prometheus", said=said, clock=clock)
        self.verify: bool | str = endpoint.remote.ca or endpoint.remote.verify
        self.cert = None

    def mount(self, prefix: str, adapter: HTTPAdapter) -> None:
        """The client's adapter is not used: retries and TLS are the wire's."""

    def close(self) -> None:
        """Close the connections."""
        self.wire.close()

    def request(self, method: str, url: str, *, params: dict[str, Any] | None = None, **_: Any) -> Judged:
        """Send one request (all of them only read) and return a good answer; raises as `Wire.ask` does."""
        query = str((params or {}).get("query", ""))
        given = {"form": params} if method == "POST" else {"params": params}
        intake = _Intake(self.wire.endpoint, query)
        answer = self.wire.ask(method, url, query=query, repeatable=True, into=intake, **given)  # type: ignore[arg-type]
        try:
            body = intake.body.finish()
        except ValueError:
            body = {}
        if body.get("status") != "success" or "data" not in body:
            self.wire.foreign(replace(answer, content=intake.begins), query)
        return Judged(body)


class _Intake:
    """Takes the answer's bytes in, for each attempt anew, and no more numbers than the source may bring."""

    def __init__(self, endpoint: Endpoint, query: str) -> None:
        self.endpoint = endpoint
        self.query = query
        self.body = Body(endpoint.most_samples)
        self.begins = b""

    def __call__(self, answer: Answer) -> Sink:
        self.body, self.begins = Body(self.endpoint.most_samples), b""
        return self._take

    def _take(self, piece: bytes) -> None:
        self.begins = self.begins or piece[:_SHOWN]
        if not self.body(piece):
            name, most = self.endpoint.name, self.body.most
            hint = "aggregate (sum by one label), or ask for a longer step; or raise most_samples of the source"
            text = f"{name}: the answer has more than {most:,} samples: {self.query}"
            raise TooCostly(text, source=name, query=self.query, hint=hint)


def said(answer: Answer) -> str:
    """The server's own words for an error; "" when the body holds none."""
    try:
        body = answer.json()
    except ValueError:
        return ""
    return str(body["error"]) if isinstance(body, dict) and "error" in body else ""
