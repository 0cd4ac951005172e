"""A server of raw bytes on loopback: it counts what it accepts and is asked, and may behave as badly as a test wants."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Request:
    """What came: the first line's method and target, the headers by small name, the body."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Wire:
    """One connection, as the script of a test sees it."""

    def __init__(self, sock: socket.socket, over: threading.Event) -> None:
        self.sock = sock
        self.over = over

    def say(self, content: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(content)

    def trickle(self, content: bytes, pause: float = 0.05) -> None:
        """Send the same bytes again and again until the test is over or nobody listens."""
        while not self.over.wait(pause):
            self.say(content)


Script = Callable[[Wire, Request], None]


class Scripted:
    """Gives each request to ``script``, connection after connection; ``accepted`` and ``requests`` say what came."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.script = script
        self.tls = tls
        self.accepted = 0
        self.requests: list[Request] = []
        self.ended = threading.Event()
        self._over = threading.Event()
        self._listener = socket.create_server((host, 0))
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """By its address."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError, ValueError), sock:
            sock.settimeout(0.05)
            if self.tls:
                sock.settimeout(5)
                sock = self.tls.wrap_socket(sock, server_side=True)
                sock.settimeout(0.05)
            with sock:
                while request := read_request(sock, self._over):
                    self.requests.append(request)
                    sock.settimeout(20)
                    self.script(Wire(sock, self._over), request)
                    sock.settimeout(0.05)
        self.ended.set()


def read_request(sock: socket.socket, over: threading.Event) -> Request | None:
    """The next request of a connection; None when the other side has closed it, or the test is over."""
    got = b""
    while b"\r\n\r\n" not in got:
        if (piece := _received(sock, over)) is None:
            return None
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        if (piece := _received(sock, over)) is None:
            return None
        body += piece
    return Request(method, target, headers, body)


def _received(sock: socket.socket, over: threading.Event) -> bytes | None:
    while not over.is_set():
        try:
            return sock.recv(65536) or None
        except TimeoutError:
            continue
    return None


def answer(content: bytes = b"{}", status: str = "200 OK", kind: str = "application/json", **headers: str) -> bytes:
    """One whole answer; ``headers`` with ``_`` for ``-``."""
    given = {"Content-Type": kind, "Content-Length": str(len(content))}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode("latin-1") + content


def always(content: bytes) -> Script:
    """A script that says the same to everybody."""
    return lambda wire, request: wire.say(content)


def in_turn(*contents: bytes) -> Script:
    """A script that says one after the other, then the last one for ever."""
    left = list(contents)
    return lambda wire, request: wire.say(left.pop(0) if len(left) > 1 else left[0])
