"""Sending requests and taking in answers: in time, within bounds, again where that may help, and logged without secrets."""

from __future__ import annotations

import json as jsonlib
import logging
import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    LocationParseError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.exceptions import (
    HTTPError as Fault,
)

from sretoolkit.clock import Clock
from sretoolkit.config import mask
from sretoolkit.errors import ConfigError, HTTPError, SecretError, Unanswered
from sretoolkit.http.bounded import POOLS, unpacked, until
from sretoolkit.http.remote import Remote
from sretoolkit.report import plain
from sretoolkit.secrets import redaction

_LOG = logging.getLogger("sretoolkit.http")


def _without_secrets(record: logging.LogRecord) -> bool:
    record.msg, record.args = redaction(mask(record.getMessage())), ()
    return True


logging.getLogger("urllib3.connectionpool").addFilter(_without_secrets)  # it logs whole URLs
_PIECE = 1 << 18
_CONNECTIONS = 16
_AGAIN = frozenset({429, 502, 503, 504})  # the server, or one in front of it, was not able to begin
_DICE = random.Random()  # noqa: S311 - of our own: a thread that waits must not move anybody else's dice
_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
Parameters = Mapping[str, Any] | list[tuple[str, Any]]
Sink = Callable[[bytes], object]
Into = Callable[["Answer"], Sink]


@dataclass(frozen=True)
class Answer:
    """What came back: status, headers (any case), the unpacked body, and the moment it began by the server's clock."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    url: str = ""
    reason: str = ""

    @property
    def ok(self) -> bool:
        """The status is 2xx."""
        return 200 <= self.status < 300

    @property
    def kind(self) -> str:
        """The media type, without parameters."""
        return plain(self.headers.get("Content-Type", "no content type").partition(";")[0])

    @property
    def text(self) -> str:
        """The body as UTF-8; what is no UTF-8 shows as a replacement character."""
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON; raises `ValueError` for anything else, nesting without end included."""
        try:
            return jsonlib.loads(self.content)
        except RecursionError as error:
            raise ValueError("the JSON is nested too deeply") from error

    @property
    def said(self) -> str:
        """Status, type and the body's first words, in one line."""
        begins = plain(self.content[:80].decode(errors="replace").strip())
        return f"HTTP {self.status} with {self.kind}" + (f": {begins}" if begins else "")


class Client:
    """A client of one service; connections are kept and shared between threads."""

    def __init__(self, remote: Remote, *, clock: Clock | None = None) -> None:
        self.remote = remote
        self.clock = clock or Clock()
        self._base = urlsplit(remote.url)
        self._pool = self._manager()
        compress = not remote.is_near if remote.compress is None else remote.compress
        self._headers = {
            "User-Agent": "sretoolkit",
            "Accept-Encoding": "gzip" if compress else "identity",
            **remote.headers,
        }

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def send(
        self,
        method: str,
        path: str = "",
        *,
        params: Parameters | None = None,
        form: Parameters | None = None,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        timeout: float | None = None,
        into: Into | None = None,
    ) -> Answer:
        """One request, answered in full; its status is the caller's to judge.

        ``path`` is below the service's URL, or a whole URL on the same host. ``repeatable``: sending it twice does no
        harm (None: GET and HEAD), so that it is sent again, after a pause, when the service could not take it.
        ``into``: called with the head of a 2xx answer, at each attempt anew; what it returns is given the body piece by
        piece, and the answer's own content stays empty. Raises `Unanswered` (out of time, unreachable, broken off) or
        `HTTPError` (not trusted, too large).
        """
        again = method in ("GET", "HEAD") if repeatable is None else repeatable
        deadline = time.monotonic() + (timeout or self.remote.timeout.total_seconds())
        url = self._address(path, params)
        body, kind = _body(form, json, content)
        sent = self._sent(kind, headers)
        for attempt in range(1, self.remote.attempts + 1):
            last = attempt == self.remote.attempts or not again
            try:
                answer = self._once(method, url, body, sent, deadline, into)
            except Unanswered as error:
                if last or error.timed_out or not self._pause(attempt, deadline):
                    raise
                continue
            if last or answer.status not in _AGAIN or not self._pause(attempt, deadline, answer):
                return answer
        raise AssertionError("unreachable: the last attempt returns or raises")

    @contextmanager
    def stream(
        self, method: str, path: str, *, json: Any = None, headers: Mapping[str, str] | None = None, timeout: float
    ) -> Iterator[tuple[Answer, Iterator[bytes]]]:
        """An answer without a body yet, and its lines as they come, for at most ``timeout`` seconds; a bad one with its body.

        The lines end when the server closes, or raise `Unanswered` (``.timed_out``) when time is up; leaving closes the
        connection.
        """
        body, kind = _body(None, json, None)
        sent = self._sent(kind, headers)
        url, deadline = self._address(path, None), time.monotonic() + timeout
        with until(deadline):
            response = self._opened(method, url, body, sent, deadline)
        try:
            head = _answer(response, b"", url)
            if not head.ok:
                said: list[bytes] = []
                self._received(response, url, said.append)
                head = replace(head, content=b"".join(said))
            yield head, self._lines(response, url)
        finally:
            response.close()

    def _sent(self, kind: Mapping[str, str], more: Mapping[str, str] | None) -> dict[str, str]:
        """All headers; raises `ConfigError` for what would be more than one, or none."""
        sent = {**self._headers, **kind, **self.remote.authorization(), **(more or {})}
        for name, value in sent.items():
            if not value.replace("\t", "").isprintable():
                hint = "is there a line break in it?"
                raise ConfigError(f"{self._shown(self.remote.url)} cannot be asked with that {plain(name)}", hint=hint)
        return sent

    def _once(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], deadline: float, into: Into | None
    ) -> Answer:
        began = time.monotonic()
        with until(deadline):
            response = self._opened(method, url, body, headers, deadline)
            try:
                answer = _answer(response, b"", url)
                pieces: list[bytes] = []
                size = self._received(response, url, into(answer) if into and answer.ok else pieces.append)
                answer = replace(answer, content=b"".join(pieces))
            except BaseException:
                response.close()
                raise
        response.release_conn()
        spent = (time.monotonic() - began) * 1000
        _LOG.debug("%s %s: %d, %d bytes, %.0f ms", method, redaction(mask(url)), answer.status, size, spent)
        return answer

    def _opened(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], deadline: float
    ) -> urllib3.BaseHTTPResponse:
        left = max(0.001, deadline - time.monotonic())
        try:
            return self._pool.request(
                method,
                url,
                body=body,
                headers=dict(headers),
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=left, read=left),
                decode_content=False,
            )
        except (LocationParseError, ValueError) as error:  # an address or header that cannot be sent
            if isinstance(error, Fault) and not isinstance(error, LocationParseError):
                self._failed(error, url)
            raise ConfigError(f"{self._shown(url)} cannot be asked: {redaction(plain(error))}") from None
        except (Fault, OSError) as error:
            self._failed(error, url)

    def _received(self, response: urllib3.BaseHTTPResponse, url: str, take: Sink) -> int:
        size = 0
        try:
            for piece in _pieces(response):
                size += len(piece)
                if size > self.remote.most_bytes:
                    what = f"{self._shown(url)} sends more than {self.remote.most_bytes >> 20} MiB (unpacked)"
                    raise HTTPError(what, url=url, hint="ask for less: fewer series, a shorter window, a longer step")
                take(piece)
        except (Fault, OSError) as error:
            self._failed(error, url)
        return size

    def _lines(self, response: urllib3.BaseHTTPResponse, url: str) -> Iterator[bytes]:
        rest = b""
        try:
            for piece in _pieces(response):
                *lines, rest = (rest + piece).split(b"\n")
                if len(rest) > self.remote.most_bytes:
                    raise HTTPError(f"{self._shown(url)} sends a line without end", url=url, hint="is this the API?")
                yield from lines
        except (Fault, OSError) as error:
            self._failed(error, url)
        if rest:
            yield rest

    def _pause(self, attempt: int, deadline: float, answer: Answer | None = None) -> bool:
        """Wait a little longer each time, by chance so that many do not come back at once; False: no time is left."""
        wanted = min(_LONGEST_PAUSE, _PAUSE * 2 ** (attempt - 1)) * _DICE.uniform(0.5, 1)
        if answer is not None:
            wanted = max(wanted, _asked_to_wait(answer))
        if time.monotonic() + wanted >= deadline:
            return False
        self.clock.sleep(wanted)
        return True

    def _address(self, path: str, params: Parameters | None) -> str:
        base = f"{self._base.scheme}://{self._base.netloc}"
        url = path if path.startswith(f"{base}/") else self.remote.url.rstrip("/") + path
        if url != path and path[:1] not in ("", "/", "?"):
            hint = "a path begins with /; is the next page that the service names on another host?"
            raise ConfigError(f"{plain(path)} leads elsewhere than {base}", hint=hint)
        return f"{url}{'&' if '?' in url else '?'}{urlencode(params, doseq=True)}" if params else url

    def _manager(self) -> urllib3.PoolManager:
        remote = self.remote
        options: dict[str, Any] = {"maxsize": _CONNECTIONS, "num_pools": 4}
        if self._base.scheme == "https":
            options["ssl_context"] = trust(remote)
        proxy = remote.proxy or self._environment_proxy()
        try:
            if proxy:
                headers = remote.proxy_authorization()
                manager: urllib3.PoolManager = urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
            else:
                manager = urllib3.PoolManager(**options)
        except (LocationParseError, Fault) as error:
            raise ConfigError(f"the proxy {mask(proxy)} cannot be used: {plain(error)}") from error
        manager.pool_classes_by_scheme = POOLS
        return manager

    def _environment_proxy(self) -> str:
        if proxy_bypass(self._base.netloc) or self.remote.host in ("127.0.0.1", "::1", "localhost"):
            return ""
        return getproxies().get(self._base.scheme, "")

    def _shown(self, url: str) -> str:
        return redaction(mask(url.partition("?")[0]))

    def _failed(self, error: Exception, url: str) -> NoReturn:
        """Raise what a failed exchange means, in words of our own."""
        where = self._shown(url)
        cause = _root(error)
        _LOG.debug("%s: %s", where, redaction(plain(cause)))
        if isinstance(error, NewConnectionError):
            hint = "is it running, and is the address right?"
            raise Unanswered(f"{where} cannot be reached: {_words(cause)}", url=url, hint=hint) from error
        if isinstance(error, ReadTimeoutError | ConnectTimeoutError) or isinstance(cause, TimeoutError):
            seconds = self.remote.timeout.total_seconds()
            raise Unanswered(
                f"{where} did not answer within {seconds:g} s",
                url=url,
                timed_out=True,
                hint="ask for less (shorter window, longer step), or raise timeout in the configuration",
            ) from error
        if isinstance(cause, ssl.SSLCertVerificationError) or isinstance(error, SSLError):
            hint = "set ca to the file of the authority that signed it; a client certificate is given as cert and key"
            raise HTTPError(f"{where} cannot be trusted: {_words(cause)}", url=url, hint=hint) from error
        if isinstance(error, ProxyError):
            hint = "check proxy, proxy_username and proxy_password, or HTTPS_PROXY and NO_PROXY in the environment"
            raise Unanswered(
                f"{where}: the proxy did not let us through: {_words(cause)}", url=url, hint=hint
            ) from error
        if isinstance(error, DecodeError):
            raise Unanswered(f"{where} sent a broken (compressed) answer", url=url, hint="try again") from error
        hint = "try again; is there a proxy with a limit in between?"
        raise Unanswered(f"{where} broke off in the middle: {_words(cause)}", url=url, hint=hint) from error


def trust(remote: Remote) -> ssl.SSLContext:
    """Whom a service's ``ca``, ``cert``, ``key`` and ``verify`` say to trust, and as whom; raises `ConfigError`."""
    context = ssl.create_default_context()
    try:
        if remote.ca:
            context = ssl.create_default_context(cafile=remote.ca)
        if remote.cert:
            context.load_cert_chain(remote.cert, remote.key or None, password=_no_passphrase)
    except (OSError, ssl.SSLError) as error:
        what = f"certificate files of {remote.host} cannot be used: {plain(error)}"
        raise ConfigError(
            what, hint="ca, cert and key are paths of PEM files; the key must have no passphrase"
        ) from error
    if not remote.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_passphrase() -> str:
    raise SecretError("the client key is encrypted", hint="give a key file without a passphrase, readable by you alone")


def _body(form: Parameters | None, json: Any, content: bytes | None) -> tuple[bytes | None, dict[str, str]]:
    if form is not None:
        return urlencode(form, doseq=True).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
    if json is not None:
        return jsonlib.dumps(json).encode(), {"Content-Type": "application/json"}
    return content, {}


def _answer(response: urllib3.BaseHTTPResponse, content: bytes, url: str) -> Answer:
    return Answer(response.status, response.headers, content, url, plain(response.reason))


def _pieces(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    encoding = response.headers.get("Content-Encoding", "")
    yield from unpacked(iter(lambda: response.read1(_PIECE, decode_content=False), b""), encoding, _PIECE)


def _asked_to_wait(answer: Answer) -> float:
    """Seconds that the server asks for; a date counts from its own, whatever its clock says. 0 when it asks nothing."""
    asked = answer.headers.get("Retry-After", "")
    if asked.isdecimal():
        return float(asked)
    try:
        until, now = (parsedate_to_datetime(text) for text in (asked, answer.headers.get("Date", "")))
        return (until - now).total_seconds()
    except (TypeError, ValueError):
        return 0.0


def _root(error: BaseException) -> BaseException:
    """The innermost cause; urllib3 wraps it up to three times."""
    while True:
        inner = getattr(error, "original_error", None) or getattr(error, "reason", None) or error.__cause__
        inner = inner or next((part for part in error.args if isinstance(part, BaseException)), None)
        if not isinstance(inner, BaseException):
            return error
        error = inner


def _words(cause: BaseException) -> str:
    text = getattr(cause, "verify_message", "") or getattr(cause, "strerror", None) or str(cause)
    return redaction(plain(text.removeprefix("[Errno 111] ")))
