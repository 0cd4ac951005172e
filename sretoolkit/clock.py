"""Time: a clock one can replace, and waiting for a condition.

Everything that waits or stamps a time takes a `Clock`, so a test can use `FakeClock` instead of sleeping.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sretoolkit.errors import ConfigError

T = TypeVar("T")

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)")
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Clock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The wall clock, in UTC. It may jump."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go backwards, since an arbitrary moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait that many seconds."""
        time.sleep(seconds)


class FakeClock(Clock):
    """A clock that moves only when told to, or by sleeping. Public, for tests of runbooks."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._monotonic = 0.0

    def now(self) -> datetime:
        """The time it was set to."""
        return self._now

    def monotonic(self) -> float:
        """Seconds slept or advanced so far."""
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Advance by that many seconds at once."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def jump(self, by: timedelta) -> None:
        """Move the wall clock alone, as a clock correction does."""
        self._now += by


def poll(condition: Callable[[], T], *, timeout: float, interval: float = 0.05, clock: Clock | None = None) -> T | None:
    """Call ``condition`` until it returns something true, at most ``timeout`` seconds; returns that, or None."""
    clock = clock or Clock()
    deadline = clock.monotonic() + timeout
    while True:
        if found := condition():
            return found
        if clock.monotonic() >= deadline:
            return None
        clock.sleep(min(interval, max(0.0, deadline - clock.monotonic())))


def parse_duration(text: str) -> timedelta:
    """Read "90s", "5m", "1h30m" or "250ms"; raises `ConfigError` on anything else."""
    parts = _DURATION.findall(text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise ConfigError(f"{text!r} is not a duration", hint='write it as "90s", "5m" or "1h30m"')
    try:
        return sum((timedelta(**{_UNITS[unit]: float(number)}) for number, unit in parts), timedelta())
    except OverflowError as error:
        raise ConfigError(f"{text!r} is too long a duration", hint="nothing here takes a million years") from error


def parse_moment(text: str, clock: Clock | None = None) -> datetime:
    """Read a moment: ISO 8601 (without a zone: UTC), "now", or how long ago: "-15m". Raises `ConfigError`."""
    given = text.strip()
    if given == "now" or given.startswith("-"):
        now = (clock or Clock()).now()
        return now if given == "now" else now - parse_duration(given[1:])
    try:
        moment = datetime.fromisoformat(given)
    except ValueError as error:
        hint = 'write "2026-11-01T14:05:00Z", "2026-11-01 14:05" (UTC) or "-15m"'
        raise ConfigError(f"{text!r} is no time", hint=hint) from error
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def format_duration(duration: timedelta) -> str:
    """The text that `parse_duration` reads back: "1h30m", "250ms"; raises `ConfigError` for less than nothing."""
    if duration < timedelta():
        raise ConfigError(f"{duration} is less than nothing", hint="a duration has no sign")
    rest = duration // timedelta(microseconds=1)
    parts = []
    for unit, size in (("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    if rest:
        parts.append(f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "ms")
    return "".join(parts) or "0s"
