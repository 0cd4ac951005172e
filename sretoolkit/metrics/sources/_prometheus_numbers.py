"""The samples of one series out of the text of an answer, a column of digits at a time.

Whatever is not exactly of the usual form gives None, and the JSON library reads it instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Places = NDArray[np.intp]
_QUOTE, _DOT, _MINUS = 34, 46, 45
_MOST_DIGITS = (
    15  # whole numbers of so many digits, and powers of ten up to 22, are exact: so is their quotient's rounding
)
_TENS = 10.0 ** np.arange(_MOST_DIGITS + 2)
_FACTOR, _DIGIT = np.full(256, np.nan), np.zeros(256)
_FACTOR[48:58], _DIGIT[48:58] = 10.0, np.arange(10.0)
_FACTOR[_DOT] = 1.0
_PAD = b"\0" * 24  # words are read from where a column may end


@dataclass
class Reader:
    """Reads ``[[time,"value"],...]``; the times of series after series are mostly the same, and are then read once."""

    _seen: tuple[bytes, list[NDArray[np.uint64]]] | None = None
    _times: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def read(self, text: bytes, start: int) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
        """Milliseconds and values of ``text[start:]``, which ends with ``]]}``."""
        padded = text + _PAD
        content = np.frombuffer(padded, dtype=np.uint8)
        quotes = np.flatnonzero(content[start : len(text)] == _QUOTE) + start
        if len(quotes) < 4 or len(quotes) % 2 or text[quotes[-1] :] != b'"]]}':
            return None
        opening, closing = quotes[0::2], quotes[1::2]
        times = self._read_times(padded, content, start, opening, closing)
        if times is None:
            return None
        values = decimals(padded, content, opening + 1, closing)
        return None if values is None else (times, values)

    def _read_times(
        self, text: bytes, content: Bytes, start: int, opening: Places, closing: Places
    ) -> NDArray[np.int64] | None:
        gaps = opening[1:] - closing[:-1] - 1  # each holds ],[time,
        size = int(gaps[0])
        if size < 8 or (gaps != size).any():
            return None
        at = closing[:-1] + 1
        words = np.ndarray((len(content) - 8,), dtype=np.uint64, buffer=content, strides=(1,))
        seen = [words[at + offset] for offset in {*range(0, size - 7, 8), size - 8}]
        first = text[start : opening[0]]
        if self._seen is not None and first == self._seen[0] and _same(seen, self._seen[1]):
            return self._times
        if not (first.startswith(b"[[") and first.endswith(b",")) or not _framed(content, at, opening[1:] - 1):
            return None
        begins = np.concatenate([[start + 2], at + 3])
        seconds = decimals(text, content, begins, opening - 1)
        if seconds is None or not np.isfinite(seconds).all():
            return None
        self._times = np.rint(seconds * 1000).astype(np.int64)
        self._seen = first, seen
        return self._times


def decimals(text: bytes, content: Bytes, starts: Places, ends: Places) -> NDArray[np.float64] | None:
    """The numbers at these places, each rounded as `float` rounds it; None when one of them is none."""
    negative = content[starts] == _MINUS
    starts = starts + negative
    widths = ends - starts
    found, points, behind = np.zeros(len(starts)), np.zeros(len(starts), np.int64), np.zeros(len(starts), np.int64)
    least, most = int(widths.min()), min(int(widths.max()), _MOST_DIGITS + 1)
    for place in range(most):
        letters = content[starts + place]
        if place >= least:
            letters = np.where(place < widths, letters, _DOT)  # a dot changes nothing
        found *= _FACTOR[letters]
        found += _DIGIT[letters]
        dots = letters == _DOT
        if dots.any():
            dots &= place < widths
            behind[dots] = widths[dots] - 1 - place
            points += dots
    digits = widths - points
    odd = np.isnan(found) | (points > 1) | (digits < 1) | (digits > _MOST_DIGITS)
    found /= _TENS[np.clip(behind, 0, _MOST_DIGITS)]
    np.negative(found, out=found, where=negative)
    lanes = np.flatnonzero(odd)
    starts = starts - negative
    try:
        found[lanes] = [float(text[begin:end]) for begin, end in zip(starts[lanes], ends[lanes], strict=True)]
    except ValueError:
        return None
    return found


def _same(some: list[NDArray[np.uint64]], other: list[NDArray[np.uint64]]) -> bool:
    return all(map(np.array_equal, some, other))


def _framed(content: Bytes, begins: Places, commas: Places) -> bool:
    """Whether each time stands between ``],[`` and a comma, and begins with a digit or a sign."""
    letters = [content[begins + offset] for offset in range(4)]
    frame = (
        (letters[0] == ord("]")) & (letters[1] == ord(",")) & (letters[2] == ord("[")) & (content[commas] == ord(","))
    )
    return bool((frame & ((letters[3] - 48 < 10) | (letters[3] == _MINUS))).all())
