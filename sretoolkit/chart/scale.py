"""Numbers and times as people read them: SI prefixes, round ticks, UTC."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sretoolkit.report import plain

_SECONDS = (
    (172800, 86400, " d"),
    (7200, 3600, " h"),
    (120, 60, " min"),
    (1, 1, " s"),
    (1e-3, 1e-3, " ms"),
    (1e-6, 1e-6, " µs"),
)
_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
_DAY = 86400


def milliseconds(time: datetime) -> float:
    """Since the epoch; a time without a zone is UTC."""
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000


class Scale(NamedTuple):
    """How values are written, from ``least`` on: divided by ``factor``, with ``suffix`` behind them."""

    least: float
    factor: float
    suffix: str


def scales(unit: str) -> list[Scale]:
    """How values of a unit are written, the biggest first; the last is for whatever is smaller, and for zero."""
    if unit in ("ratio", "%"):
        return [Scale(0.0, 0.01 if unit == "ratio" else 1.0, " %")]
    if unit == "s":
        return [*(Scale(*each) for each in _SECONDS), Scale(0.0, 1.0, " s")]
    name = plain("B" if unit == "bytes" else unit)[:7]
    found = [Scale(size, size, f" {prefix}{name}" if name else prefix) for size, prefix in _PREFIXES]
    return [*found, Scale(0.0, 1.0, f" {name}" if name else "")]


def scale(biggest: float, unit: str) -> tuple[float, str]:
    """By what to divide, and what to write behind the number."""
    _, factor, suffix = next(each for each in scales(unit) if biggest >= each.least)
    return factor, suffix


def quantity(value: float, unit: str) -> str:
    """A value with its unit, to four digits: "706.8 ms"."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{value:+f}".replace("inf", "Inf")
    factor, suffix = scale(abs(value), unit)
    return f"{value / factor:.4g}{suffix}"


def ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers around the values; from zero unless that would flatten them."""
    flat = high - low <= 1e-12 * max(abs(low), abs(high))
    if low > 0 and (flat or low < 0.6 * high):
        low = 0.0
    if high < 0 and (flat or high > 0.6 * low):
        high = 0.0
    if high - low < 1e-300:  # no number of ticks fits between; also all zero
        high = low + 1.0
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * number for number in range(first, max(last, first + 1) + 1)]


def time_ticks(start: float, end: float) -> list[tuple[float, str]]:
    """At most nine round moments (milliseconds) of the window, with what to write at each."""
    seconds = (end - start) / 1000
    days = max(1, math.ceil(seconds / _DAY / 8))
    step = next((step for step in _TIME_STEPS if seconds / step <= 8), days * _DAY)
    first = math.ceil(start / 1000 / step)
    return [
        (tick * step * 1000.0, _tick_label(tick * step, step))
        for tick in range(first, math.floor(end / 1000 / step) + 1)
    ]


def _tick_label(seconds: int, step: int) -> str:
    at = _moment(seconds * 1000)
    if seconds % _DAY == 0 and (step >= 3600 or step % _DAY == 0):
        return f"{at:%d %b %Y}" if step >= 180 * _DAY else f"{at:%d %b}"
    return f"{at:%H:%M}" if step >= 60 else f"{at:%H:%M:%S}"


def _moment(milliseconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def clock(milliseconds: float) -> str:
    """A moment, to the second."""
    return f"{_moment(milliseconds):%d %b %H:%M:%S}"


def period(start: float, end: float) -> str:
    """A window, to the minute, the date only once when it is one day."""
    since, until = _moment(start), _moment(end)
    short = since.date() == until.date()
    return f"{since:%Y-%m-%d %H:%M} – {until:{'%H:%M' if short else '%Y-%m-%d %H:%M'}} UTC"
