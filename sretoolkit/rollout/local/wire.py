"""HTTP/1.1 as the keeper, the shop and the load speak it: heads and bodies of a known length, connections that are kept."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

_LARGEST = 1 << 20  # bytes of a body; nothing here sends more
PHRASES = {200: "OK", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable"}


class WireError(Exception):
    """What came is no HTTP that is spoken here."""


@dataclass(frozen=True)
class Message:
    """A request or an answer: its first line in parts, headers (names in lower case), and body."""

    start: tuple[str, str, str]
    headers: dict[str, str]
    body: bytes = b""

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.start[1])


async def read(reader: asyncio.StreamReader) -> Message | None:
    """The next message, None when the other side has ended. Raises `WireError` for what is too large or no HTTP."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise WireError("it ended within a head") from error
        return None
    except asyncio.LimitOverrunError as error:
        raise WireError("a head is too large") from error
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = first.split(" ", 2)
    if len(parts) != 3:
        raise WireError(f"{first[:60]!r} is no first line")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > _LARGEST:
        raise WireError("a body has no length that is taken")
    try:
        body = await reader.readexactly(int(length))
    except asyncio.IncompleteReadError as error:
        raise WireError("it ended within a body") from error
    return Message((parts[0], parts[1], parts[2]), headers, body)


def request(path: str, headers: dict[str, str] | None = None, *, method: str = "GET") -> bytes:
    """A request without a body."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "shop", **(headers or {})}.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


def answer(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    """An answer, whose connection is kept."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = f"HTTP/1.1 {status} {PHRASES.get(status, '')}\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
    return head.encode("latin-1") + body
