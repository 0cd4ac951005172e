"""Connections whose answers end by a deadline, however slowly they trickle: header lines too.

A socket's own timeout begins anew with every byte that comes, and with every address that a name has. Here the socket
is given what is left of the whole exchange before each read. A head that is cut off is no answer, and a packed body is
unpacked piece by piece, and only whole.
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, DecodeError, NameResolutionError, NewConnectionError

_BUFFER = 1 << 18
_now = threading.local()


@contextmanager
def until(deadline: float) -> Any:
    """Bound the exchanges that this thread begins within, by a moment of the monotonic clock."""
    before = getattr(_now, "deadline", None)
    _now.deadline = deadline
    try:
        yield
    finally:
        _now.deadline = before


class _Reader(io.RawIOBase):
    """The reading end of a socket that gives up at the deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline
        self.ended = False
        self._end = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        self._sock.settimeout(left)
        got = self._end.readinto(buffer)
        self.ended = got == 0
        return got

    def close(self) -> None:
        self._end.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        deadline = getattr(_now, "deadline", None)
        self._reader = None if deadline is None else _Reader(sock, deadline)
        if self._reader is not None:
            self.fp.close()
            self.fp = io.BufferedReader(self._reader, _BUFFER)

    def begin(self) -> None:
        super().begin()
        if self._reader is not None and self._reader.ended:  # http.client takes the end of the stream for a blank line
            raise http.client.BadStatusLine("the answer ends in its head")


class _Connection(HTTPConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        return _connected(self)


class _SecureConnection(HTTPSConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        return _connected(self)


def _connected(connection: HTTPConnection) -> socket.socket:
    """A socket to the first of a name's addresses that answers; each gets its share of the time that is left."""
    left = connection.timeout if isinstance(connection.timeout, int | float) else None
    deadline = None if left is None else time.monotonic() + left
    error: OSError = OSError("the name has no address")
    try:
        found = socket.getaddrinfo(connection._dns_host, connection.port, type=socket.SOCK_STREAM)
    except socket.gaierror as unknown:
        raise NameResolutionError(connection.host, connection, unknown) from unknown
    for place, (family, kind, protocol, _, address) in enumerate(found):
        sock = socket.socket(family, kind, protocol)
        try:
            for option in connection.socket_options or ():
                sock.setsockopt(*option)
            if deadline is not None:
                sock.settimeout(max(0.001, (deadline - time.monotonic()) / (len(found) - place)))
            sock.connect(address)
            sock.settimeout(left)
            return sock
        except OSError as refused:
            error = refused
            sock.close()
    if isinstance(error, TimeoutError):
        raise ConnectTimeoutError(connection, f"no connection within {left} s") from error
    raise NewConnectionError(connection, str(error)) from error


def unpacked(pieces: Iterable[bytes], encoding: str, most: int) -> Iterator[bytes]:
    """A body without its gzip or deflate packing, in pieces of at most ``most`` bytes; any other encoding as it is.

    Raises `DecodeError` for what is broken, cut off or packed twice.
    """
    names = [name for name in encoding.lower().replace(" ", "").split(",") if name not in ("", "identity")]
    if not {"gzip", "x-gzip", "deflate"} & set(names):
        yield from pieces
        return
    if len(names) > 1:
        raise DecodeError(f"the body is packed {len(names)} times")
    packing: Any = None
    for piece in pieces:
        rest = piece
        while rest:
            if packing is None or packing.eof:  # gzip allows one member after the other
                packing = zlib.decompressobj(_window(rest, names[0]))
            try:
                if part := packing.decompress(rest, most):
                    yield part
            except zlib.error as error:
                raise DecodeError(str(error)) from error
            rest = packing.unused_data if packing.eof else packing.unconsumed_tail
    if packing is not None and not packing.eof:
        raise DecodeError("the packed body is cut off")


def _window(begins: bytes, name: str) -> int:
    """What zlib calls the packing: "deflate" should have zlib's header, and often has none."""
    if name == "deflate":
        return zlib.MAX_WBITS if begins[0] & 0x0F == 8 else -zlib.MAX_WBITS
    return zlib.MAX_WBITS | 16


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


POOLS: dict[str, type[HTTPConnectionPool]] = {"http": _Pool, "https": _SecurePool}
