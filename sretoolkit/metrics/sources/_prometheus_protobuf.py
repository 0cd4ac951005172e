"""The few messages of Prometheus' remote read, and the blocks they are packed in (snappy).

Sources: Prometheus, prompb/remote.proto and prompb/types.proto; snappy, format_description.txt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sretoolkit.metrics.matcher import Selector

Labels = tuple[tuple[str, str], ...]
STREAMED, SAMPLES = 1, 0
XOR = 1
_OPERATORS = {"=": 0, "!=": 1, "=~": 2, "!~": 3}
_SAMPLE = 18  # tag, length, tag, eight bytes of value, tag, six bytes of time: so long unless the value is 0


class Chunk(NamedTuple):
    """Compressed samples of one series."""

    kind: int
    content: bytes


class Series(NamedTuple):
    """Some samples of one series: milliseconds, values."""

    labels: Labels
    times: NDArray[np.int64]
    values: NDArray[np.float64]


def request(selector: Selector, start: int, end: int, kinds: tuple[int, ...]) -> bytes:
    """What to send for the samples in [start, end] (milliseconds), packed; ``kinds``: answers that we can read."""
    matchers = [("__name__", "=", selector.metric), *selector.matchers]
    query = _field(1, start) + _field(2, end)
    for label, operator, value in matchers:
        query += _field(3, _field(1, _OPERATORS[operator]) + _field(2, label.encode()) + _field(3, value.encode()))
    return packed(_field(1, query) + b"".join(_field(2, kind) for kind in kinds))


def streamed(frame: memoryview) -> Iterator[tuple[Labels, list[Chunk]]]:
    """The series in one frame of a streamed answer; a long series comes in several frames."""
    for number, found in fields(frame):
        if number == 1 and isinstance(found, memoryview):
            labels, chunks = [], []
            for part, inside in fields(found):
                if part == 1 and isinstance(inside, memoryview):
                    labels.append(_label(inside))
                elif part == 2 and isinstance(inside, memoryview):
                    given = dict(fields(inside))
                    chunks.append(Chunk(int(given.get(3, 0)), bytes(given.get(4, b""))))
            yield tuple(labels), chunks


def sampled(body: bytes) -> Iterator[Series | None]:
    """The series in a packed answer of samples; None for one of native histograms."""
    for _, result in fields(memoryview(unpacked(body))):
        for _, series in fields(_message(result)):
            content = _message(series)
            labels, begin = [], len(content)
            for number, found, start, _ in _placed(content):
                if number != 1:
                    begin = start
                    break
                labels.append(_label(_message(found)))
            samples = _samples(content[begin:])
            yield Series(tuple(labels), *samples) if samples else None


def fields(content: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Each field's number, and its whole number or bytes; raises `ValueError` for what is no message."""
    for number, found, _, _ in _placed(content):
        yield number, found


def unpacked(block: bytes) -> bytes:
    """A snappy block; raises `ValueError` when it is none."""
    found = bytearray()
    end = len(block)
    try:
        size, at = varint(block, 0)
        while at < end:
            tag = block[at]
            kind, length = tag & 3, (tag >> 2) + 1
            at += 1
            if kind == 0:
                if length > 60:
                    extra = length - 60
                    length = int.from_bytes(block[at : at + extra], "little") + 1
                    at += extra
                found += block[at : at + length]
                at += length
                continue
            if kind == 1:
                length, back, used = (tag >> 2 & 7) + 4, tag >> 5 << 8 | block[at], 1
            else:
                used = 2 if kind == 2 else 4
                back = int.from_bytes(block[at : at + used], "little")
            at += used
            begin = len(found) - back
            if begin < 0 or not back:
                raise ValueError("the packed answer is damaged")
            part = found[begin : begin + length]
            found += part if back >= length else (part * (length // back + 1))[:length]
    except IndexError as error:
        raise ValueError("the packed answer ends too early") from error
    if len(found) != size:
        raise ValueError("the packed answer is damaged")
    return bytes(found)


def packed(content: bytes) -> bytes:
    """A snappy block that packs nothing: valid, and a request is small."""
    block = _varint(len(content))
    for start in range(0, len(content), 1 << 16):
        part = content[start : start + (1 << 16)]
        block += bytes([61 << 2]) + (len(part) - 1).to_bytes(2, "little") + part
    return block


def varint(content: bytes | memoryview | bytearray, at: int) -> tuple[int, int]:
    """A whole number and where the next thing begins; raises `IndexError` when it is cut off."""
    found = shift = 0
    while True:
        byte = content[at]
        found |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return found, at
        if shift > 63:
            raise ValueError("a number without end")


def _placed(content: memoryview) -> Iterator[tuple[int, int | memoryview, int, int]]:
    at, end = 0, len(content)
    try:
        while at < end:
            start = at
            tag, at = varint(content, at)
            found: int | memoryview
            if tag & 7 == 0:
                found, at = varint(content, at)
            else:
                size, at = {1: (8, at), 5: (4, at)}.get(tag & 7) or varint(content, at)
                found, at = content[at : at + size], at + size
            if at > end or tag & 7 not in (0, 1, 2, 5):
                raise ValueError("the message is damaged")
            yield tag >> 3, found, start, at
    except IndexError as error:
        raise ValueError("the message ends too early") from error


def _message(found: int | memoryview) -> memoryview:
    if not isinstance(found, memoryview):
        raise ValueError("the message is damaged")
    return found


def _label(content: memoryview) -> tuple[str, str]:
    given = dict(fields(content))
    return bytes(given.get(1, b"")).decode(), bytes(given.get(2, b"")).decode()


def _samples(content: memoryview) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """Samples one behind the other: at an even stride at once, else one by one (0 is left out of a message)."""
    raw = np.frombuffer(content, dtype=np.uint8)
    if len(raw) and len(raw) % _SAMPLE == 0:
        rows = raw.reshape(-1, _SAMPLE)
        framed = (rows[:, [0, 1, 2, 11]] == (0x12, 0x10, 0x09, 0x10)).all()
        if framed and (rows[:, 12:17] > 127).all() and (rows[:, 17] < 128).all():
            values = np.ascontiguousarray(rows[:, 3:11]).view("<f8")[:, 0].astype(np.float64)
            weights = np.int64(1) << (7 * np.arange(6, dtype=np.int64))
            return (rows[:, 12:] & 127).astype(np.int64) @ weights, values
    times, values_ = [], []
    for number, found in fields(content):
        if number == 4:
            return None
        if number != 2:  # examples of traces
            continue
        given = dict(fields(_message(found)))
        times.append(int(given.get(2, 0)))
        values_.append(np.frombuffer(bytes(given.get(1, bytes(8))), "<f8")[0])
    wrapped = np.array(times, dtype=np.uint64).view(np.int64)
    return wrapped, np.array(values_, dtype=np.float64)


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _field(number: int, content: int | bytes) -> bytes:
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content
