"""What goes over the wire to a Riemann: frames of protocol buffers, over TCP or TLS, one exchange a connection.

A frame is its length (four bytes, big-endian) and a ``Msg``. Source: riemann-java-client's ``proto.proto``, riemann's
``transport/tcp.clj``. Only the few types of that schema are here, so that no protobuf library is needed.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_PIECE = 1 << 16
_LONGEST_VARINT = 10


class Malformed(ValueError):
    """The bytes are no message of Riemann's."""


@dataclass(frozen=True, kw_only=True)
class RiemannEvent:
    """One event; what is None or empty is not in the message. ``time`` and ``ttl`` are seconds."""

    host: str | None = None
    service: str | None = None
    state: str | None = None
    description: str | None = None
    time: float | None = None
    ttl: float | None = None
    metric: float | int | None = None
    tags: Sequence[str] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)


class Message(NamedTuple):
    """One ``Msg``: a question, events, or an answer to either."""

    ok: bool | None = None
    error: str = ""
    query: str | None = None
    events: Sequence[RiemannEvent] = ()


def encode(message: Message) -> bytes:
    """The bytes of a message, without its length."""
    body = b"" if message.ok is None else _tag(2, _VARINT) + _varint(message.ok)
    body += _bytes(3, message.error.encode(errors="replace")) if message.error else b""
    if message.query is not None:
        body += _bytes(5, _bytes(1, message.query.encode(errors="replace")))
    return body + b"".join(_bytes(6, _event(event)) for event in message.events)


def decode(content: bytes) -> Message:
    """Read a message; fields that are not known are skipped, as the format wants it. Raises `Malformed`."""
    ok, error, query, events = None, "", None, []
    for number, value in _fields(content):
        match number, value:
            case 2, int():
                ok = bool(value)
            case 3, bytes():
                error = _text(value)
            case 5, bytes():
                query = next((_text(part) for at, part in _fields(value) if at == 1 and isinstance(part, bytes)), "")
            case 6, bytes():
                events.append(_read_event(value))
    return Message(ok, error, query, events)


def _event(event: RiemannEvent) -> bytes:
    texts = (2, event.state), (3, event.service), (4, event.host), (5, event.description)
    body = b"".join(_bytes(number, text.encode(errors="replace")) for number, text in texts if text is not None)
    body += b"".join(_bytes(7, tag.encode(errors="replace")) for tag in event.tags)
    if event.time is not None:
        micros = round(event.time * 1_000_000)
        body += _tag(1, _VARINT) + _varint(micros // 1_000_000) + _tag(10, _VARINT) + _varint(micros)
    if event.ttl is not None:
        body += _tag(8, _FIXED32) + struct.pack("<f", event.ttl)
    for key, value in event.attributes.items():
        body += _bytes(9, _bytes(1, key.encode(errors="replace")) + _bytes(2, value.encode(errors="replace")))
    if isinstance(event.metric, int):
        body += _tag(13, _VARINT) + _varint(event.metric << 1 if event.metric >= 0 else (-event.metric << 1) - 1)
    elif event.metric is not None:
        body += _tag(14, _FIXED64) + struct.pack("<d", event.metric)
    return body


def _read_event(content: bytes) -> RiemannEvent:
    texts: dict[int, str] = {}
    numbers: dict[int, float | int] = {}
    tags: list[str] = []
    attributes: dict[str, str] = {}
    for number, value in _fields(content):
        if number == 9 and isinstance(value, bytes):
            pair = {at: _text(part) for at, part in _fields(value) if isinstance(part, bytes)}
            attributes[pair.get(1, "")] = pair.get(2, "")
        elif number == 7 and isinstance(value, bytes):
            tags.append(_text(value))
        elif isinstance(value, bytes):
            texts[number] = _text(value)
        else:
            numbers[number] = value
    micros = numbers.get(10)
    return RiemannEvent(
        host=texts.get(4),
        service=texts.get(3),
        state=texts.get(2),
        description=texts.get(5),
        time=_signed(micros) / 1_000_000 if micros is not None else _signed(numbers[1]) if 1 in numbers else None,
        ttl=numbers.get(8),
        metric=_metric(numbers),
        tags=tags,
        attributes=attributes,
    )


def _metric(numbers: Mapping[int, float | int]) -> float | int | None:
    """A signed integer before a double before a float, as the server reads them."""
    if (zigzag := numbers.get(13)) is not None and isinstance(zigzag, int):
        return (zigzag >> 1) ^ -(zigzag & 1)
    return numbers.get(14, numbers.get(15))


def _signed(number: float | int) -> int:
    whole = int(number)
    return whole - (1 << 64) if whole >> 63 else whole


def _fields(content: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    at = 0
    while at < len(content):
        key, at = _read_varint(content, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _read_varint(content, at)
            yield number, value
            continue
        sizes = {_FIXED64: 8, _FIXED32: 4}
        size = sizes.get(kind, 0)
        if kind == _BYTES:
            size, at = _read_varint(content, at)
        elif not size:
            raise Malformed(f"field {number} is of no known type ({kind})")
        part = content[at : at + size]
        if len(part) < size:
            raise Malformed(f"field {number} is cut off")
        at += size
        yield number, part if kind == _BYTES else struct.unpack("<d" if size == 8 else "<f", part)[0]


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_LONGEST_VARINT):
        if at + place >= len(content):
            raise Malformed("a number is cut off")
        byte = content[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value & ((1 << 64) - 1), at + place + 1
    raise Malformed("a number has no end")


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _tag(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _bytes(number: int, content: bytes) -> bytes:
    return _tag(number, _BYTES) + _varint(len(content)) + content


def _text(content: bytes) -> str:
    return content.decode(errors="replace")


class TooLong(ValueError):
    """The answer is longer than this machine is to take; ``.size`` as it was announced."""

    def __init__(self, size: int) -> None:
        super().__init__(f"an answer of {size:,} bytes")
        self.size = size


def exchange(url: str, message: Message, *, trust: ssl.SSLContext | None, seconds: float, most_bytes: int) -> Message:
    """Send a message and read its answer, all within ``seconds``.

    Raises `OSError` (unreachable, out of time, broken off), `ssl.SSLError`, `Malformed` or `TooLong`.
    """
    deadline = time.monotonic() + seconds
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (5554 if trust else 5555)
    content = encode(message)
    with socket.create_connection((host, port), timeout=seconds) as plain:
        plain.settimeout(_left(deadline))
        with trust.wrap_socket(plain, server_hostname=host) if trust else plain as connection:
            connection.settimeout(_left(deadline))
            connection.sendall(struct.pack(">I", len(content)) + content)
            head = _received(connection, 4, deadline)
            if head == b"HTTP":
                raise Malformed("it speaks HTTP")
            (size,) = struct.unpack(">I", head)
            if size > most_bytes:
                raise TooLong(size)
            return decode(_received(connection, size, deadline))


def _received(connection: socket.socket, size: int, deadline: float) -> bytes:
    """Exactly so many bytes; what has not come takes no memory, whatever length was announced."""
    pieces, missing = [], size
    while missing:
        connection.settimeout(_left(deadline))
        piece = connection.recv(min(missing, _PIECE))
        if not piece:
            raise ConnectionError("it closed the connection in the middle")
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the answer took too long")
    return left
