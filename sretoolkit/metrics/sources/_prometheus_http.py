"""What goes over the wire to a Prometheus: a session for prometheus-api-client that judges every answer.

The client builds the requests and unpacks ``data.result``. Here is what it leaves open: what stands beside the result,
and errors by kind (see `sretoolkit.metrics.wire`).
"""

from __future__ import annotations

from typing import Any

from requests.adapters import HTTPAdapter

from sretoolkit.clock import Clock
from sretoolkit.http.client import Answer
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.wire import Wire


class Result(list[Any]):
    """A query's result with its type and the server's remarks, which the client would drop."""

    def __init__(self, data: dict[str, Any], body: dict[str, Any]) -> None:
        super().__init__(data["result"])
        self.kind: str = data.get("resultType", "")
        self.warnings: list[str] = [str(text) for text in body.get("warnings") or ()]
        self.infos: list[str] = [str(text) for text in body.get("infos") or ()]


class Judged:
    """What the client needs to see of a judged response."""

    status_code = 200

    def __init__(self, body: dict[str, Any]) -> None:
        data = body["data"]
        self._data = {**data, "result": Result(data, body)} if isinstance(data, dict) and "result" in data else data

    def json(self) -> dict[str, Any]:
        """The ``data`` of the answer; a result keeps its remarks."""
        return {"data": self._data}


class Session:
    """The session that prometheus-api-client is given."""

    def __init__(self, endpoint: Endpoint, *, clock: Clock) -> None:
        self.wire = Wire(endpoint, product="Prometheus", said=_said, clock=clock)
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
        answer = self.wire.ask(method, url, query=query, repeatable=True, **given)  # type: ignore[arg-type]
        body = _parsed(answer)
        if not body or body.get("status") != "success" or "data" not in body:
            self.wire.foreign(answer, query)
        return Judged(body)


def _said(answer: Answer) -> str:
    body = _parsed(answer)
    return str(body["error"]) if body and "error" in body else ""


def _parsed(answer: Answer) -> dict[str, Any] | None:
    try:
        body = answer.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
