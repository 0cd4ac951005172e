"""Prometheus' compressed chunks of samples, many at a time: one sample of each chunk in each round.

A chunk is the number of its samples (two bytes), then bits: the first time and value in full, then each time as the
difference of differences and each value as what changed in its 64 bits. Source: Prometheus, tsdb/docs/format/chunks.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
_PAD = bytes(32)
# By the four bits in front of a time: how many of them are the prefix, and how many bits of difference follow.
_PREFIX = np.array([1] * 8 + [2] * 4 + [3] * 2 + [4] * 2, dtype=np.int64)
_SIZE = np.array([0] * 8 + [14] * 4 + [17] * 2 + [20] + [64], dtype=np.int64)


def decoded(chunks: Sequence[bytes]) -> tuple[Ints, NDArray[np.float64], Ints]:
    """Times (milliseconds) and values of all chunks one after another, and how many each has; raises `ValueError`."""
    counts = np.array([int.from_bytes(chunk[:2], "big") for chunk in chunks], dtype=np.int64)
    ends = np.cumsum([len(chunk) for chunk in chunks]) * 8
    order = np.argsort(-counts, kind="stable")  # those that still have samples are then always the first ones
    try:
        times, values = _Rounds(b"".join(chunks), chunks, order, ends[order]).run(counts[order])
    except IndexError as error:
        raise ValueError("a chunk of samples ends too early") from error
    back = np.argsort(order)
    there = np.arange(times.shape[0])[None, :] < counts[:, None]
    return times.T[back][there], values.T[back][there], counts


class _Rounds:
    """Where each chunk's reading stands."""

    def __init__(self, joined: bytes, chunks: Sequence[bytes], order: NDArray[np.intp], ends: Ints) -> None:
        padded = joined + _PAD
        self._bytes = np.frombuffer(padded, dtype=np.uint8)
        self._words = np.ndarray((len(padded) - 8,), dtype=">u8", buffer=padded, strides=(1,))
        self._ends = ends
        starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])[:-1]
        self.at: Ints = (starts[order] + 2) * 8
        self.time = self.delta = np.zeros(len(order), dtype=np.int64)
        self.value: Words = np.zeros(len(order), dtype=np.uint64)
        self.leading = np.zeros(len(order), dtype=np.int64)
        self.size = np.zeros(len(order), dtype=np.int64)

    def run(self, counts: Ints) -> tuple[Ints, NDArray[np.float64]]:
        rounds = int(counts[0]) if len(counts) else 0
        times = np.empty((rounds, len(counts)), dtype=np.int64)
        values = np.empty((rounds, len(counts)), dtype=np.uint64)
        for number in range(rounds):
            live = int(np.searchsorted(-counts, -number))
            self._keep(live)
            if number == 0:
                coded = self._varint()
                self.time = (coded >> 1).astype(np.int64) ^ -(coded & 1).astype(np.int64)
                self.value = self._full(self.at)
                self.at = self.at + 64
            else:
                self._next_time(first=number == 1)
                self._next_value()
            if (self.at > self._ends[:live]).any():
                raise ValueError("a chunk of samples is damaged")
            times[number, :live], values[number, :live] = self.time, self.value
        return times, values.view(np.float64)

    def _keep(self, live: int) -> None:
        if live < len(self.at):
            for name in ("at", "time", "delta", "value", "leading", "size"):
                setattr(self, name, getattr(self, name)[:live])

    def _next_time(self, *, first: bool) -> None:
        if first:
            self.delta = self._varint().astype(np.int64)
        else:
            word = self._word(self.at)
            kind = (word >> np.uint64(60)).astype(np.int64)
            prefix, size = _PREFIX[kind], _SIZE[kind]
            self.at = self.at + prefix
            if size.any():
                found = (self._full(self.at) >> (64 - size).astype(np.uint64)).astype(np.int64)
                short = (size > 0) & (size < 64)
                half = np.where(short, np.int64(1) << np.maximum(size - 1, 0), 0)
                found = np.where(short & (found > half), found - 2 * half, found)
                self.delta = self.delta + np.where(size > 0, found, 0)
                self.at = self.at + size
        self.time = self.time + self.delta

    def _next_value(self) -> None:
        word = self._word(self.at)
        changed = (word >> np.uint64(63)).astype(bool)
        anew = changed & (word >> np.uint64(62) & np.uint64(1)).astype(bool)
        if anew.any():
            self.leading = np.where(anew, (word >> np.uint64(57) & np.uint64(31)).astype(np.int64), self.leading)
            size = (word >> np.uint64(51) & np.uint64(63)).astype(np.int64)
            self.size = np.where(anew, np.where(size == 0, 64, size), self.size)
        self.at = self.at + 1 + changed + 11 * anew
        if changed.any():
            size = np.where(changed, self.size, 0)
            bits = self._full(self.at) >> (64 - size).astype(np.uint64)
            self.value = self.value ^ (bits << np.maximum(64 - self.leading - size, 0).astype(np.uint64))
            self.at = self.at + size

    def _word(self, at: Ints) -> Words:
        """The bits from there on, at least 57 of them right."""
        found: Words = self._words[at >> 3].astype(np.uint64) << (at & 7).astype(np.uint64)
        return found

    def _full(self, at: Ints) -> Words:
        """All 64 of them."""
        byte = self._bytes[(at >> 3) + 8].astype(np.uint64)
        found: Words = self._word(at) | byte >> (8 - (at & 7)).astype(np.uint64)
        return found

    def _varint(self) -> Words:
        found, at = np.zeros(len(self.at), dtype=np.uint64), self.at >> 3
        more = np.ones(len(self.at), dtype=bool)
        for shift in range(0, 70, 7):
            byte = self._bytes[at].astype(np.uint64)
            found |= np.where(more, (byte & np.uint64(127)) << np.uint64(shift), np.uint64(0))
            at = at + more
            more = more & (byte > 127)
            if not more.any():
                break
        self.at = at << 3
        return found
