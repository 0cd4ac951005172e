"""Who we are to a Sensu backend, and its answers page by page.

An API key is sent as ``Authorization: Key``. A user name and a password are exchanged for an access token that lasts
about a quarter of an hour; when the backend no longer takes it, it is renewed, once for a request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from sretoolkit.clock import Clock
from sretoolkit.errors import HTTPError, SourceError
from sretoolkit.http.client import Answer
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.wire import Wire
from sretoolkit.secrets import redaction

PAGE = 500
_MISSING = 404


class Session:
    """The connection to one backend, logged in when a question first needs it."""

    def __init__(self, endpoint: Endpoint, *, clock: Clock) -> None:
        remote = endpoint.remote
        self.namespace = str(endpoint.options.get("namespace", "default"))
        self._with_password = remote.password is not None
        self._tokens: dict[str, str] = {}
        bare = replace(remote, username="", password=None, scheme="Key")
        self.wire = Wire(replace(endpoint, remote=bare), product="Sensu", said=_said, clock=clock)
        self._login = Wire(endpoint, product="Sensu", said=_said, clock=clock) if self._with_password else None

    def close(self) -> None:
        """Close the connections."""
        self.wire.close()
        if self._login:
            self._login.close()

    def path(self, *parts: str) -> str:
        """The address of something in our namespace; names may hold anything."""
        names = "/".join(quote(part, safe="") for part in parts)
        return f"/api/core/v2/namespaces/{quote(self.namespace, safe='')}/{names}"

    def ask(self, method: str, path: str, *, query: str = "", gone: bool = False, **options: Any) -> Answer:
        """One request with a good answer (``gone``: or a 404); errors as of `Wire.ask`."""
        answer = self._sent(method, path, query, options)
        if answer.status == 401 and self._with_password:
            self._renew()
            answer = self._sent(method, path, query, options)
        if not answer.ok and not (gone and answer.status == _MISSING and _said(answer)):
            self.wire.refused(answer, query)
        return answer

    def json(self, path: str, *, query: str = "", **options: Any) -> Any:
        """Read one JSON document."""
        answer = self.ask("GET", path, query=query, **options)
        try:
            return answer.json()
        except ValueError:
            self.wire.foreign(answer, query)

    def pages(self, path: str, *, query: str = "") -> Iterator[Mapping[str, Any]]:
        """Every object of a list, however many pages there are."""
        token, seen = "", set()
        while True:
            params = {"limit": PAGE, **({"continue": token} if token else {})}
            answer = self.ask("GET", path, query=query, params=params)
            try:
                found = answer.json()
            except ValueError:
                found = None
            if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
                self.wire.foreign(answer, query)
            yield from found
            token = answer.headers.get("Sensu-Continue", "")
            if not token:
                return
            if token in seen:
                hint = "is there a proxy in between that drops the parameter continue?"
                name = self.wire.endpoint.name
                raise SourceError(f"{name} gives the same page again and again", source=name, query=query, hint=hint)
            seen.add(token)

    def _sent(self, method: str, path: str, query: str, options: Mapping[str, Any]) -> Answer:
        if self._with_password and not self._tokens:
            self._log_in()
        headers = {"Authorization": f"Bearer {self._tokens['access_token']}"} if self._tokens else {}
        try:
            return self.wire.http.send(method, path, headers=headers, **options)
        except HTTPError as error:
            self.wire.failed(error, query)

    def _log_in(self) -> None:
        assert self._login is not None  # only with a password
        self._keep(self._login.json("GET", "/auth"), self._login)

    def _renew(self) -> None:
        """A new access token by the refresh token, or by the password when that is over too."""
        body = {"refresh_token": self._tokens.get("refresh_token", "")}
        headers = {"Authorization": f"Bearer {self._tokens.get('access_token', '')}"}
        try:
            answer = self.wire.http.send("POST", "/auth/token", json=body, headers=headers, repeatable=True)
        except HTTPError as error:
            self.wire.failed(error, "")
        if not answer.ok:
            self._log_in()
            return
        try:
            self._keep(answer.json(), self.wire)
        except ValueError:
            self.wire.foreign(answer)

    def _keep(self, tokens: Any, wire: Wire) -> None:
        wanted = ("access_token", "refresh_token")
        if not isinstance(tokens, dict) or not all(_sendable(tokens.get(name)) for name in wanted):
            name = wire.endpoint.name
            hint = "does url lead to the backend's API (port 8080)?"
            raise SourceError(f"{name} answers a login without tokens", source=name, hint=hint)
        self._tokens = {name: tokens[name] for name in wanted}
        for token in self._tokens.values():
            redaction.add(token)


def _sendable(token: Any) -> bool:
    return isinstance(token, str) and bool(token) and token.isascii() and token.isprintable()


def _said(answer: Answer) -> str:
    """The backend's own words: ``{"message": ..., "code": N}``."""
    try:
        body = answer.json()
    except ValueError:
        return ""
    return str(body["message"]) if isinstance(body, dict) and isinstance(body.get("message"), str) else ""
