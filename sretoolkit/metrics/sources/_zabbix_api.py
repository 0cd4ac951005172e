"""What goes over the wire to Zabbix: JSON-RPC, with an API token or with a session that is begun anew when it has ended.

Version 6.0 takes the token in the body and ignores the header, 7.0 takes the header alone; which it is, is asked first
and without a login.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn
from urllib.parse import urlsplit

from sretoolkit.errors import QueryError, SourceError, SourceUnavailable
from sretoolkit.metrics.source import MetricSource
from sretoolkit.metrics.wire import Wire
from sretoolkit.report import plain

_PAGE = "/api_jsonrpc.php"
_OVER = ("re-login", "session terminated", "session has expired")
_REFUSED = (
    "not authorized", "not authorised", "api token", "incorrect user name", "login name or password",
    "no permissions", "account is temporarily blocked", "permission",
)  # fmt: skip
_INTERNAL = (-32603, -32500)
_HEADERS = {"Content-Type": "application/json-rpc"}


class API:
    """The JSON-RPC interface of one Zabbix."""

    def __init__(self, source: MetricSource) -> None:
        self.source = source
        endpoint = source.endpoint
        self._login = endpoint.remote
        bare = replace(endpoint.remote, token=None, username="", password=None)
        self.wire = Wire(replace(endpoint, remote=bare), product="Zabbix", clock=source.clock)
        self._path = "" if urlsplit(endpoint.url).path.endswith(".php") else _PAGE
        self._lock = threading.Lock()
        self._session = ""
        self._version = ""
        self.skew = 0.0

    def close(self) -> None:
        """End the session, when there is one, and close the connections."""
        session, self._session = self._session, ""
        if session:
            with suppress(SourceError):  # the session ends by itself
                self._exchange("user.logout", [], session, "", repeatable=False)
        self.wire.close()

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor."""
        parts = self.release().split(".")
        try:
            return int(parts[0]), int(parts[1])
        except (ValueError, IndexError):
            self._foreign(self.release(), "")

    def release(self) -> str:
        """The full version; asked once, and by how much the server's clock is ahead (``skew``, seconds)."""
        if not self._version:
            self._version = str(self._exchange("apiinfo.version", [], "", "", repeatable=True))
        return self._version

    def read(self, method: str, params: Any, *, asked: str = "") -> Any:
        """A call that only reads; ``asked`` is what the user wanted, for errors."""
        return self._call(method, params, asked, repeatable=True)

    def write(self, method: str, params: Any) -> Any:
        """A call that changes something; it is sent once."""
        return self._call(method, params, "", repeatable=False)

    def _call(self, method: str, params: Any, asked: str, *, repeatable: bool) -> Any:
        self.release()
        known = self._credential()
        try:
            return self._exchange(method, params, known, asked, repeatable=repeatable)
        except _SessionOver:
            if self._login.token:
                raise
            with self._lock:
                if self._session == known:
                    self._session = ""
            return self._exchange(method, params, self._credential(), asked, repeatable=repeatable)

    def _credential(self) -> str:
        if self._login.token:
            return self._login.token.reveal()
        if not self._login.password:
            hint = 'set token = "env:NAME" (an API token of a user), or username and password'
            raise SourceError(f"{self.source.name} needs a login", source=self.source.name, hint=hint)
        with self._lock:
            if not self._session:
                login = {"username": self._login.username, "password": self._login.password.reveal()}
                self._session = str(self._exchange("user.login", login, "", "", repeatable=False))
            return self._session

    def _exchange(self, method: str, params: Any, credential: str, asked: str, *, repeatable: bool) -> Any:
        body: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params, "id": 1}
        headers = dict(_HEADERS)
        if credential and self.version < (6, 4):
            body["auth"] = credential
        elif credential:
            headers["Authorization"] = f"Bearer {credential}"
        answer = self.wire.ask("POST", self._path, query=asked, json=body, headers=headers, repeatable=repeatable)
        self._look_at_clock(answer.headers.get("Date", ""))
        try:
            reply = answer.json()
        except ValueError:
            self.wire.foreign(answer, asked)
        if not isinstance(reply, dict) or not ({"result", "error"} & reply.keys()):
            self.wire.foreign(answer, asked)
        if "error" in reply:
            self._failed(reply["error"], asked, method)
        return reply["result"]

    def _failed(self, error: Any, asked: str, method: str) -> None:
        name = self.source.name
        given = error if isinstance(error, dict) else {}
        words = plain(" ".join(str(given.get(key, "")) for key in ("message", "data")).strip())
        low = words.lower()
        where: dict[str, Any] = {"source": name, "query": asked}
        if any(word in low for word in _OVER) or ("not authori" in low and not self._login.token):
            hint = "log in anew; is the user's auto-logout very short?"
            raise _SessionOver(f"{name} refused us: {words}", **where, hint=hint)
        if any(word in low for word in _REFUSED):
            hint = "check the login, when the API token expires, and what the user's role and groups allow"
            raise SourceError(f"{name} refused us: {words} ({method})", **where, hint=hint)
        if given.get("code") in _INTERNAL:
            hint = "try again; when it persists, look at the frontend's log and its database"
            raise SourceUnavailable(f"{name} failed: {words}", **where, hint=hint)
        raise QueryError(f"{name}: {words} ({method})", **where, hint="mend what is named there")

    def _look_at_clock(self, date: str) -> None:
        try:
            there = parsedate_to_datetime(date)
        except (TypeError, ValueError):
            return
        self.skew = (there.astimezone(UTC) - self.source.clock.now()).total_seconds()

    def _foreign(self, said: str, asked: str) -> NoReturn:
        text = f"{self.source.name} calls itself version {plain(said)!r}: that is no Zabbix"
        raise SourceError(text, source=self.source.name, query=asked, hint="does url lead to Zabbix' web pages?")


class _SessionOver(SourceError):
    """The session ended on the server."""


def moment(seconds: Any) -> datetime | None:
    """A time of an answer, which is text; 0 means never."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC) if int(seconds) > 0 else None
    except (TypeError, ValueError, OverflowError, OSError):
        return None
