"""The samples of one series out of the text of an answer, a column of digits at a time.

Whatever is not exactly of the usual form gives None, and the JSON library reads it instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Places = NDArray[np.intp]
Words = NDArray[np.uint64]
_QUOTE, _MINUS = 34, 45
_MOST_DIGITS = (
    15  # whole numbers of so many digits, and powers of ten up to 22, are exact: so is their quotient's rounding
)
_TENS = 10.0 ** np.arange(_MOST_DIGITS + 2)
_7, _8, _56 = np.uint64(7), np.uint64(8), np.uint64(56)
_ZERO = np.uint64(ord("0"))
_ONES, _HIGH, _ZEROS, _DOTS, _NOT_DIGITS = (
    np.uint64(byte * 0x0101010101010101) for byte in (0x01, 0x80, ord("0"), ord("."), 0x76)
)
_PLACES = np.uint64(0x0706050403020100)  # times 256**n its highest byte is 7 - n: the characters behind that one
_KEPT = np.array([2**64 - 2 ** (64 - 8 * width) for width in range(9)], dtype=np.uint64)
_PAIRS = [  # neighbours become one number: digits, then pairs of them, then fours
    (np.uint64(10), np.uint64(8), np.uint64(0x00FF00FF00FF00FF)),
    (np.uint64(100), np.uint64(16), np.uint64(0x0000FFFF0000FFFF)),
    (np.uint64(10_000), np.uint64(32), np.uint64(0x00000000FFFFFFFF)),
]
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
    """The numbers at these places, each rounded as `float` rounds it; None when one of them is none.

    Eight characters are one word, computed with at once; what takes more than two words, `float` reads.
    """
    negative = content[starts] == _MINUS
    widths = ends - starts - negative
    words = np.ndarray((len(content) - 7,), dtype="<u8", buffer=content, strides=(1,))
    low = _filled(words[ends - 8], widths)
    dot = _dots(low)
    dotted, odd, behind = dot != 0, _several(dot), dot >> _7
    behind *= _PLACES
    behind >>= _56
    above: Words | np.uint64 = _ZEROS
    if int(widths.max()) > 8:
        above = _filled(words[np.maximum(ends - 16, 0)], np.maximum(widths - 8, 0))
        early = _dots(above)
        sooner = early != 0
        odd |= _several(early) | (sooner & dotted)
        behind += np.where(sooner, ((early >> _7) * _PLACES >> _56) + _8, np.uint64(0))
        moved = above >> _56
        above = np.where(dotted, above << _8 | _ZERO, _closed(above, early, _ZERO))
        low = _closed(low, dot, moved)
        dotted |= sooner
    elif dotted.any():
        low = _closed(low, dot, _ZERO)
    digits = widths - dotted
    found, wrong = _whole(low)
    odd |= wrong | (digits < 1) | (digits > _MOST_DIGITS)
    if isinstance(above, np.ndarray):
        more, wrong = _whole(above)
        found += more * np.uint64(10**8)
        odd |= wrong
    numbers = found.astype(np.float64)
    numbers /= _TENS[behind]
    np.negative(numbers, out=numbers, where=negative)
    lanes = np.flatnonzero(odd)
    try:
        numbers[lanes] = [float(text[begin:end]) for begin, end in zip(starts[lanes], ends[lanes], strict=True)]
    except ValueError:
        return None
    return numbers


def _filled(word: Words, widths: Places) -> Words:
    """The last ``widths`` characters of the word, behind zeros."""
    kept = _KEPT[np.minimum(widths, 8)]
    word &= kept
    word |= _ZEROS & ~kept
    return word


def _dots(word: Words) -> Words:
    """The highest bit of each character that is a dot (with more than one dot perhaps of others)."""
    other = word ^ _DOTS
    return (other - _ONES) & ~other & _HIGH


def _several(bits: Words) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = bits & (bits - np.uint64(1)) != 0
    return found


def _closed(word: Words, dot: Words, first: Words | np.uint64) -> Words:
    """Where there is a dot: without it, what stood before it one place further, and ``first`` in front of all."""
    before = (dot >> _7) - np.uint64(1)
    kept = ~((dot << np.uint64(1)) - np.uint64(1))
    return np.where(dot != 0, (word & before) << _8 | word & kept | first, word)


def _whole(word: Words) -> tuple[Words, NDArray[np.bool_]]:
    """The number that eight digits are, and where they are no digits."""
    word = word ^ _ZEROS
    wrong: NDArray[np.bool_] = ((word + _NOT_DIGITS | word) & _HIGH) != 0
    for factor, bits, kept in _PAIRS:
        word = (word * factor + (word >> bits)) & kept
    return word, wrong


def _same(some: list[NDArray[np.uint64]], other: list[NDArray[np.uint64]]) -> bool:
    return all(map(np.array_equal, some, other))


def _framed(content: Bytes, begins: Places, commas: Places) -> bool:
    """Whether each time stands between ``],[`` and a comma, and begins with a digit or a sign."""
    letters = [content[begins + offset] for offset in range(4)]
    frame = (
        (letters[0] == ord("]")) & (letters[1] == ord(",")) & (letters[2] == ord("[")) & (content[commas] == ord(","))
    )
    return bool((frame & ((letters[3] - 48 < 10) | (letters[3] == _MINUS))).all())
