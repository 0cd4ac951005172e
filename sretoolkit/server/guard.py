"""In front of everything that people and programs ask: who they are, whether the request is theirs, how large and how often.

What is not named as public here takes a login: a page that somebody forgets to protect is protected.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sretoolkit.errors import SREToolkitError
from sretoolkit.runbook.access import Person
from sretoolkit.server.answers import refusal
from sretoolkit.server.body import BodyError, read_body
from sretoolkit.server.limits import Limits, Rate
from sretoolkit.server.logins import local_actor
from sretoolkit.server.sessions import Session
from sretoolkit.server.site import Site

_LOG = logging.getLogger(__name__)
MOST_BYTES = 1024 * 1024
_PATIENCE = 15.0  # seconds that a body may take to arrive
_SAFE = ("GET", "HEAD", "OPTIONS")
_PUBLIC = ("/login", "/static/", "/hooks/", "/healthz")
_LOGINS, _HOOKS = Rate(10, 10), Rate(60, 120)
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=()",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Visit:
    """A request that was let in: from where, by whom (None only at public addresses), with what body."""

    address: str
    person: Person | None
    session: Session | None
    body: bytes = b""

    @property
    def form(self) -> dict[str, str]:
        """The body's fields, of a form as browsers send it."""
        return fields(self.body)


class Guard:
    """An ASGI application around the pages and the API."""

    def __init__(self, inner: ASGIApp, site: Site) -> None:
        self._inner = inner
        self._site = site
        self._limits = Limits()
        minute = int(site.config["serve.most_requests"])
        self._rates = {
            "address": Rate(minute, 2 * minute),
            "person": Rate(minute // 2, minute),
            "login": _LOGINS,
            "hook": _HOOKS,
        }
        self._proxies = frozenset(site.config["serve.proxies"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        send = _with_headers(send, secure=self._site.secure)
        asked = _Asked.of(scope, self._proxies)
        try:
            answer, visit = await self._judge(asked, receive)
        except SREToolkitError as error:  # the store is away
            answer, visit = refusal(error, html=asked.html), None
        if answer is not None or visit is None:
            await (answer or Response(status_code=500))(scope, receive, send)
            return
        scope["visit"] = visit
        await self._inner(scope, _replayed(visit.body, receive), send)

    async def _judge(self, asked: _Asked, receive: Receive) -> tuple[Response | None, Visit | None]:
        public = asked.path.startswith(_PUBLIC)
        if answer := self._misdirected(asked) or self._too_often(asked, None):
            return answer, None
        session, person = await asyncio.to_thread(self._who, asked)
        if person is None and not public:
            return self._log_in(asked), None
        if person is not None and (answer := self._too_often(asked, person)):
            return answer, None
        body = b""
        if asked.method not in _SAFE:
            if asked.length > MOST_BYTES:
                return asked.refused(413, f"a body may have {MOST_BYTES} bytes"), None
            try:
                body = await read_body(receive, most=MOST_BYTES, within=_PATIENCE)
            except BodyError as error:
                return asked.refused(error.status, str(error)), None
            if answer := self._forged(asked, session, body, person):
                return answer, None
        return None, Visit(asked.address, person, session, body)

    def _misdirected(self, asked: _Asked) -> Response | None:
        """A name that is not ours leads here: a page of somebody else's would be on the same footing as our own."""
        name = asked.host
        if asked.path == "/healthz":  # who asks it may know the server by any name, and is told nothing
            return None
        try:
            ours = bool(ipaddress.ip_address(name))
        except ValueError:
            ours = name in ("localhost", self._site.host) and bool(name)
        text = "this server is not known by that name; set serve.url to how people reach it"
        return None if ours else asked.refused(421, text)

    def _too_often(self, asked: _Asked, person: Person | None) -> Response | None:
        kind, who = "address", asked.address
        if person is not None:
            kind, who = "person", f"{person.actor.via} {person.actor.principal}"
        elif (asked.path.startswith("/login") and asked.method == "POST") or asked.path.startswith("/login/provider"):
            kind = "login"
        elif asked.path.startswith("/hooks/"):
            kind, who = "hook", f"{asked.path} {who}"
        seconds = self._limits.wait(f"{kind} {who}", self._rates[kind])
        if not seconds:
            return None
        answer = asked.refused(429, "too many requests; wait a little")
        answer.headers["retry-after"] = str(math.ceil(seconds))
        return answer

    def _who(self, asked: _Asked) -> tuple[Session | None, Person | None]:
        if token := asked.bearer:
            if asked.path.startswith("/api/") and hmac.compare_digest(token, self._site.local_token.encode()):
                return None, Person(local_actor(self._site.config))
            return None, None
        cookie = asked.cookies.get(self._site.cookie, "")
        session = self._site.sessions.find(cookie) if cookie else None
        return session, session.person if session else None

    def _log_in(self, asked: _Asked) -> Response:
        if asked.html and asked.method == "GET":
            return RedirectResponse(f"/login?next={quote(asked.target, safe='')}", 303)
        answer = asked.refused(401, "log in first")
        answer.headers["www-authenticate"] = "Bearer"
        return answer

    def _forged(self, asked: _Asked, session: Session | None, body: bytes, person: Person | None) -> Response | None:
        """A request that changes something comes from our own pages, or from a program that says who it is by itself."""
        if asked.path.startswith("/hooks/") or (person is not None and session is None):
            return None
        own = {f"{asked.scheme}://{asked.headers.get('host', '')}", *([self._site.url] if self._site.url else [])}
        if asked.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return asked.refused(403, "this was sent from a page of another site")
        if (origin := asked.headers.get("origin")) is not None and origin not in own:
            return asked.refused(403, "this was sent from a page of another site")
        if session is None:
            return None
        kind = asked.headers.get("content-type", "").partition(";")[0].strip().lower()
        form = fields(body).get("csrf", "") if kind == "application/x-www-form-urlencoded" else ""
        given = asked.headers.get("x-csrf-token", "") or form
        if not hmac.compare_digest(given.encode(), session.csrf.encode()):
            return asked.refused(403, "the form is not one of this login; load the page again")
        return None


@dataclass(frozen=True)
class _Asked:
    """What the head of a request says."""

    method: str
    path: str
    target: str
    scheme: str
    address: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, scope: Scope, proxies: frozenset[str]) -> _Asked:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        address = (scope.get("client") or ("",))[0]
        if address in proxies and "x-forwarded-for" in headers:
            address = headers["x-forwarded-for"].rpartition(",")[2].strip()[:64]
        query = scope.get("query_string", b"").decode("latin-1")
        target = quote(scope["path"]) + (f"?{query}" if query else "")
        return cls(scope["method"], scope["path"], target, scope.get("scheme", "http"), address, headers)

    @property
    def host(self) -> str:
        """The name that it was sent to, without a port."""
        try:
            return urlsplit(f"//{self.headers.get('host', '')}").hostname or ""
        except ValueError:
            return ""

    @property
    def html(self) -> bool:
        """Whether somebody looks at the answer, rather than a program."""
        return not self.path.startswith(("/api/", "/hooks/", "/live/"))

    @property
    def length(self) -> int:
        """How many bytes the body is said to have; 0 where that is not said."""
        said = self.headers.get("content-length", "")
        return int(said) if said.isdecimal() else 0

    @property
    def bearer(self) -> bytes:
        """The token of a program."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip().encode() if scheme.lower() == "bearer" else b""

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies."""
        try:
            return {name: item.value for name, item in SimpleCookie(self.headers.get("cookie", "")).items()}
        except CookieError:
            return {}

    def refused(self, status: int, text: str) -> Response:
        """An answer that says why not."""
        if self.html:
            return Response(text + "\n", status, media_type="text/plain")
        return JSONResponse({"error": text}, status)


def fields(body: bytes) -> dict[str, str]:
    """The fields of a form; of a name that is there twice, the last one counts, and of too many none do."""
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=200))
    except ValueError:
        return {}


def _replayed(body: bytes, receive: Receive) -> Receive:
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _with_headers(send: Send, *, secure: bool) -> Send:
    always = {**HEADERS, **({"strict-transport-security": "max-age=31536000"} if secure else {})}

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            there: list[tuple[bytes, bytes]] = list(message.get("headers", []))
            names = {name.lower() for name, _ in there}
            more = [(name.encode(), value.encode()) for name, value in always.items() if name.encode() not in names]
            message = {**message, "headers": [*there, *more]}
        await send(message)

    return sent


def visit_of(scope: Mapping[str, Any]) -> Visit:
    """The visit that a request was let in as."""
    visit: Visit = scope["visit"]
    return visit
