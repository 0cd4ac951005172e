"""What goes over the wire to a Prometheus: a session for prometheus-api-client that judges every answer.

The client builds the requests and unpacks ``data.result``. Here is what it leaves open: a deadline for the whole
answer, form bodies (a long query does not fit a URL), no silent redirects, errors by kind, and what stands beside the
result.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth

from sretoolkit.errors import QueryError, SecretError, SourceError, SourceUnavailable
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.report import plain

_PIECE = 1 << 18
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")


class Result(list[Any]):
    """A query's result with its type and the server's remarks, which the client would drop."""

    def __init__(self, data: dict[str, Any], body: dict[str, Any]) -> None:
        super().__init__(data["result"])
        self.kind: str = data.get("resultType", "")
        self.warnings: list[str] = [str(text) for text in body.get("warnings") or ()]
        self.infos: list[str] = [str(text) for text in body.get("infos") or ()]


class Answer:
    """What the client needs to see of a judged response."""

    status_code = 200

    def __init__(self, body: dict[str, Any]) -> None:
        data = body["data"]
        self._data = {**data, "result": Result(data, body)} if isinstance(data, dict) and "result" in data else data

    def json(self) -> dict[str, Any]:
        """The ``data`` of the answer; a result keeps its remarks."""
        return {"data": self._data}


class Wire:
    """The session that prometheus-api-client is given."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.cert = None
        self.verify: bool | str = endpoint.ca or endpoint.verify
        self._session = requests.Session()
        self._session.auth = self._sign if endpoint.token or endpoint.password else None

    def mount(self, prefix: str, adapter: HTTPAdapter) -> None:
        """Use this adapter for the server."""
        self._session.mount(prefix, adapter)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def request(
        self, method: str, url: str, *, params: dict[str, Any] | None = None, headers: Any = None, **_: Any
    ) -> Answer:
        """Send one request and return a good answer; raises `SourceUnavailable`, `QueryError` or `SourceError`."""
        query = str((params or {}).get("query", ""))
        form = {"data": params} if method == "POST" else {"params": params}
        seconds = self.endpoint.timeout.total_seconds()
        deadline = time.monotonic() + seconds
        try:
            with self._session.request(
                method,
                url,
                **form,  # type: ignore[arg-type]
                headers=headers,
                verify=self.verify,
                timeout=seconds,
                allow_redirects=False,
                stream=True,
            ) as response:
                content = _content(response, deadline)
        except OSError as error:  # every error of requests is one; urllib3's own come out of _content
            raise self._unreachable(error, query) from error
        return self._judged(response, content, query)

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the credentials, read at the last moment."""
        if self.endpoint.token:
            token = self.endpoint.token.reveal()
            if not (token.isascii() and token.isprintable()):  # the HTTP library would print it in its complaint
                hint = "is there a line break or a blank in it?"
                raise SecretError(f"{self.endpoint.token} holds characters that no header can carry", hint=hint)
            request.headers["Authorization"] = f"Bearer {token}"
        elif self.endpoint.password:
            password = self.endpoint.password.reveal()
            HTTPBasicAuth(self.endpoint.username.encode(), password.encode())(request)
        return request

    def _unreachable(self, error: OSError, query: str) -> SourceUnavailable:
        name, url = self.endpoint.name, self.endpoint.url
        if isinstance(error, requests.exceptions.Timeout):
            what = f"did not answer within {self.endpoint.timeout.total_seconds():g} s"
            hint = "ask for less (shorter window, longer step), or raise timeout in the source's configuration"
        elif isinstance(error, requests.exceptions.ChunkedEncodingError):
            what, hint = "broke off in the middle of its answer", "try again; is there a proxy with a limit in between?"
        elif isinstance(error, requests.exceptions.SSLError):
            what, hint = f"cannot be trusted: {_reason(error)}", "set ca to the file of the authority that signed it"
        else:
            what, hint = (
                f"cannot be reached: {_reason(error)}",
                f"is it running, and is the address right? curl {url}/-/ready",
            )
        return SourceUnavailable(
            f"{name} {what}" + ("" if url in name else f" ({url})"), source=name, query=query, hint=hint
        )

    def _judged(self, response: requests.Response, content: bytes, query: str) -> Answer:
        body = _parsed(content)
        status = response.status_code
        if status == 200 and body and body.get("status") == "success" and "data" in body:
            return Answer(body)
        name = self.endpoint.name
        said = plain(body["error"]) if body and "error" in body else f"HTTP {status} {plain(response.reason)}"
        where: dict[str, Any] = {"source": name, "query": query}
        if status in (401, 403):
            hint = "check token, or username and password, in the source's configuration"
            return _fail(SourceError(f"{name} refused us: {said}", **where, hint=hint))
        if 300 <= status < 400:
            to = plain(response.headers.get("Location", "somewhere"))
            hint = "set url to where the API really is; a login page means that a token is missing"
            return _fail(SourceError(f"{name} sends us elsewhere: {to}", **where, hint=hint))
        if status >= 500 or status in (408, 429):
            hint = "try again; when it persists, look at the server's own log and load"
            return _fail(SourceUnavailable(f"{name} failed: {said}", **where, hint=hint))
        if body and "error" in body:
            hint = f"mend the query: {query}" if query else ""
            return _fail(QueryError(f"{name}: {said}", **where, hint=hint))
        return _fail(self._foreign(response, content, where))

    def _foreign(self, response: requests.Response, content: bytes, where: dict[str, Any]) -> SourceError:
        """Something else than a Prometheus is at that address."""
        kind = plain(response.headers.get("Content-Type", "no content type"))
        begins = plain(content[:60].decode(errors="replace"))
        text = f"{self.endpoint.name} answered HTTP {response.status_code} with {kind} instead of Prometheus' JSON"
        path = urlsplit(response.url).path
        hint = f"does url lead to the server itself (its API answers at {path}), not to a proxy's or another page?"
        error = SourceError if response.status_code == 404 else SourceUnavailable
        return error(f"{text}: {begins}", **where, hint=hint)


def _fail(error: SourceError) -> Answer:
    raise error


def _content(response: requests.Response, deadline: float) -> bytes:
    """The whole body, piece by piece, so that a server that trickles cannot outlast the deadline."""
    pieces = []
    try:
        while piece := response.raw.read1(_PIECE, decode_content=True):
            pieces.append(piece)
            if time.monotonic() > deadline:
                raise requests.exceptions.ReadTimeout("the answer took too long")
    except urllib3.exceptions.ReadTimeoutError as error:
        raise requests.exceptions.ReadTimeout(str(error)) from error
    except urllib3.exceptions.HTTPError as error:
        raise requests.exceptions.ChunkedEncodingError(str(error)) from error
    return b"".join(pieces)


def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _reason(error: BaseException) -> str:
    """The innermost cause in its own words; requests wraps it three times."""
    while True:
        inner = getattr(error, "reason", None) or next(
            (arg for arg in error.args if isinstance(arg, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            break
        error = inner
    text = getattr(error, "strerror", None) or str(error).rpartition(": ")[2]
    return plain(_ERRNO.sub("", text))
